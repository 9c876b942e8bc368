//! The layers, one over the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::env;
use crate::settings::error::SettingsError;
use crate::settings::origin::Origin;
use crate::settings::text::{is_auto, parse, type_of};

/// The settings with every key present, and where each leaf came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The tree, in the order of the defaults.
    pub value: Value,
    /// Dotted path of each leaf to its origin. An empty open map is a leaf.
    pub origins: BTreeMap<String, Origin>,
}

/// Lays `file`, then the environment, then `flags` over `defaults`.
///
/// - `defaults`: a mapping; its leaves are the legal keys and give their types (a `null` takes anything).
/// - `open_maps`: dotted paths of mappings whose entries the user names.
/// - `file`: the path to be named as origin, and the parsed content. A key whose value is `null` is as if absent.
/// - `env`: variables; those without the prefix of [`env::PREFIX`] are ignored.
/// - `flags`: `KEY=VALUE`, the last one wins. After an open map's path the rest of the key is the entry's name,
///   dots included.
///
/// Refuses a key that the defaults do not have, and a value of another type than the default's; where the default is
/// `auto`, a number is legal too.
pub fn resolve(
    defaults: &Value,
    open_maps: &[&str],
    file: Option<(&str, Value)>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &[String],
) -> Result<Resolved, SettingsError> {
    let mut layers = Layers::new(defaults, open_maps);
    if let Some((path, value)) = file {
        layers.file(value, &Origin::File(path.to_owned()))?;
    }
    // Sorted, so that of two faulty variables always the same one is reported.
    let variables: BTreeMap<String, String> =
        env.into_iter().filter(|(name, _)| env::key_of(name).is_some()).collect();
    for (name, text) in variables {
        if let Some(key) = env::key_of(&name) {
            layers.typed(&key, &text, &Origin::Environment(name))?;
        }
    }
    for flag in flags {
        let (key, text) =
            flag.split_once('=').ok_or_else(|| SettingsError::MalformedFlag { flag: flag.clone() })?;
        let key = key.trim();
        layers.typed(key, text, &Origin::Flag(format!("--set {key}")))?;
    }
    Ok(layers.resolved)
}

impl Resolved {
    /// Fills `key`, which nobody set, with a value of a list; a mapping fills each of its keys. A key that does not exist is
    /// left out.
    pub fn fill(&mut self, key: &str, value: Value, source: &str) {
        if let Value::Object(entries) = value {
            for (name, value) in entries {
                self.fill(&format!("{key}.{name}"), value, source);
            }
        } else if let Some(slot) = at_mut(&mut self.value, key) {
            *slot = value;
            self.origins.insert(key.to_owned(), Origin::List(source.to_owned()));
        }
    }
}

impl Resolved {
    /// Reads the tree; an error names the key at fault with its origin, `verifier.depth (flag --set verifier.depth): …`, where
    /// `read` does not. `defaults`: the tree that the layers were laid over.
    ///
    /// # Errors
    /// What `read` says of the tree.
    pub fn read<T, E: std::fmt::Display>(
        &self,
        defaults: &Value,
        read: impl Fn(Value) -> Result<T, E>,
    ) -> Result<T, String> {
        let error = match read(self.value.clone()) {
            Ok(read) => return Ok(read),
            Err(error) => error.to_string(),
        };
        // With its default, the value is no longer what is wrong.
        let is_at_fault = |key: &str| {
            let mut tree = self.value.clone();
            let place = at_mut(&mut tree, key).zip(at(defaults, key));
            let Some((slot, default)) = place else { return false };
            *slot = default.clone();
            read(tree).err().is_none_or(|other| other.to_string() != error)
        };
        let set = self.origins.iter().filter(|(_, origin)| origin.is_set());
        let named = set.into_iter().find(|(key, _)| !error.contains(key.as_str()) && is_at_fault(key));
        Err(named.map_or_else(|| error.clone(), |(key, origin)| format!("{key} ({origin}): {error}")))
    }
}

struct Layers<'a> {
    defaults: &'a Value,
    open_maps: &'a [&'a str],
    resolved: Resolved,
}

