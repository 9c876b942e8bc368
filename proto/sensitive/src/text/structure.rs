//! Texts that are documents: JSON and YAML, and what a manifest inside a manifest holds.
//!
//! The text is parsed to know its secrets, and changed where they stand in it, so that its layout stays. What is left is
//! parsed again: where a secret is still in it, or it does not parse any more, the whole text is taken for one.

use serde_json::Value;

use super::{Context, DEEPEST};
use crate::document::{self, Found, Place};
use crate::masks::{PLACEHOLDER, Repeats};

/// Longest text that is parsed: a document of a run may be as long.
const LONGEST: usize = 3 << 20;

/// Most bytes of secrets that are looked for in a text; one that holds more is masked whole.
const LONGEST_SECRETS: usize = 64 << 10;

/// The text with what `take` returns in place of the secrets that a parser finds; `None`: it is not a document or holds none.
pub(super) fn replace(text: &str, context: Context, take: &mut dyn FnMut(&str) -> String) -> Option<String> {
    if context.depth >= DEEPEST || text.len() > LONGEST || !may_hold(text) {
        return None;
    }
    let inner = Context { depth: context.depth + 1, ..context };
    let secrets = secrets(text, inner)?;
    if secrets.is_empty() {
        return None;
    }
    if secrets.iter().map(String::len).sum::<usize>() > LONGEST_SECRETS {
        return Some(take(text));
    }
    let forms = secrets.iter().flat_map(|secret| written(secret));
    let repeats = Repeats::new(forms);
    let shown = repeats.replace(text, take);
    // Masks and what they replaced may differ in what they need to be quoted, but both are words.
    let check = repeats.replace(text, &mut |_| PLACEHOLDER.to_owned());
    if self::secrets(&check, inner).is_some_and(|left| left.is_empty()) {
        return Some(shown);
    }
    Some(take(text))
}

/// Whether a parser may find what the other searches do not: members of Secrets, pairs of a name and a value in two lines,
/// blocks, values below a secret's name.
fn may_hold(text: &str) -> bool {
    let begin = text.trim_start();
    let json = begin.starts_with(['{', '[']) && begin.len() > 8;
    let yaml = text.contains('\n') && (text.contains(": ") || text.contains(":\n"));
    (json || yaml)
        && [
            "ecret",
            "value",
            "Value",
            "auth",
            "assword",
            "oken",
            "redential",
            ": |",
            ": >",
            "ublic",
            "rivate",
            "key:",
            "Key",
        ]
        .iter()
        .any(|hint| text.contains(hint))
}

/// The secrets of every document of a text; `None`: it is not a document.
fn secrets(text: &str, context: Context) -> Option<Vec<String>> {
    let mut secrets = Vec::new();
    let mut take = |secret: Found<'_>| {
        secrets.push(match secret {
            Found::Text(text) | Found::Member(text) => text.to_owned(),
            Found::Scalar(value) => value.to_string(),
        });
        PLACEHOLDER.to_owned()
    };
    for mut value in parse(text)? {
        document::replace(&mut value, &Place::root(context.depth), &mut take);
    }
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    Some(secrets)
}

fn parse(text: &str) -> Option<Vec<Value>> {
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        return Some(vec![value]);
    }
    let values: Vec<Value> = serde_saphyr::from_multiple(text).ok()?;
    values.iter().any(|value| value.is_object() || value.is_array()).then_some(values)
}

/// How a text may be written in a document: as it is, as JSON writes it, and line by line.
fn written(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_start_matches('"').trim_end_matches('"');
    if json != secret {
        forms.push(json.to_owned());
    }
    if secret.contains('\'') {
        forms.push(secret.replace('\'', "''"));
    }
    if secret.contains('\n') {
        forms.extend(secret.lines().map(str::trim).filter(|line| line.len() >= 4).map(str::to_owned));
    }
    forms
}
