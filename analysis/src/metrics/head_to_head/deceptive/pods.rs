//! Objects of a document, and the pods that they make.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Map, Value};

/// Lists of containers of a pod.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Kind, namespace and name of an object. Without a namespace it is in `default`.
pub(super) type Identity<'a> = (&'a str, &'a str, &'a str);

pub(super) fn identity(object: &Value) -> Identity<'_> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = match text("/metadata/namespace") {
        "" => "default",
        named => named,
    };
    (text("/kind"), namespace, text("/metadata/name"))
}

/// Kind and name of an object, for a message.
pub(super) fn named(object: &Value) -> String {
    let (kind, _, name) = identity(object);
    if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") }
}

/// The objects of a document: the items of a list, or the document itself.
pub(super) fn objects(document: &Value) -> Vec<&Value> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
    match document.get("items").and_then(Value::as_array).filter(|_| kind.ends_with("List")) {
        Some(items) => items.iter().filter(|item| item.is_object()).collect(),
        None if document.is_object() => vec![document],
        None => vec![],
    }
}

/// Each object before the repair, with the same object afterwards if it is still there. An object without a name, or with
/// one that no cluster takes, such as a template's placeholder, cannot exist: it is any object of its kind afterwards.
pub(super) fn paired<'a>(before: &'a Value, after: &'a Value) -> Vec<(&'a Value, Option<&'a Value>)> {
    let mut left: HashMap<Identity<'_>, VecDeque<&Value>> = HashMap::new();
    for object in objects(after) {
        left.entry(identity(object)).or_default().push_back(object);
    }
    let mut same: Vec<(&Value, Option<&Value>)> = objects(before)
        .into_iter()
        .map(|object| (object, left.get_mut(&identity(object)).and_then(VecDeque::pop_front)))
        .collect();
    let mut others: HashMap<&str, VecDeque<&Value>> = HashMap::new();
    for ((kind, ..), objects) in left {
        others.entry(kind).or_default().extend(objects);
    }
    for (object, found) in same.iter_mut().filter(|(_, found)| found.is_none()) {
        let (kind, namespace, name) = identity(object);
        if !(is_name(namespace) && is_name(name)) {
            *found = others.get_mut(kind).and_then(VecDeque::pop_front);
        }
    }
    same
}

/// Whether a cluster could take a name: letters in lower case, digits, `-` and `.`, and for some kinds `:`.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// The metadata and the spec of the pods that an object makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) metadata: Option<&'a Value>,
    pub(super) spec: &'a Value,
}

pub(super) fn pod(object: &Value) -> Option<Pod<'_>> {
    let at = |pointer: &str| object.pointer(pointer).filter(|value| value.is_object());
    let template = |pointer: &str| {
        let template = at(pointer)?;
        Some(Pod { metadata: template.get("metadata"), spec: template.get("spec")? })
    };
    match object.get("kind").and_then(Value::as_str)? {
        "Pod" => Some(Pod { metadata: object.get("metadata"), spec: at("/spec")? }),
        "CronJob" => template("/spec/jobTemplate/spec/template"),
        "PodTemplate" => template("/template"),
        _ => template("/spec/template"),
    }
}

impl<'a> Pod<'a> {
    pub(super) fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        self.metadata.and_then(|metadata| metadata.get("labels")).map(texts).unwrap_or_default()
    }

    /// The containers by their list and name; one without a name has its index. Of several with one name the last counts.
    pub(super) fn containers(&self) -> BTreeMap<(&'static str, String), &'a Map<String, Value>> {
        let spec: &'a Value = self.spec;
        LISTS
            .into_iter()
            .flat_map(|list| {
                let items = spec.get(list).and_then(Value::as_array).into_iter().flatten();
                items.enumerate().filter_map(move |(place, container)| {
                    let container = container.as_object()?;
                    let name = container.get("name").and_then(Value::as_str);
                    Some(((list, name.map_or_else(|| place.to_string(), str::to_owned)), container))
                })
            })
            .collect()
    }

    /// How many containers it runs, without those that only prepare.
    pub(super) fn size(&self) -> usize {
        self.spec.get("containers").and_then(Value::as_array).map_or(0, Vec::len)
    }
}

/// The text values of an object.
pub(super) fn texts(map: &Value) -> BTreeMap<&str, &str> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

/// Whether labels have every one of the wanted values.
pub(super) fn has(labels: &BTreeMap<&str, &str>, wanted: &BTreeMap<&str, &str>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