impl<'a> Layers<'a> {
    fn new(defaults: &'a Value, open_maps: &'a [&'a str]) -> Self {
        let mut origins = BTreeMap::new();
        for_each_leaf(defaults, String::new(), &mut |path, _| {
            origins.insert(path, Origin::Default);
        });
        Self { defaults, open_maps, resolved: Resolved { value: defaults.clone(), origins } }
    }

    fn file(&mut self, value: Value, origin: &Origin) -> Result<(), SettingsError> {
        match value {
            Value::Null => Ok(()),
            Value::Object(entries) => {
                entries.into_iter().try_for_each(|(key, value)| self.set(&key, value, origin))
            }
            other => Err(wrong_type("", origin, &Value::Object(Map::new()), &other)),
        }
    }

    fn typed(&mut self, key: &str, text: &str, origin: &Origin) -> Result<(), SettingsError> {
        let default = match self.entry_of(key) {
            Some(_) => None,
            None => at(self.defaults, key),
        };
        self.set(key, parse(text, default), origin)
    }

    /// Sets `key` to `value`; a mapping sets each of its keys.
    fn set(&mut self, key: &str, value: Value, origin: &Origin) -> Result<(), SettingsError> {
        if let Some((map, entry)) = self.entry_of(key) {
            let (map, entry) = (map.to_owned(), entry.to_owned());
            self.insert_entry(&map, &entry, value, origin);
            return Ok(());
        }
        let Some(default) = at(self.defaults, key) else {
            let nearest = nearest(self.defaults, key);
            return Err(SettingsError::UnknownKey { key: key.to_owned(), origin: origin.clone(), nearest });
        };
        match (default, value) {
            (Value::Object(_), Value::Null) => Ok(()),
            (Value::Object(_), Value::Object(entries)) => entries
                .into_iter()
                .try_for_each(|(name, value)| self.set(&format!("{key}.{name}"), value, origin)),
            (default, value) if same_type(default, &value) => {
                if let Some(slot) = at_mut(&mut self.resolved.value, key) {
                    *slot = value;
                }
                self.resolved.origins.insert(key.to_owned(), origin.clone());
                Ok(())
            }
            (default, value) => Err(wrong_type(key, origin, default, &value)),
        }
    }

    fn insert_entry(&mut self, map: &str, entry: &str, value: Value, origin: &Origin) {
        if let Some(Value::Object(entries)) = at_mut(&mut self.resolved.value, map) {
            entries.insert(entry.to_owned(), value);
            self.resolved.origins.remove(map);
            self.resolved.origins.insert(format!("{map}.{entry}"), origin.clone());
        }
    }

    /// The open map and the name of the entry that `key` is.
    fn entry_of<'k>(&self, key: &'k str) -> Option<(&'a str, &'k str)> {
        self.open_maps.iter().find_map(|map| {
            let entry = key.strip_prefix(map)?.strip_prefix('.')?;
            (!entry.is_empty()).then_some((*map, entry))
        })
    }
}

fn same_type(default: &Value, value: &Value) -> bool {
    default.is_null()
        || (is_auto(default) && value.is_number())
        // A measure that may be left to others; which one may, the program says when it reads the settings.
        || (default.is_f64() && is_auto(value))
        || std::mem::discriminant(default) == std::mem::discriminant(value)
}

fn wrong_type(key: &str, origin: &Origin, default: &Value, value: &Value) -> SettingsError {
    SettingsError::WrongType {
        key: key.to_owned(),
        origin: origin.clone(),
        expected: type_of(default),
        found: type_of(value),
    }
}

fn at<'v>(tree: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(tree, |node, name| node.get(name))
}

fn at_mut<'v>(tree: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    key.split('.').try_fold(tree, |node, name| node.get_mut(name))
}

/// Calls `visit` with the dotted path of every leaf. An empty mapping is a leaf.
pub(in crate::settings) fn for_each_leaf(node: &Value, path: String, visit: &mut impl FnMut(String, &Value)) {
    match node {
        Value::Object(entries) if !entries.is_empty() => {
            for (name, value) in entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                for_each_leaf(value, path, visit);
            }
        }
        leaf => visit(path, leaf),
    }
}

/// The key most similar to `key`, unless none is similar. A key typed without its section is similar to itself.
fn nearest(defaults: &Value, key: &str) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let mut best: Option<(usize, String)> = None;
    let mut consider = |candidate: &str| {
        let whole = strsim::damerau_levenshtein(key, candidate);
        let tail = 1 + strsim::damerau_levenshtein(&last(key), &last(candidate));
        let distance = whole.min(tail);
        if distance <= 2.max(last(key).chars().count() / 3)
            && best.as_ref().is_none_or(|(least, _)| distance < *least)
        {
            best = Some((distance, candidate.to_owned()));
        }
    };
    for_each_leaf(defaults, String::new(), &mut |path, _| {
        // The sections above a leaf are keys as well.
        for (end, _) in path.match_indices('.') {
            consider(path.get(..end).unwrap_or_default());
        }
        consider(&path);
    });
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
