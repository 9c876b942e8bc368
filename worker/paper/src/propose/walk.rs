//! Traversal of the published rules: every spec below `/spec`, of any kind.
//!
//! Indices count maps only, as the paper's code counted them: an entry that is not a map shifts the entries after it.

use domain::pointer::Pointer;
use serde_json::{Map, Value};

/// A map of a document.
pub(super) type Fields = Map<String, Value>;

/// The lists of a pod spec that hold containers, in the order they are read.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A map of the document and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) at: Pointer,
    pub(super) fields: &'a Fields,
}

impl<'a> Node<'a> {
    /// The map `key` below this one.
    pub(super) fn map(&self, key: &str) -> Option<&'a Fields> {
        map(self.fields, key)
    }

    /// The maps of the list `key` with their places; other entries are not counted.
    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let at = self.at.child(key);
        maps(self.fields, key)
            .enumerate()
            .map(move |(index, (_, fields))| Node { at: at.index(index), fields })
    }
}

/// Every visited spec: `/spec` and, below each spec, those of `template`, of `jobTemplate.spec.template`, and of
/// `jobTemplate.template` (a `CronJob` that lost the level of the job's spec).
pub(super) fn specs(document: &Value) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    if let Some(fields) = document.get("spec").and_then(Value::as_object) {
        collect(Pointer::of(["spec"]), fields, &mut found);
    }
    found
}

/// Ways from a spec to the next one.
const BELOW: [&[&str]; 3] = [
    &["template", "spec"],
    &["jobTemplate", "spec", "template", "spec"],
    &["jobTemplate", "template", "spec"],
];

fn collect<'a>(at: Pointer, fields: &'a Fields, found: &mut Vec<Node<'a>>) {
    let below = BELOW.map(|way| map_at(fields, way).map(|fields| (at.join(way), fields)));
    found.push(Node { at, fields });
    for (at, fields) in below.into_iter().flatten() {
        collect(at, fields, found);
    }
}

/// The visited specs that hold a list of containers.
pub(super) fn pod_specs(document: &Value) -> Vec<Node<'_>> {
    let mut found = specs(document);
    found.retain(|spec| LISTS.iter().any(|key| spec.fields.get(*key).is_some_and(Value::is_array)));
    found
}

/// Every container of every visited spec.
pub(super) fn containers(document: &Value) -> Vec<Node<'_>> {
    specs(document).iter().flat_map(containers_of).collect()
}

/// The containers of one spec.
pub(super) fn containers_of<'a>(spec: &Node<'a>) -> Vec<Node<'a>> {
    LISTS.iter().flat_map(|key| spec.list(key)).collect()
}

/// Every volume of every visited spec; those of a `CronJob` without the level of the job's spec come twice.
pub(super) fn volumes(document: &Value) -> Vec<Node<'_>> {
    let twice = |spec: &Node<'_>| spec.at.as_str().ends_with("/jobTemplate/template/spec");
    let specs = specs(document);
    let visits = specs.iter().flat_map(|spec| std::iter::repeat_n(spec, if twice(spec) { 2 } else { 1 }));
    visits.flat_map(|spec| spec.list("volumes")).collect()
}

/// The place of a pod spec's metadata.
pub(super) fn metadata_pointer(spec: &Pointer) -> Pointer {
    spec.split_last().map_or(Pointer::ROOT, |(parent, _)| parent).child("metadata")
}

/// The place of the controller's spec: what stands before the last `/template/spec`, or the spec itself.
pub(super) fn controller_pointer(spec: &Pointer) -> Pointer {
    let parent = spec.as_str().strip_suffix("/template/spec").and_then(|text| Pointer::parse(text).ok());
    parent.unwrap_or_else(|| spec.clone())
}

/// The map at a place; only maps are walked.
pub(super) fn map_in<'a>(document: &'a Value, at: &Pointer) -> Option<&'a Fields> {
    let mut node = document;
    for key in at.keys() {
        node = node.as_object()?.get(&key)?;
    }
    node.as_object()
}

/// The map behind several keys.
pub(super) fn map_at<'a>(fields: &'a Fields, way: &[&str]) -> Option<&'a Fields> {
    way.iter().try_fold(fields, |fields, key| map(fields, key))
}

/// A map below `fields`.
pub(super) fn map<'a>(fields: &'a Fields, key: &str) -> Option<&'a Fields> {
    fields.get(key).and_then(Value::as_object)
}

/// The maps of a list with their true indices.
pub(super) fn maps<'a>(fields: &'a Fields, key: &str) -> impl Iterator<Item = (usize, &'a Fields)> + use<'a> {
    let list = fields.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().filter_map(|(index, item)| item.as_object().map(|map| (index, map)))
}

/// A text below `fields`.
pub(super) fn text<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

/// A text below `fields` that is more than blanks.
pub(super) fn filled<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    text(fields, key).filter(|text| !text.trim().is_empty())
}

/// Whether a key is the boolean `expected`.
pub(super) fn flag(fields: Option<&Fields>, key: &str, expected: bool) -> bool {
    fields.and_then(|fields| fields.get(key)) == Some(&Value::Bool(expected))
}

/// Whether the document is of this kind, case-insensitively.
pub(super) fn is_kind(document: &Value, kind: &str) -> bool {
    document.get("kind").and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(kind))
}
