//! The masks of one document: each secret has a number, by the order in which the document shows them.
//!
//! *Invariant*: masks depend on the document alone, so equal rows stay equal; a mask tells nothing of its secret, not
//! even whether another document holds the same.

mod repeats;

use std::collections::HashMap;

use serde_json::Value;

pub(crate) use repeats::Repeats;

use crate::document::{self, Found, Place};
use crate::text::Context;
use crate::{forms, text};

/// What a mask begins with, unless the document mentions it.
const PREFIX: &str = "MASKED_";

/// A mask without a number that counts, for texts that are looked through and thrown away.
pub(crate) const PLACEHOLDER: &str = "MASKED_0";

/// Longest secret that is looked for inside other texts; a longer one is found where it is a whole value.
const LONGEST_REPEATED: usize = 1024;

/// Whether a text is a mask.
pub(crate) fn is_mask(text: &str) -> bool {
    let number = text.trim_start_matches('X').strip_prefix(PREFIX);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A secret and its mask.
#[derive(Clone)]
pub struct Secret {
    /// What stands in place of the secret.
    pub mask: String,
    /// The secret: a text, or a number or boolean of YAML.
    pub value: Value,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("mask", &self.mask).field("value", &"***").finish()
    }
}

/// The secrets of a document and what stands in their place.
#[derive(Clone, Default)]
pub struct Masks {
    prefix: String,
    secrets: Vec<Secret>,
    /// Number of each secret that is a text.
    texts: HashMap<String, usize>,
    /// Number of each secret that is a number or a boolean, by its text.
    scalars: HashMap<String, usize>,
    /// What is looked for elsewhere, and the number of its secret: the secret itself, and what it says in base64.
    searched: HashMap<String, usize>,
    repeats: Option<Repeats>,
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masks").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl Masks {
    /// The masks of `document`, and the document with them. A text longer than `longest` bytes is masked too.
    pub fn of(document: &Value, longest: usize) -> (Self, Value) {
        let mut prefix = PREFIX.to_owned();
        while mentions(document, &prefix) {
            prefix.insert(0, 'X');
        }
        let mut masks = Self { prefix, ..Self::default() };
        let mut masked = document.clone();
        masks.mask_at(&mut masked, &Place::root(0));
        if longest < usize::MAX {
            masks.mask_long(document, &mut masked, longest);
        }
        (masks, masked)
    }

    /// Masks texts of more than `longest` bytes of `document` in `masked`. They come last, so that secrets have the same
    /// numbers whatever is too long.
    fn mask_long(&mut self, document: &Value, masked: &mut Value, longest: usize) {
        match (document, masked) {
            (Value::String(text), masked) if text.len() > longest => {
                let mask = self.mask_of(self.secrets.len() + 1);
                self.secrets.push(Secret { mask: mask.clone(), value: Value::String(text.clone()) });
                *masked = Value::String(mask);
            }
            (Value::Array(items), Value::Array(masked)) => {
                for (item, masked) in items.iter().zip(masked) {
                    self.mask_long(item, masked, longest);
                }
            }
            (Value::Object(entries), Value::Object(masked)) => {
                // Keys may be masked, and keep their order.
                for (entry, masked) in entries.values().zip(masked.values_mut()) {
                    self.mask_long(entry, masked, longest);
                }
            }
            _ => {}
        }
    }

    /// The beginning of every mask.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Every secret, in the order of its number.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether there is not a secret.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Masks another version of the document, or an object made from it: its own secrets get new masks.
    pub fn mask(&mut self, value: &mut Value) {
        self.mask_at(value, &Place::root(0));
    }

    /// Masks a JSON Patch of `document`, as a list of operations. Its values are judged by the places they go to.
    pub fn mask_patch(&mut self, patch: &mut Value, document: &Value) {
        let secret = document.get("kind").and_then(Value::as_str) == Some("Secret");
        for operation in patch.as_array_mut().into_iter().flatten() {
            let target = operation.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
            let (parent, key) = target.rsplit_once('/').unwrap_or(("", &target));
            let sibling =
                document.pointer(parent).and_then(|parent| parent.get("name")).and_then(Value::as_str);
            let name = if key == "value" { sibling.unwrap_or(key) } else { key };
            let name = name.replace("~1", "/").replace("~0", "~");
            let all = secret && (target.starts_with("/data") || target.starts_with("/stringData"));
            if let Some(value) = operation.get_mut("value") {
                self.mask_at(value, &Place { name: &name, all, ..Place::root(0) });
            }
            for pointer in ["path", "from"] {
                if let Some(Value::String(text)) = operation.get_mut(pointer) {
                    *text = self.scrub(text);
                }
            }
        }
    }

    /// A text (a message, an error) with the masks of the secrets it quotes.
    pub fn scrub(&self, text: &str) -> String {
        match &self.repeats {
            Some(repeats) => repeats.replace(text, &mut |secret| self.known(secret)),
            None => text.to_owned(),
        }
    }

