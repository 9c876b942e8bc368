//! What a document offers to those that are judged with it.

use std::collections::{BTreeMap, BTreeSet};

use domain::pointer::Pointer;
use domain::record::{Neighbour, Neighbours};
use serde_json::Value;

use super::super::kinds::{foreign_template, known_kind};
use super::labels::{ENDPOINTS, service_selector, text_labels};
use crate::document::{Document, Identity};
use crate::k8s::View;
use crate::steps::spend;

/// Words of which a document's kind has one where the document [`offer`]s something.
pub const OFFERING: [&str; 18] = [
    "CloneSet",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "DeploymentConfig",
    "Endpoint",
    "Job",
    "LeaderWorkerSet",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "ReplicaSet",
    "ReplicationController",
    "Rollout",
    "Service",
    "ServiceAccount",
    "StatefulSet",
    "VirtualMachine",
];

/// What `document` offers to others: a workload its pods' labels, a `ServiceAccount` its name, what selects pods the labels
/// that it selects by, a custom resource its name and labels. Endpoints made by hand are offered as a workload of kind
/// [`ENDPOINTS`] with the name of their Service and no labels. `None` for everything else.
pub fn offer(document: &Document) -> Option<Neighbour> {
    let identity = &document.identity;
    let namespace = identity.namespace.clone();
    let name = identity.name.clone();
    if let Some(template) = foreign_template(identity) {
        let labels = Pointer::of(template.iter().copied()).join(&["metadata", "labels"]);
        let pod_labels = text_labels(labels.resolve(&document.value).and_then(Value::as_object));
        return Some(Neighbour::Workload { kind: identity.kind.clone(), namespace, name, pod_labels });
    }
    if is_custom(identity) {
        let labels = given_labels(&document.value);
        return Some(Neighbour::CustomResource { kind: identity.kind.clone(), namespace, name, labels });
    }
    match known_kind(identity) {
        "Service" | "PodDisruptionBudget" | "NetworkPolicy" => pod_selector(document),
        "ServiceAccount" => Some(Neighbour::ServiceAccount { namespace, name }),
        "Endpoints" => Some(endpoints(namespace, name)),
        "EndpointSlice" => {
            let service = document.value.pointer("/metadata/labels/kubernetes.io~1service-name")?.as_str()?;
            Some(endpoints(namespace, service.to_owned()))
        }
        kind => {
            let view = View::new(document, &Neighbours::Unknown);
            let pod = view.pods.first()?;
            let pod_labels = text_labels(pod.labels());
            Some(Neighbour::Workload { kind: kind.to_owned(), namespace, name, pod_labels })
        }
    }
}

/// Whether the object is of an API group that is not Kubernetes' own. A group of Kubernetes has no domain, or that of the
/// project.
fn is_custom(identity: &Identity) -> bool {
    is_custom_group(identity.group())
}

/// Whether an API group is not Kubernetes' own.
pub fn is_custom_group(group: &str) -> bool {
    group.contains('.') && !group.ends_with(".k8s.io") && group != "apps.openshift.io"
}

/// What selects pods by labels alone; `None` where it selects all, none, or by expressions.
fn pod_selector(document: &Document) -> Option<Neighbour> {
    let Identity { kind, namespace, name, .. } = document.identity.clone();
    let object = &document.value;
    let is_service = kind == "Service";
    let labels = match kind.as_str() {
        "Service" => service_selector(object),
        "NetworkPolicy" => matched(object.pointer("/spec/podSelector")?)?,
        _ => matched(object.pointer("/spec/selector")?)?,
    };
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).filter(|_| is_service);
    let names = ports.into_iter().flatten().filter_map(|port| port.get("targetPort")?.as_str());
    let port_names: BTreeSet<String> = names.map(str::to_owned).collect();
    (!labels.is_empty()).then_some(Neighbour::PodSelector { kind, namespace, name, labels, port_names })
}

/// The labels of a `LabelSelector` without expressions.
fn matched(selector: &Value) -> Option<BTreeMap<String, String>> {
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let by_labels_alone = expressions.is_none_or(Vec::is_empty);
    by_labels_alone.then(|| text_labels(selector.get("matchLabels").and_then(Value::as_object)))
}

/// How deep labels are looked for in a custom resource, and how many are kept.
const LABEL_DEPTH: usize = 6;
const MOST_LABELS: usize = 64;

/// The labels of a custom resource, and those that it gives to what its controller makes: maps under `labels` and
/// `podLabels`.
fn given_labels(object: &Value) -> BTreeMap<String, String> {
    let mut found = text_labels(object.pointer("/metadata/labels").and_then(Value::as_object));
    if let Some(spec) = object.get("spec") {
        collect_labels(spec, LABEL_DEPTH, &mut found);
    }
    found.into_iter().take(MOST_LABELS).collect()
}

fn collect_labels(node: &Value, depth: usize, found: &mut BTreeMap<String, String>) {
    spend(1);
    let Some(depth) = depth.checked_sub(1) else { return };
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("labels" | "podLabels", Value::Object(labels)) => {
                        found.extend(text_labels(Some(labels)));
                    }
                    _ => collect_labels(value, depth, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_labels(item, depth, found)),
        _ => {}
    }
}

fn endpoints(namespace: String, name: String) -> Neighbour {
    Neighbour::Workload { kind: ENDPOINTS.to_owned(), namespace, name, pod_labels: BTreeMap::new() }
}
