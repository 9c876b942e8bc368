//! What a text asks of a server: one object, the entries of a List, or nothing that can be sent.

use domain::api_server::{ServerCause, ServerClass, ServerVerdict};
use domain::config::Limits;
use engine::document::{Document, DocumentError, Identity};
use engine::yaml::LoadError;
use serde_json::Value;

use crate::transport::cut;

/// What a text asks.
#[derive(Debug)]
pub(crate) enum Question {
    /// It is not sent: the verdict.
    Unsent(ServerVerdict),
    /// One object, sent as it is written.
    One(Identity),
    /// The entries of a List, sent one by one.
    List(Vec<Entry>),
}

/// An entry of a List.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) identity: Identity,
    pub(crate) json: String,
    /// Keys of it that are written twice: lost in the JSON, and refused by a server that reads the text.
    pub(crate) duplicates: Vec<ServerCause>,
}

/// Reads what `text` asks.
pub(crate) fn read(text: &str, limits: &Limits, most_entries: usize) -> Question {
    let document = match Document::parse(text, limits) {
        Ok(document) => document,
        Err(error) => return Question::Unsent(unread(&error)),
    };
    if !is_list(&document) {
        return one(document.identity);
    }
    let entries = document.flatten();
    if entries.len() > most_entries {
        let message = format!("the List has {} entries; the limit is {most_entries}", entries.len());
        return Question::Unsent(unsent(ServerClass::Other, &message));
    }
    Question::List(entries.into_iter().map(|(_, entry)| Entry::of(entry)).collect())
}

fn is_list(document: &Document) -> bool {
    document.identity.kind.ends_with("List") && document.value.get("items").is_some_and(Value::is_array)
}

fn one(identity: Identity) -> Question {
    match nameless(&identity) {
        Some(verdict) => Question::Unsent(verdict),
        None => Question::One(identity),
    }
}

/// What a server says of an object that does not say what it is.
pub(crate) fn nameless(identity: &Identity) -> Option<ServerVerdict> {
    let whole = !identity.kind.is_empty() && !identity.api_version.is_empty();
    (!whole).then(|| unsent(ServerClass::Decode, "Object 'Kind' or 'apiVersion' is missing"))
}

impl Entry {
    fn of(mut document: Document) -> Self {
        if let Value::Object(map) = &mut document.value {
            // A typed list says once what its entries are.
            let identity = &document.identity;
            for (key, text) in [("apiVersion", &identity.api_version), ("kind", &identity.kind)] {
                if !text.is_empty() && !map.contains_key(key) {
                    map.insert(key.to_owned(), Value::String(text.clone()));
                }
            }
        }
        let duplicates = document.duplicate_keys.iter().map(|pointer| {
            let field = pointer.as_str().rsplit('/').next().unwrap_or_default();
            ServerCause {
                field: cut(field),
                reason: "duplicate_key".to_owned(),
                message: "key already set in map".to_owned(),
            }
        });
        Self {
            duplicates: duplicates.collect(),
            json: document.value.to_string(),
            identity: document.identity,
        }
    }
}

fn unread(error: &DocumentError) -> ServerVerdict {
    let class = match error {
        DocumentError::Load(LoadError::Limit { .. }) => ServerClass::Other,
        DocumentError::Load(_) | DocumentError::NotAMapping(_) => ServerClass::Unparsable,
    };
    unsent(class, &error.to_string())
}

/// A verdict that needed no server.
pub(crate) fn unsent(class: ServerClass, message: &str) -> ServerVerdict {
    ServerVerdict { class, code: 0, causes: Vec::new(), message: Some(cut(message)), warnings: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Option<ServerClass> {
        match read(text, &Limits::default(), 2) {
            Question::Unsent(verdict) => Some(verdict.class),
            Question::One(_) | Question::List(_) => None,
        }
    }

    #[test]
    fn what_says_no_kind_is_not_sent() {
        assert_eq!(class("kind: Pod\napiVersion: v1\n"), None);
        assert_eq!(class("kind: Pod\n"), Some(ServerClass::Decode));
        assert_eq!(class("kind: 5\napiVersion: v1\n"), Some(ServerClass::Decode));
        assert_eq!(class("- a\n"), Some(ServerClass::Unparsable));
        assert_eq!(class("a: [\n"), Some(ServerClass::Unparsable));
        assert_eq!(class(""), Some(ServerClass::Unparsable));
        assert_eq!(class("kind: List\napiVersion: v1\nitems: [{}, {}, {}]\n"), Some(ServerClass::Other));
    }

    #[test]
    fn the_entries_of_a_typed_list_get_its_kind() {
        let text = "kind: RoleList\napiVersion: rbac.authorization.k8s.io/v1\nitems: [{a: 1, a: 2}, {kind: X, apiVersion: y}]\n";
        let Question::List(entries) = read(text, &Limits::default(), 10) else { panic!("a list") };
        assert_eq!(entries[0].json, r#"{"a":2,"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role"}"#);
        assert_eq!(entries[0].duplicates[0].field, "a");
        assert_eq!((entries[1].identity.kind.as_str(), entries[1].duplicates.len()), ("X", 0));
    }
}