    /// The name of an object or a folder: a word in it that is a secret elsewhere stays, because it says nothing.
    pub fn scrub_name(&self, name: &str) -> String {
        match self.repeats.as_ref().and_then(Repeats::distinct) {
            Some(repeats) => repeats.replace(name, &mut |secret| self.known(secret)),
            None => name.to_owned(),
        }
    }

    fn mask_at(&mut self, value: &mut Value, place: &Place<'_>) {
        let before = self.secrets.len();
        document::replace(value, place, &mut |secret| self.take(secret));
        if self.secrets.len() > before || self.repeats.is_none() {
            self.repeats =
                Some(Repeats::new(self.searched.keys().cloned())).filter(|repeats| !repeats.is_empty());
        }
        if let Some(repeats) = self.repeats.take() {
            self.mask_repeats(value, &repeats, "");
            self.repeats = Some(repeats);
        }
    }

    /// The mask of a secret, a new one where it has none.
    fn take(&mut self, secret: Found<'_>) -> String {
        let (known, text, value) = match secret {
            Found::Text(text) | Found::Member(text) => {
                (&mut self.texts, text.to_owned(), Value::String(text.to_owned()))
            }
            Found::Scalar(value) => (&mut self.scalars, value.to_string(), value.clone()),
        };
        let next = self.secrets.len() + 1;
        let number = *known.entry(text.clone()).or_insert(next);
        let mask = self.mask_of(number);
        if number == next {
            self.secrets.push(Secret { mask: mask.clone(), value });
        }
        let member = matches!(secret, Found::Member(_)) && repeats::is_plain(&text);
        if is_searched(&text) && !member {
            if let Some(decoded) = text::encoded::decode(&text).filter(|decoded| {
                decoded.len() >= 6 && is_searched(decoded.trim_end()) && !repeats::is_plain(decoded)
            }) {
                self.searched.entry(decoded.trim_end().to_owned()).or_insert(number);
            }
            self.searched.entry(text).or_insert(number);
        }
        mask
    }

    fn mask_of(&self, number: usize) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The mask of a secret that is repeated in a message.
    fn known(&self, secret: &str) -> String {
        self.searched.get(secret).map_or_else(|| secret.to_owned(), |number| self.mask_of(*number))
    }

    fn mask_repeats(&mut self, value: &mut Value, repeats: &Repeats, name: &str) {
        match value {
            Value::String(text)
                if text.len() > LONGEST_REPEATED && self.texts.contains_key(text.as_str()) =>
            {
                *text = self.take(Found::Text(text.clone().as_str()));
            }
            Value::String(text) => {
                let repeats = if repeats::is_identity(name) { repeats.distinct() } else { Some(repeats) };
                if let Some(repeats) = repeats
                    && repeats.is_match(text)
                {
                    *text = repeats.replace(text, &mut |secret| self.take(Found::Text(secret)));
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if text.len() >= repeats::LONG_NUMBER && self.searched.contains_key(&text) {
                    *value = Value::String(self.take(Found::Scalar(&Value::Number(number.clone()))));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_repeats(item, repeats, name)),
            Value::Object(entries) => {
                let free = repeats::is_free(name);
                if let Some(distinct) =
                    repeats.distinct().filter(|distinct| entries.keys().any(|key| distinct.is_match(key)))
                {
                    let old = std::mem::take(entries);
                    entries.extend(old.into_iter().map(|(key, entry)| {
                        (distinct.replace(&key, &mut |secret| self.take(Found::Text(secret))), entry)
                    }));
                }
                for (key, entry) in entries.iter_mut() {
                    // Below labels and selectors every value identifies something.
                    self.mask_repeats(entry, repeats, if free { name } else { key });
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Whether a secret is looked for elsewhere: a boolean or a word for one is everywhere.
fn is_searched(text: &str) -> bool {
    text.len() <= LONGEST_REPEATED
        && !forms::is_switch(text)
        && !forms::is_null(text)
        && text.trim().len() == text.len()
        && !text.is_empty()
}

fn mentions(value: &Value, prefix: &str) -> bool {
    match value {
        Value::String(text) => text.contains(prefix),
        Value::Array(items) => items.iter().any(|item| mentions(item, prefix)),
        Value::Object(entries) => {
            entries.iter().any(|(key, entry)| key.contains(prefix) || mentions(entry, prefix))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A text that is not a document (a message, a manifest that does not parse) with masks in place of its secrets.
pub fn mask_text(text: &str) -> String {
    let mut masks = Masks { prefix: PREFIX.to_owned(), ..Masks::default() };
    let context = Context { hashes: false, prose: false, depth: 0 };
    text::replace(text, context, &mut |secret| masks.take(Found::Text(secret)))
        .unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod kinds;
#[cfg(test)]
mod tests;
