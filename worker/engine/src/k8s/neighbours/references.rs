//! References: objects that others refer to, which only policies beyond those of the paper look at.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::reference::{LabelSelector, Reference, RoleRule};
use domain::record::{Neighbour, Neighbours};
use serde_json::{Map, Value};

use super::super::kinds::known_kind;
use super::super::label_selector;
use super::labels::text_labels;
use crate::document::{Document, Identity};
use crate::k8s::View;

/// Words of which a document's kind has one, beside those of [`super::OFFERING`], where others refer to the document.
pub const REFERRED: [&str; 3] = ["ConfigMap", "Role", "Secret"];

/// What others can refer to in `document`; `None` where no policy looks at its kind.
pub fn reference(document: &Document) -> Option<Neighbour> {
    let Identity { namespace, name, .. } = document.identity.clone();
    let object = &document.value;
    let kind = known_kind(&document.identity).to_owned();
    let found = match kind.as_str() {
        "Service" => {
            Reference::Service { namespace, name, labels: own_labels(object), ports: service_ports(object) }
        }
        "ConfigMap" => {
            Reference::Values { kind, namespace, name, keys: keys(object, ["data", "binaryData"]) }
        }
        "Secret" => Reference::Values { kind, namespace, name, keys: keys(object, ["data", "stringData"]) },
        "NetworkPolicy" => {
            let pods = object.pointer("/spec/podSelector").map(label_selector::read).unwrap_or_default();
            Reference::NetworkPolicy { namespace, name, pods }
        }
        "Role" | "ClusterRole" => Reference::Role {
            kind,
            namespace,
            name,
            labels: own_labels(object),
            rules: role_rules(object),
            aggregates: aggregates(object),
        },
        _ => {
            let view = View::new(document, &Neighbours::Unknown);
            let api_version = document.identity.api_version.clone();
            let (selector, replicas) = (pod_selector(object, &kind), replicas(object, &kind));
            let controller = Reference::Controller { api_version, kind, namespace, name, selector, replicas };
            return view.is_workload().then_some(Neighbour::Reference(controller));
        }
    };
    Some(Neighbour::Reference(found))
}

fn own_labels(object: &Value) -> BTreeMap<String, String> {
    text_labels(object.pointer("/metadata/labels").and_then(Value::as_object))
}

fn service_ports(service: &Value) -> BTreeSet<String> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let number_and_name = |port: &Value| {
        let number = port.get("port").and_then(Value::as_i64).map(|number| number.to_string());
        let name = port.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        number.into_iter().chain(name.map(str::to_owned)).collect::<Vec<_>>()
    };
    ports.flat_map(number_and_name).collect()
}

fn keys(object: &Value, maps: [&str; 2]) -> BTreeSet<String> {
    let maps = maps.into_iter().filter_map(|map| object.get(map)?.as_object());
    maps.flat_map(Map::keys).cloned().collect()
}

/// The rules of a role.
pub fn role_rules(role: &Value) -> Vec<RoleRule> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let read = |rule: &Value| RoleRule {
        groups: texts(rule, "apiGroups"),
        resources: texts(rule, "resources"),
        verbs: texts(rule, "verbs"),
    };
    rules.map(read).collect()
}

fn aggregates(role: &Value) -> Vec<LabelSelector> {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array);
    selectors.into_iter().flatten().map(label_selector::read).collect()
}

/// The selector of the kinds that have one in the form of a `LabelSelector`.
fn pod_selector(object: &Value, kind: &str) -> Option<LabelSelector> {
    let has_one = matches!(kind, "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "StatefulSet");
    object.pointer("/spec/selector").filter(|_| has_one).map(label_selector::read)
}

fn replicas(object: &Value, kind: &str) -> Option<i64> {
    let has_some = matches!(kind, "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet");
    match object.pointer("/spec/replicas").filter(|replicas| !replicas.is_null()) {
        Some(replicas) => replicas.as_i64().filter(|_| has_some),
        None => has_some.then_some(1),
    }
}
