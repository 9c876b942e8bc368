//! `sorted_keys`: keys stand in the order of the alphabet.
//!
//! # What it checks
//! Every map of a document whose keys are not sorted by their bytes (kube-linter `sorted-keys`).
//!
//! # Why
//! Manifests that are sorted alike differ only where they mean something else (kube-linter documentation).
//!
//! # Repair
//! None: the order means nothing to Kubernetes, and a JSON Patch cannot say it. A formatter sorts a file and keeps its
//! comments. For the same reason a repair of another policy is not judged by this one.
//!
//! # Example
//! ```yaml
//! {name: web, image: "web:1"}   # found
//! {image: "web:1", name: web}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::steps::spend;

pub(super) struct SortedKeys;

/// A map whose keys are not sorted, and how its place is written.
type Unsorted<'a> = (Pointer, String, &'a Map<String, Value>);

fn collect<'a>(node: &'a Value, at: &Pointer, path: &str, found: &mut Vec<Unsorted<'a>>) {
    spend(1);
    match node {
        Value::Object(map) => {
            if !map.keys().is_sorted() {
                found.push((at.clone(), path.to_owned(), map));
            }
            for (key, value) in map.iter().filter(|(_, value)| is_deep(value)) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(value, &at.child(key), &path, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| is_deep(item)) {
                collect(item, &at.index(index), &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_deep(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn message(path: &str, map: &Map<String, Value>) -> String {
    let written: Vec<&str> = map.keys().map(String::as_str).collect();
    let mut sorted = written.clone();
    sorted.sort_unstable();
    let path = if path.is_empty() { "root" } else { path };
    format!(
        "Keys are not sorted at {path}. Expected order: [{}], got: [{}]",
        sorted.join(", "),
        written.join(", ")
    )
}

impl Reviewed for SortedKeys {
    const ID: PolicyId = PolicyId::SortedKeys;

    const CHECK: &'static Check = &Check {
        id: "sorted-keys",
        severity: Severity::Warning,
        remedy: "Sort the keys, as a formatter does.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let mut found = Vec::new();
        collect(view.value, &Pointer::ROOT, "", &mut found);
        found.into_iter().map(|(at, path, map)| (at, message(&path, map))).collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "the order of keys means nothing to Kubernetes: let a formatter sort the file, or leave it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&SortedKeys);
    }

    #[test]
    fn every_map_is_looked_at() {
        let document = document(
            "kind: Pod\napiVersion: v1\nmetadata: {name: a, labels: {b: c, a: d}}\nspec: {containers: [{image: a, name: a, ports: [{protocol: TCP, containerPort: 80}]}]}",
        );
        assert_eq!(
            messages(&SortedKeys, &document),
            [
                "Keys are not sorted at root. Expected order: [apiVersion, kind, metadata, spec], got: [kind, apiVersion, metadata, spec]",
                "Keys are not sorted at metadata. Expected order: [labels, name], got: [name, labels]",
                "Keys are not sorted at metadata.labels. Expected order: [a, b], got: [b, a]",
                "Keys are not sorted at spec.containers[0].ports[0]. Expected order: [containerPort, protocol], got: [protocol, containerPort]",
            ]
        );
    }
}
