//! One document: text ↔ value, its kind and identity.

use domain::config::Limits;
use domain::outcome::ErrorKind;
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use crate::yaml::{self, LoadError, Loaded, Spans};

/// A Kubernetes object as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object; always a mapping.
    pub value: Value,
    /// Kind, namespace and name.
    pub identity: Identity,
    /// Keys that occur twice in one mapping.
    pub duplicate_keys: Vec<Pointer>,
}

/// Who an object says it is. A field that is absent or no text is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// A text is not a valid document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The text cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The document is a list, a number, a text.
    #[error("the document is {0}, not a mapping")]
    NotAMapping(&'static str),
}

impl DocumentError {
    /// The kind under which the record is counted.
    pub const fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Load(LoadError::Syntax { .. }) => ErrorKind::UnparsableDocument,
            Self::Load(LoadError::Limit { .. }) => ErrorKind::LimitExceeded,
            Self::Load(LoadError::Empty) | Self::NotAMapping(_) => ErrorKind::NotAnObject,
        }
    }
}

impl Document {
    /// Reads the first document of `text`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, DocumentError> {
        Ok(Self::of_loaded(yaml::load(text, limits)?)?.0)
    }

    /// As [`Self::parse`], with the position of each node.
    pub fn parse_with_spans(text: &str, limits: &Limits) -> Result<(Self, Spans), DocumentError> {
        Self::of_loaded(yaml::load_with_spans(text, limits)?)
    }

    fn of_loaded(loaded: Loaded) -> Result<(Self, Spans), DocumentError> {
        let mut document = Self::from_value(loaded.value)?;
        document.duplicate_keys = loaded.duplicate_keys;
        Ok((document, loaded.spans))
    }

    /// Takes a value that already is one object.
    pub fn from_value(value: Value) -> Result<Self, DocumentError> {
        let found = match &value {
            Value::Object(_) => {
                let identity = Identity::of(&value);
                return Ok(Self { value, identity, duplicate_keys: Vec::new() });
            }
            Value::Null => "empty",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
        };
        Err(DocumentError::NotAMapping(found))
    }

    /// The objects of this document: itself, or the items of a `List` (of any `…List` kind with `items`), also of lists in
    /// lists, each with its pointer in this document.
    pub fn flatten(self) -> Vec<(Pointer, Self)> {
        let is_list =
            self.identity.kind.ends_with("List") && self.value.get("items").is_some_and(Value::is_array);
        if !is_list {
            return vec![(Pointer::ROOT, self)];
        }
        let items = Pointer::of(["items"]);
        let Value::Object(mut map) = self.value else { return Vec::new() };
        let Some(Value::Array(list)) = map.swap_remove("items") else { return Vec::new() };
        // Those below one item stand together when they are in order, and are found without looking at the others.
        let mut duplicates = self.duplicate_keys;
        duplicates.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let list_of = self.identity;
        let flat = list.into_iter().enumerate().filter_map(|(index, item)| {
            let at = items.index(index);
            let mut document = Self::from_value(item).ok()?;
            document.take_kind_of(&list_of);
            let below = format!("{at}/");
            let first = duplicates.partition_point(|pointer| pointer.as_str() < below.as_str());
            document.duplicate_keys = duplicates
                .iter()
                .skip(first)
                .take_while(|pointer| at.covers(pointer))
                .filter_map(|pointer| Pointer::parse(&pointer.as_str()[at.as_str().len()..]).ok())
                .collect();
            Some((at, document))
        });
        // As deep as the limits let a document nest.
        flat.flat_map(|(at, document)| {
            let place =
                move |below: Pointer| Pointer::parse(format!("{at}{below}")).unwrap_or_else(|_| at.clone());
            document.flatten().into_iter().map(move |(below, object)| (place(below), object))
        })
        .collect()
    }

    /// Items of a typed list may go without a kind of their own: those of a `DeploymentList` are Deployments. The kind is put
    /// into the object, so that it has it after a patch too, and where it stands alone.
    fn take_kind_of(&mut self, list: &Identity) {
        let kind = list.kind.strip_suffix("List").unwrap_or_default();
        if !self.identity.kind.is_empty() || kind.is_empty() {
            return;
        }
        if self.identity.api_version.is_empty() {
            self.give("apiVersion", &list.api_version);
        }
        self.give("kind", kind);
        let Self { value, identity, .. } = self;
        let own = Identity::of(value);
        // A kind that is no text stays what it is in the object.
        kind.clone_into(&mut identity.kind);
        identity.api_version =
            if own.api_version.is_empty() { list.api_version.clone() } else { own.api_version };
    }

    fn give(&mut self, key: &str, text: &str) {
        if let Value::Object(map) = &mut self.value
            && map.get(key).is_none_or(Value::is_null)
        {
            map.insert(key.to_owned(), Value::from(text));
        }
    }
}

