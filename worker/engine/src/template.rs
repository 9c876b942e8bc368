//! Detects unrendered templates: placeholders where a rendered object has a name, a label or an image.
//!
//! *Never* free text: `${HOME}` in a command, an environment value, an annotation or a `ConfigMap` is valid content.

use domain::pointer::Pointer;
use domain::record::Neighbours;
use serde_json::{Map, Value};

use crate::document::Document;
use crate::k8s::{Container, Pod, View, names};

/// Every placeholder that stands where it changes who the object is, what it selects or what it runs: `apiVersion`,
/// `kind`, names and namespaces, keys and values of labels and selectors, container names and images, names of volumes,
/// mounts, ports and service accounts. Each with the place that holds it (of a key: the entry), in document order of
/// those groups; empty for a rendered document.
///
/// A string that is valid where it is used is not a placeholder: the label value `a__b__c` is one that people write.
pub fn unrendered(document: &Document) -> Vec<(Pointer, String)> {
    let view = View::new(document, &Neighbours::Unknown);
    let mut hits = Hits { root: &document.value, found: Vec::new() };
    hits.texts(&Pointer::ROOT, &["apiVersion", "kind"]);
    hits.metadata(&Pointer::of(["metadata"]));
    hits.labels(&Pointer::of(["spec", "selector"]));
    hits.labels(&Pointer::of(["spec", "jobTemplate", "spec", "selector"]));
    hits.entries(&Pointer::of(["spec", "ports"]), &["name", "targetPort"]);
    for (index, _) in hits.list(&Pointer::of(["spec", "volumeClaimTemplates"])) {
        hits.metadata(&Pointer::of(["spec", "volumeClaimTemplates"]).index(index).child("metadata"));
    }
    for pod in &view.pods {
        hits.pod(pod, view.kind() == "Pod");
    }
    for container in &view.containers {
        hits.container(container);
    }
    hits.found
}

struct Hits<'a> {
    root: &'a Value,
    found: Vec<(Pointer, String)>,
}

impl<'a> Hits<'a> {
    fn map(&self, at: &Pointer) -> Option<&'a Map<String, Value>> {
        at.resolve(self.root)?.as_object()
    }

    fn list(&self, at: &Pointer) -> Vec<(usize, &'a Value)> {
        let list = at.resolve(self.root).and_then(Value::as_array);
        list.into_iter().flatten().enumerate().collect()
    }

    fn text(&mut self, at: Pointer, text: &str) {
        if let Some(placeholder) = placeholder(text) {
            self.found.push((at, placeholder.to_owned()));
        }
    }

    /// The texts under `keys` of the map at `at`.
    fn texts(&mut self, at: &Pointer, keys: &[&str]) {
        let Some(map) = self.map(at) else { return };
        for key in keys {
            if let Some(text) = map.get(*key).and_then(Value::as_str) {
                self.text(at.child(key), text);
            }
        }
    }

    /// [`Hits::texts`] of every entry of the list at `at`.
    fn entries(&mut self, at: &Pointer, keys: &[&str]) {
        for (index, _) in self.list(at) {
            self.texts(&at.index(index), keys);
        }
    }

    fn metadata(&mut self, at: &Pointer) {
        self.texts(at, &["name", "generateName", "namespace"]);
        self.labels(&at.child("labels"));
    }

    /// Keys and values of labels, or of a selector of any shape.
    fn labels(&mut self, at: &Pointer) {
        let Some(node) = at.resolve(self.root) else { return };
        self.label_node(at.clone(), node);
    }

    fn label_node(&mut self, at: Pointer, node: &Value) {
        match node {
            Value::Object(map) => {
                for (key, value) in map {
                    let place = at.child(key);
                    if !is_label(key) {
                        self.text(place.clone(), key);
                    }
                    self.label_node(place, value);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.label_node(at.index(index), item);
                }
            }
            Value::String(text) if !is_label(text) => self.text(at, text),
            _ => {}
        }
    }

    fn pod(&mut self, pod: &Pod<'_>, is_the_object: bool) {
        if !is_the_object {
            self.metadata(&pod.metadata_pointer);
        }
        self.texts(&pod.pointer, &["serviceAccountName", "serviceAccount"]);
        self.labels(&pod.pointer.child("nodeSelector"));
        self.labels(&pod.pointer.child("affinity"));
        self.entries(&pod.pointer.child("volumes"), &["name"]);
    }

    fn container(&mut self, container: &Container<'_>) {
        self.texts(&container.pointer, &["name", "image"]);
        self.entries(&container.pointer.child("ports"), &["name"]);
        self.entries(&container.pointer.child("volumeMounts"), &["name"]);
    }
}

