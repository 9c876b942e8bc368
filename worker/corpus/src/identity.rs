//! Reads the identity of an object from its text without parsing it.
//!
//! Parsing every published document again for its name alone would cost more than all other work of the readers.
//! *Invariant*: a result equals the result of the parser; unusual text yields none.

use domain::config::Limits;
use engine::document::{Document, Identity};

/// The identity of the only object of `text`; `None` when it cannot be read.
pub(crate) fn of(text: &str, limits: &Limits) -> Option<Identity> {
    at_a_glance(text).or_else(|| Document::parse(text, limits).ok().map(|document| document.identity))
}

/// Kind, namespace and name of a plain block mapping; `None` for any other text.
pub(crate) fn at_a_glance(text: &str) -> Option<Identity> {
    if text.contains(['\t', '\r', '&', '*', '\u{feff}']) || text.contains("\n---") || text.contains("<<") {
        return None;
    }
    let mut identity = Identity::default();
    let (mut kind, mut metadata) = (false, false);
    // Indentation of the entries of the open `metadata`.
    let mut inside: Option<Option<usize>> = None;
    for line in text.lines() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let depth = line.len() - body.len();
        if depth == 0 {
            // A list may stand as deep as the key that holds it.
            if body.starts_with("- ") || body == "-" {
                continue;
            }
            let (key, value) = body.split_once(':')?;
            if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            inside = None;
            match key {
                "kind" | "apiVersion" => {
                    let value = scalar(value)?;
                    if key == "kind" {
                        if std::mem::replace(&mut kind, true) {
                            return None;
                        }
                        identity.kind = value;
                    } else {
                        identity.api_version = value;
                    }
                }
                "metadata" => {
                    if !value.trim().is_empty() || std::mem::replace(&mut metadata, true) {
                        return None;
                    }
                    inside = Some(None);
                }
                _ => {}
            }
        } else if let Some(indentation) = inside {
            let indentation = *inside.insert(Some(indentation.unwrap_or(depth))).get_or_insert(depth);
            if depth == indentation
                && let Some((key, value)) = body.split_once(':')
            {
                match key {
                    "name" => identity.name = scalar(value)?,
                    "namespace" => identity.namespace = scalar(value)?,
                    _ => {}
                }
            }
        }
    }
    kind.then_some(identity)
}

/// A plain text, unquoted or in simple quotes, that no reader could take for anything but itself.
fn scalar(value: &str) -> Option<String> {
    let value = value.strip_prefix(' ')?.trim();
    let bare = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let quoted = bare('\'').or_else(|| bare('"'));
    let text = quoted.unwrap_or(value);
    let usual = |c: char| c.is_ascii_alphanumeric() || "-./_".contains(c);
    let begins = |c: char| c.is_ascii_alphabetic();
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    (text.starts_with(begins) && text.chars().all(usual) && (quoted.is_some() || !word))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_and_the_parser_agree() {
        let limits = Limits::default();
        for (text, seen) in [
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    name: x\n  name: a\nspec:\n  name: b\n",
                true,
            ),
            (
                "kind: 'Pod'\nmetadata:\n    name: \"a-b\"\n    namespace: c # not plain\nspec:\n- a: 1\n",
                false,
            ),
            ("kind: Pod\nmetadata:\n  annotations:\n    x: |\n      name: z\n  name: a\n", true),
            ("kind: Pod\nmetadata: {name: a}\n", false),
            ("kind: Pod\nmetadata:\n  name: 12\n", false),
            ("kind: Pod\nmetadata:\n  name: no\n", false),
            ("kind: Pod\nkind: Job\n", false),
            ("spec: &x\n  a: 1\nkind: Pod\n", false),
            ("{kind: Pod}", false),
            ("metadata:\n  name: a\n", false),
            ("kind: Service\nspec: {}\n", true),
        ] {
            let glance = at_a_glance(text);
            assert_eq!(glance.is_some(), seen, "{text}");
            if let Some(identity) = glance {
                assert_eq!(
                    Some(identity),
                    Document::parse(text, &limits).ok().map(|document| document.identity)
                );
            }
        }
    }
}
