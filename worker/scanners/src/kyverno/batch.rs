//! The documents of one process: each with a name of its own, since Kyverno's CLI dies on two objects of one identity.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;

use serde_json::{Map, Value, json};

use crate::documents::Documents;
use crate::report::Unjudged;

/// The policy of our own, and the beginning of the name of the document of our own.
pub(super) const OWN: &str = "k8s-auto-fix-own";
/// A policy that our own document meets.
pub(super) const OWN_POLICY: &str = "\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: k8s-auto-fix-own
spec:
  rules:
  - name: has-its-name
    match:
      any:
      - resources:
          kinds: [ConfigMap]
          names: [k8s-auto-fix-own-*]
    validate:
      message: the document has another name
      pattern:
        metadata:
          name: k8s-auto-fix-own-*
";
/// What an empty namespace comes back as.
const DEFAULT_NAMESPACE: &str = "default";

/// Who Kyverno says an object is: kind, namespace, name.
type Reference = (String, String, String);

/// The documents of one process.
#[derive(Debug)]
pub(super) struct Batch {
    text: String,
    /// The name of the document of our own. No text of a document can hold it: where a verdict about it stands, Kyverno
    /// itself speaks.
    own: String,
    members: HashMap<Reference, Member>,
}

/// A document of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) document: usize,
    /// The name that it was given for Kyverno and its own one.
    renamed: Option<(String, String)>,
}

impl Batch {
    /// Of no documents but our own.
    pub(super) fn empty() -> Self {
        // Random for each batch.
        let number = RandomState::new().build_hasher().finish();
        let own = format!("{OWN}-{number:016x}");
        let mut batch = Self { text: String::new(), own, members: HashMap::new() };
        let metadata = json!({"name": batch.own, "namespace": DEFAULT_NAMESPACE});
        batch.write(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}));
        batch
    }

    /// Takes documents, and says which ones Kyverno cannot be given.
    pub(super) fn of(numbers: &[usize], documents: &Documents) -> io::Result<(Self, Vec<Unjudged>)> {
        let mut batch = Self::empty();
        let mut left_out = Vec::new();
        for document in numbers {
            if let Err(reason) = batch.add(*document, documents.value(*document)?) {
                left_out.push(Unjudged { document: *document, reason: reason.to_owned() });
            }
        }
        Ok((batch, left_out))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_own(&self, name: &str) -> bool {
        self.own == name
    }

    pub(super) fn member(&self, kind: &str, namespace: &str, name: &str) -> Option<&Member> {
        self.members.get(&reference(kind, namespace, name))
    }

    fn add(&mut self, document: usize, mut value: Value) -> Result<(), &'static str> {
        let object = value.as_object_mut().ok_or("is not a mapping")?;
        let of = |object: &Map<String, Value>, key| {
            object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        of(object, "apiVersion").ok_or("has no apiVersion")?;
        let kind = of(object, "kind").ok_or("has no kind")?;
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        let metadata = metadata.as_object_mut().ok_or("has metadata that are not a mapping")?;
        let name = of(metadata, "name").unwrap_or_default();
        let namespace = of(metadata, "namespace").unwrap_or_default();
        let mut renamed = None;
        let mut key = reference(&kind, &namespace, &name);
        if name.is_empty() || self.members.contains_key(&key) {
            let given = format!("k8s-auto-fix-{document}");
            metadata.insert("name".to_owned(), Value::from(given.as_str()));
            key = reference(&kind, &namespace, &given);
            renamed = Some((given, name));
        }
        // An object may have the name that is made up for another one.
        if self.members.contains_key(&key) {
            return Err("has a name that is made up here");
        }
        self.members.insert(key, Member { document, renamed });
        self.write(&value);
        Ok(())
    }

    fn write(&mut self, value: &Value) {
        self.text.push_str("---\n");
        self.text.push_str(&value.to_string());
        self.text.push('\n');
    }
}

impl Member {
    /// A message with the document's own name.
    pub(super) fn own_words(&self, message: String) -> String {
        match &self.renamed {
            Some((given, own)) => message.replace(given.as_str(), own),
            None => message,
        }
    }
}

fn reference(kind: &str, namespace: &str, name: &str) -> Reference {
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use domain::config::Context;

    use super::*;

    #[test]
    fn names_are_made_unique_and_put_back() {
        let mut documents = Documents::new(Context::Input).unwrap();
        let pod = |metadata: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
        for value in [
            pod(json!({"name": "a"})),
            pod(json!({"name": "a", "namespace": "default"})),
            pod(json!({"name": "a", "namespace": "b"})),
            pod(Value::Null),
            json!({"kind": "Pod"}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": "x"}),
        ] {
            documents.add("", "", &value).unwrap();
        }
        let (batch, left_out) = Batch::of(&[0, 1, 2, 3, 4, 5], &documents).unwrap();
        let document = |namespace: &str, name: &str| batch.member("Pod", namespace, name).unwrap().document;
        assert_eq!(document("default", "a"), 0);
        assert_eq!(document("default", "k8s-auto-fix-1"), 1);
        assert_eq!(document("b", "a"), 2);
        assert_eq!(document("default", "k8s-auto-fix-3"), 3);
        let member = batch.member("Pod", "default", "k8s-auto-fix-1").unwrap();
        assert_eq!(member.own_words("pod k8s-auto-fix-1 fails".to_owned()), "pod a fails");
        let reasons: Vec<_> = left_out.iter().map(|left| (left.document, left.reason.as_str())).collect();
        assert_eq!(reasons, [(4, "has no apiVersion"), (5, "has metadata that are not a mapping")]);
        let names: Vec<_> = batch
            .text()
            .split("---\n")
            .skip(1)
            .map(|text| serde_json::from_str::<Value>(text).unwrap()["metadata"]["name"].clone())
            .collect();
        assert!(
            batch.is_own(names[0].as_str().unwrap()) && !Batch::empty().is_own(names[0].as_str().unwrap())
        );
        assert_eq!(names[1..], ["a", "k8s-auto-fix-1", "a", "k8s-auto-fix-3"]);
    }
}