/// The placeholder in `text`. `__…__` is one only when what it wraps is in capitals and it touches no letter or digit:
/// image repositories have `__` in their names.
fn placeholder(text: &str) -> Option<&str> {
    let found = names::placeholder(text)?;
    if !found.starts_with("__") {
        return Some(found);
    }
    let without = text.replace("__", "");
    if let Some(other) = names::placeholder(&without) {
        return text.find(other).map(|at| &text[at..at + other.len()]);
    }
    let inner = &found[2..found.len() - 2];
    let at = text.find(found)?;
    let touches = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let wrapped = inner.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !touches(text[..at].chars().last())
        && !touches(text[at + found.len()..].chars().next());
    wrapped.then_some(found)
}

/// Whether `text` has only characters of label keys and values, with any length.
fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    fn places(yaml: &str) -> Vec<(String, String)> {
        let found = unrendered(&document(yaml));
        found.into_iter().map(|(pointer, text)| (pointer.to_string(), text)).collect()
    }

    #[test]
    fn placeholders_of_identity_selection_and_image_are_found() {
        let yaml = r"
apiVersion: '{{ .api }}'
kind: Deployment
metadata: {name: 'web-${ENV}', namespace: $NS, labels: {app: '{{name}}', '${k}': v}}
spec:
  selector: {matchLabels: {app: <<app>>}}
  template:
    metadata: {labels: {app: '[[app]]'}}
    spec:
      serviceAccountName: '%%sa%%'
      nodeSelector: {zone: $ZONE}
      containers:
      - {name: __NAME__, image: 'reg/__IMAGE__:1', ports: [{name: $P}], volumeMounts: [{name: $V}]}
      initContainers: [{name: a, image: 'reg.example.com/${APP}:2'}]
      volumes: [{name: '{{ v }}'}]
";
        let expected = [
            ("/apiVersion", "{{ .api }}"),
            ("/metadata/name", "${ENV}"),
            ("/metadata/namespace", "$NS"),
            ("/metadata/labels/app", "{{name}}"),
            ("/metadata/labels/${k}", "${k}"),
            ("/spec/selector/matchLabels/app", "<<app>>"),
            ("/spec/template/metadata/labels/app", "[[app]]"),
            ("/spec/template/spec/serviceAccountName", "%%sa%%"),
            ("/spec/template/spec/nodeSelector/zone", "$ZONE"),
            ("/spec/template/spec/volumes/0/name", "{{ v }}"),
            ("/spec/template/spec/containers/0/name", "__NAME__"),
            ("/spec/template/spec/containers/0/image", "__IMAGE__"),
            ("/spec/template/spec/containers/0/ports/0/name", "$P"),
            ("/spec/template/spec/containers/0/volumeMounts/0/name", "$V"),
            ("/spec/template/spec/initContainers/0/image", "${APP}"),
        ];
        assert_eq!(places(yaml), expected.map(|(at, text)| (at.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_service_and_claim_templates_are_read_too() {
        assert_eq!(
            places(
                "kind: Service\nspec: {selector: {app: '${A}'}, ports: [{name: $P, targetPort: '{{p}}'}]}"
            )
            .len(),
            3
        );
        assert_eq!(
            places(
                "kind: StatefulSet\nspec: {volumeClaimTemplates: [{metadata: {name: '${A}'}}], template: {spec: {}}}"
            ),
            [("/spec/volumeClaimTemplates/0/metadata/name".to_owned(), "${A}".to_owned())]
        );
    }

    #[test]
    fn free_text_and_what_is_legal_are_left_alone() {
        let yaml = r"
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations: {note: '{{ x }} ${y} __name__'}
  labels: {a__b__c: x.__P__.y}
spec:
  containers:
  - name: a
    image: reg.example.com/a__b__c:v1__2__3
    command: [sh, -c, 'echo ${HOME} __name__ $X']
    args: ['{{.Node}}']
    env: [{name: AIRFLOW__CORE__KEY, value: $VALUE}]
    volumeMounts: [{name: v, mountPath: '/x/${Y}'}]
  volumes: [{name: v, configMap: {name: c}}]
";
        assert_eq!(places(yaml), []);
        assert_eq!(places("kind: ConfigMap\ndata: {a: '{{ x }}'}"), []);
    }
}
