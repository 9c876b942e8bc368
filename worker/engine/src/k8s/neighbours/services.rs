//! Which workloads a Service selects, and which it can mean.

use std::collections::BTreeMap;

use domain::record::Neighbour;
use serde_json::Value;

use super::labels::{ENDPOINTS, service_selector, text_labels};

/// Label keys that say what an object is, the most telling first (Kubernetes documentation, *Recommended Labels*, and
/// the habits before it).
pub const IDENTIFYING_LABELS: [&str; 8] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app",
    "k8s-app",
    "component",
    "name",
    "run",
];

/// Those of [`IDENTIFYING_LABELS`] that name one application, and not a release or a role in it.
pub(super) const NAMING_LABELS: [&str; 5] = ["app.kubernetes.io/name", "app", "k8s-app", "name", "run"];

/// Whether a selector (not empty) selects pods with exactly these labels among theirs.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Label keys that the control plane itself puts on the pods of a workload, and the kind of the workload (Kubernetes
/// documentation, *Well-Known Labels, Annotations and Taints*). No manifest shows them.
const CONTROLLER_LABELS: [(&str, &str); 10] = [
    ("apps.kubernetes.io/pod-index", "StatefulSet"),
    ("batch.kubernetes.io/controller-uid", "Job"),
    ("batch.kubernetes.io/job-completion-index", "Job"),
    ("batch.kubernetes.io/job-name", "Job"),
    ("controller-revision-hash", "DaemonSet"),
    ("controller-revision-hash", "StatefulSet"),
    ("controller-uid", "Job"),
    ("job-name", "Job"),
    ("pod-template-hash", "Deployment"),
    (POD_NAME, "StatefulSet"),
];

/// The label with which a `StatefulSet` gives each of its pods a Service of its own.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// The labels with which a `Job` gives its pods its own name; a headless Service selects by them (Kubernetes documentation,
/// *Job with Pod-to-Pod Communication*).
const JOB_NAMES: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Whether the control plane sets this label.
pub fn is_controller_label(key: &str) -> bool {
    CONTROLLER_LABELS.iter().any(|(known, _)| *known == key)
}

/// Whether a selector selects pods of a workload: by the labels of its template and those that the control plane adds.
pub fn selects_pods_of(selector: &BTreeMap<String, String>, workload: &Neighbour) -> bool {
    let Neighbour::Workload { kind, name, pod_labels, .. } = workload else { return false };
    let added = |key: &str, value: &str| {
        CONTROLLER_LABELS.contains(&(key, kind.as_str()))
            && (!names_owner(key) || owner_of(key, value) == Some(name.as_str()))
    };
    let named = selector.keys().any(|key| names_owner(key) || !is_controller_label(key));
    named && selector.iter().all(|(key, value)| pod_labels.get(key) == Some(value) || added(key, value))
}

/// Whether the value of this label tells the workload that a pod belongs to.
fn names_owner(key: &str) -> bool {
    key == POD_NAME || JOB_NAMES.contains(&key)
}

/// The name of the workload that a label of the control plane names: the `StatefulSet` `db` of its pod `db-0`, or the `Job`.
pub(super) fn owner_of<'v>(key: &str, value: &'v str) -> Option<&'v str> {
    if JOB_NAMES.contains(&key) {
        return Some(value);
    }
    let (name, ordinal) = value.rsplit_once('-').filter(|_| key == POD_NAME)?;
    (!ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// The pairs by which a Service says what it serves: its selector's, and its own identifying labels where the selector
/// says nothing of their key.
pub fn service_pairs(service: &Value) -> BTreeMap<String, String> {
    let own = text_labels(service.pointer("/metadata/labels").and_then(Value::as_object));
    let mut pairs = identifying(&own);
    pairs.extend(service_selector(service));
    pairs
}

/// The identifying labels among `labels`.
pub fn identifying(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let telling = labels.iter().filter(|(key, _)| IDENTIFYING_LABELS.contains(&key.as_str()));
    telling.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether a Service with these [`service_pairs`] that selects nothing can mean this workload of its namespace: it serves, and has the Service's name,
/// or shares an identifying label that names one thing (not `instance` or `component` alone) and contradicts none.
pub fn is_candidate(pairs: &BTreeMap<String, String>, service_name: &str, workload: &Neighbour) -> bool {
    let Neighbour::Workload { kind, name, pod_labels, .. } = workload else { return false };
    if !serves(kind) {
        return false;
    }
    let mut shares = false;
    for (key, value) in identifying(pod_labels) {
        let Some(wanted) = pairs.get(&key) else { continue };
        if *wanted != value {
            return name == service_name;
        }
        shares |= NAMING_LABELS.contains(&key.as_str());
    }
    shares || name == service_name
}

/// Whether a workload of this kind keeps pods running that a Service may send traffic to.
pub fn serves(kind: &str) -> bool {
    !matches!(kind, "Job" | "CronJob" | "PodTemplate" | ENDPOINTS)
}