impl Identity {
    /// Reads the identity of an object.
    pub fn of(value: &Value) -> Self {
        let text = |map: Option<&Map<String, Value>>, key| {
            map.and_then(|map| map.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let root = value.as_object();
        let metadata = value.get("metadata").and_then(Value::as_object);
        Self {
            api_version: text(root, "apiVersion"),
            kind: text(root, "kind"),
            namespace: text(metadata, "namespace"),
            name: text(metadata, "name"),
        }
    }

    /// The API group: what stands before the slash of `apiVersion`; empty for the core group and where none is given.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The namespace the object lands in when none is named.
    pub fn effective_namespace(&self) -> &str {
        if self.namespace.is_empty() { "default" } else { &self.namespace }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_flattened_with_their_pointers() {
        let text =
            "apiVersion: v1\nkind: List\nitems:\n- kind: Pod\n  a: {x: 1, x: 2}\n- 5\n- kind: Service\n";
        let flat = Document::parse(text, &Limits::default()).unwrap().flatten();
        let seen: Vec<_> = flat.iter().map(|(at, doc)| (at.as_str(), doc.identity.kind.as_str())).collect();
        assert_eq!(seen, [("/items/0", "Pod"), ("/items/2", "Service")]);
        assert_eq!(flat[0].1.duplicate_keys, [Pointer::of(["a", "x"])]);
    }

    #[test]
    fn lists_in_lists_and_typed_lists_are_flattened() {
        let text = "kind: List\nitems:\n- kind: Pod\n- kind: List\n  items:\n  - apiVersion: apps/v1\n    kind: DeploymentList\n    items: [{metadata: {name: d, x: 1, x: 2}}, {kind: Job}]\n- kind: List\n  items: []\n";
        let flat = Document::parse(text, &Limits::default()).unwrap().flatten();
        let seen: Vec<_> = flat.iter().map(|(at, doc)| (at.as_str(), doc.identity.kind.as_str())).collect();
        let expected = [
            ("/items/0", "Pod"),
            ("/items/1/items/0/items/0", "Deployment"),
            ("/items/1/items/0/items/1", "Job"),
        ];
        assert_eq!(seen, expected);
        assert_eq!(flat[1].1.identity.group(), "apps");
        assert_eq!(Identity::of(&flat[1].1.value), flat[1].1.identity, "the object has its kind");
        assert_eq!(flat[1].1.duplicate_keys, [Pointer::of(["metadata", "x"])]);
    }

    #[test]
    fn what_is_no_object_is_said() {
        let error = |text| Document::parse(text, &Limits::default()).unwrap_err();
        assert_eq!(error("- 1\n").error_kind(), ErrorKind::NotAnObject);
        assert_eq!(error("\n").error_kind(), ErrorKind::NotAnObject);
        assert_eq!(error("a: [").error_kind(), ErrorKind::UnparsableDocument);
        assert_eq!(error("5").to_string(), "the document is a number, not a mapping");
        assert_eq!(Identity::of(&json!({"kind": 5})).kind, "");
    }
}
