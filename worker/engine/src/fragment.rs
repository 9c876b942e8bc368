//! Recognises fragments: texts of the shape of an object that something else completes, such as the strategic merge patches
//! of kustomize. What they lack is no violation, and nothing may be added to them.

use domain::pointer::Pointer;
use domain::record::Neighbours;
use serde_json::{Map, Value};

use crate::document::Document;
use crate::k8s::{Container, Pod, View};
use crate::steps::spend;

/// Why an object is a fragment; `None` for a whole one.
pub fn reason(document: &Document) -> Option<String> {
    if let Some(directive) = directive(&document.value, &Pointer::ROOT) {
        return Some(format!("{directive} is a directive of a strategic merge patch"));
    }
    lacks_identity_of_pods(document).then(|| {
        "it has neither a selector nor labels of its pods, and a container without an image, as a patch for another object"
            .to_owned()
    })
}

/// Keys of a strategic merge patch (Kubernetes documentation, *Update API Objects in Place Using kubectl patch*).
fn is_directive(key: &str) -> bool {
    matches!(key, "$patch" | "$retainKeys")
        || ["$setElementOrder/", "$deleteFromPrimitiveList/"].iter().any(|begin| key.starts_with(begin))
}

/// The first directive in a node.
fn directive(node: &Value, at: &Pointer) -> Option<Pointer> {
    spend(1);
    match node {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let place = || at.child(key);
            if is_directive(key) {
                Some(place())
            } else {
                is_nested(value).then(|| directive(value, &place()))?
            }
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| is_nested(item).then(|| directive(item, &at.index(index)))?),
        _ => None,
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Whether a controller lacks all of what says which pods it makes: nobody writes such a one by mistake.
fn lacks_identity_of_pods(document: &Document) -> bool {
    let view = View::new(document, &Neighbours::Unknown);
    let Some(spec) = view.spec().filter(|spec| !spec.is_empty()) else { return false };
    if !matches!(view.kind(), "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet") {
        return false;
    }
    let is_absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let labels = view.pods.first().and_then(Pod::labels).is_some_and(|labels| !labels.is_empty());
    let has_image = |container: &Container<'_>| !is_absent(container.fields.get("image"));
    let is_complete = !view.containers.is_empty() && view.containers.iter().all(has_image);
    is_absent(spec.get("selector")) && !labels && !is_complete && !has_other_template(spec)
}

/// Whether the template is there and is no map: that is a fault, not a part that was left out.
fn has_other_template(spec: &Map<String, Value>) -> bool {
    spec.get("template").is_some_and(|template| !template.is_object() && !template.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    #[test]
    fn directives_are_found_wherever_they_stand() {
        for (text, at) in [
            (
                "kind: Deployment\nspec: {template: {spec: {containers: [{name: a, $patch: delete}]}}}",
                "/spec/template/spec/containers/0/$patch",
            ),
            ("kind: Service\n$patch: delete", "/$patch"),
            ("kind: Pod\nspec: {$retainKeys: [a]}", "/spec/$retainKeys"),
            (
                "kind: Pod\nspec: {$setElementOrder/containers: [{name: a}]}",
                "/spec/$setElementOrder~1containers",
            ),
            (
                "kind: Pod\nmetadata: {$deleteFromPrimitiveList/finalizers: [a]}",
                "/metadata/$deleteFromPrimitiveList~1finalizers",
            ),
        ] {
            let found = reason(&document(text)).unwrap_or_default();
            assert!(found.starts_with(&format!("{at} ")), "{text}: {found}");
        }
    }

    #[test]
    fn a_controller_without_any_identity_of_its_pods_is_a_fragment() {
        for spec in [
            "{replicas: 3}",
            "{template: {spec: {containers: [{name: a, env: []}]}}}",
            "{template: {spec: {containers: [{name: a, image: x}, {name: b}]}}}",
            "{template: {metadata: {annotations: {a: b}}}}",
        ] {
            for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
                assert!(reason(&document(&format!("kind: {kind}\nspec: {spec}"))).is_some(), "{kind} {spec}");
            }
        }
    }

    #[test]
    fn what_is_merely_wrong_is_no_fragment() {
        for text in [
            "kind: Deployment",
            "kind: Deployment\nspec: {}",
            "kind: Deployment\nspec: {template: {spec: {containers: [{name: a, image: x}]}}}",
            "kind: Deployment\nspec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a}]}}}",
            "kind: Deployment\nspec: {selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: a}]}}}",
            "kind: Deployment\nspec: {template: 5}",
            "kind: Pod\nspec: {containers: [{name: a}]}",
            "kind: Job\nspec: {template: {spec: {containers: [{name: a}]}}}",
            "kind: ConfigMap\ndata: {a: '$patch: delete', $x: y}",
            "apiVersion: example.com/v1\nkind: Deployment\nspec: {replicas: 3}",
        ] {
            assert_eq!(reason(&document(text)), None, "{text}");
        }
    }
}
