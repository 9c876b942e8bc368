//! Relations between the documents of one input.
//!
//! *Owns* the selection of neighbours that a document needs; the result is small, sorted, and the same for any order
//! of the input.

use std::collections::{BTreeMap, BTreeSet};

use domain::pointer::Pointer;
use domain::record::{Neighbour, Neighbours};
use serde_json::{Map, Value};

use super::kinds::{foreign_template, known_kind};
use crate::document::Document;
use crate::k8s::View;

/// The most workloads that are kept for one document: one is enough to know that a Service is served, two that a repair
/// is ambiguous; a few more name the choice to a person.
const MOST_WORKLOADS: usize = 8;

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
const NAMING_LABELS: [&str; 5] = ["app.kubernetes.io/name", "app", "k8s-app", "name", "run"];

/// Words of which a document's kind has one where the document [`offer`]s something.
pub const OFFERING: [&str; 15] = [
    "CloneSet",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "DeploymentConfig",
    "Endpoint",
    "Job",
    "LeaderWorkerSet",
    "Pod",
    "ReplicaSet",
    "ReplicationController",
    "Rollout",
    "ServiceAccount",
    "StatefulSet",
    "VirtualMachine",
];

/// The kind under which the hand-made endpoints of a Service are offered: a "workload" without pods.
pub const ENDPOINTS: &str = "Endpoints";

/// What `document` offers to others: a workload its pods' labels, a `ServiceAccount` its name. Endpoints made by hand are
/// offered as a workload of kind [`ENDPOINTS`] with the name of their Service and no labels. `None` for everything else.
pub fn offer(document: &Document) -> Option<Neighbour> {
    let identity = &document.identity;
    let namespace = identity.namespace.clone();
    let name = identity.name.clone();
    if let Some(template) = foreign_template(identity) {
        let labels = Pointer::of(template.iter().copied()).join(&["metadata", "labels"]);
        let pod_labels = text_labels(labels.resolve(&document.value).and_then(Value::as_object));
        return Some(Neighbour::Workload { kind: identity.kind.clone(), namespace, name, pod_labels });
    }
    match known_kind(identity) {
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

fn endpoints(namespace: String, name: String) -> Neighbour {
    Neighbour::Workload { kind: ENDPOINTS.to_owned(), namespace, name, pod_labels: BTreeMap::new() }
}

/// Labels as texts; numbers and booleans as they are written.
pub fn text_labels(labels: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// The selector of a Service as texts; empty when there is none.
pub fn service_selector(service: &Value) -> BTreeMap<String, String> {
    text_labels(service.pointer("/spec/selector").and_then(Value::as_object))
}

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

/// Whether the control plane sets this label.
pub fn is_controller_label(key: &str) -> bool {
    CONTROLLER_LABELS.iter().any(|(known, _)| *known == key)
}

/// Whether a selector selects pods of a workload: by the labels of its template and those that the control plane adds.
pub fn selects_pods_of(selector: &BTreeMap<String, String>, workload: &Neighbour) -> bool {
    let Neighbour::Workload { kind, name, pod_labels, .. } = workload else { return false };
    let added = |key: &str, value: &str| match (key, stateful_set_of(value)) {
        (POD_NAME, owner) => kind == "StatefulSet" && owner == Some(name.as_str()),
        _ => CONTROLLER_LABELS.contains(&(key, kind.as_str())),
    };
    let named = selector.contains_key(POD_NAME) || selector.keys().any(|key| !is_controller_label(key));
    named && selector.iter().all(|(key, value)| pod_labels.get(key) == Some(value) || added(key, value))
}

/// The `StatefulSet` of a pod: `db` of `db-0`.
fn stateful_set_of(pod: &str) -> Option<&str> {
    let (name, ordinal) = pod.rsplit_once('-')?;
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

/// The neighbours of every document of an input, found without looking at all of them again.
#[derive(Debug, Clone, Default)]
pub struct Index {
    offers: Vec<Neighbour>,
    namespaces: BTreeMap<String, Namespace>,
}

/// Places in [`Index::offers`], ascending.
#[derive(Debug, Clone, Default)]
struct Namespace {
    workloads_by_name: BTreeMap<String, Vec<usize>>,
    workloads_by_pair: BTreeMap<(String, String), Vec<usize>>,
    service_accounts: BTreeMap<String, usize>,
}

fn effective(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

impl Index {
    /// Takes what all documents of the input [`offer`].
    pub fn new(offers: impl IntoIterator<Item = Neighbour>) -> Self {
        let offers: BTreeSet<Neighbour> = offers.into_iter().collect();
        let mut index = Self { offers: offers.into_iter().collect(), namespaces: BTreeMap::new() };
        for (at, offer) in index.offers.iter().enumerate() {
            match offer {
                Neighbour::Workload { namespace, name, pod_labels, .. } => {
                    let here = index.namespaces.entry(effective(namespace).to_owned()).or_default();
                    here.workloads_by_name.entry(name.clone()).or_default().push(at);
                    for (key, value) in pod_labels {
                        here.workloads_by_pair.entry((key.clone(), value.clone())).or_default().push(at);
                    }
                }
                Neighbour::ServiceAccount { namespace, name } => {
                    let here = index.namespaces.entry(effective(namespace).to_owned()).or_default();
                    here.service_accounts.insert(name.clone(), at);
                }
            }
        }
        index
    }

    /// The neighbours that `document` is judged with: for a Service the workloads it selects, or, when it selects none,
    /// those that its selector may have meant (and endpoints made for it by hand); for a workload the service accounts it
    /// uses; for other kinds none. At most a few, sorted.
    pub fn related(&self, document: &Document) -> Neighbours {
        let identity = &document.identity;
        let Some(here) = self.namespaces.get(identity.effective_namespace()) else {
            return Neighbours::Known(Vec::new());
        };
        let places = if known_kind(identity) == "Service" {
            self.workloads_of(here, document)
        } else {
            accounts_of(document).iter().filter_map(|name| here.service_accounts.get(name).copied()).collect()
        };
        Neighbours::Known(places.into_iter().filter_map(|at| self.offers.get(at).cloned()).collect())
    }

    fn workloads_of(&self, here: &Namespace, service: &Document) -> BTreeSet<usize> {
        let selector = service_selector(&service.value);
        let selected = self.selected(here, &selector);
        if !selected.is_empty() {
            return selected;
        }
        let same_name = here.workloads_by_name.get(&service.identity.name).into_iter().flatten();
        let mut related: BTreeSet<usize> = same_name.copied().collect();
        let pairs = service_pairs(&service.value);
        let is_candidate = |at: &usize| {
            self.offers.get(*at).is_some_and(|offer| is_candidate(&pairs, &service.identity.name, offer))
        };
        for (key, value) in pairs.iter().filter(|(key, _)| NAMING_LABELS.contains(&key.as_str())) {
            let same_pair = here.workloads_by_pair.get(&(key.clone(), value.clone())).into_iter().flatten();
            related.extend(same_pair.copied().filter(is_candidate).take(MOST_WORKLOADS));
        }
        let endpoints = related.iter().copied().filter(|at| self.is_endpoints(*at)).take(1);
        let candidates = related.iter().copied().filter(is_candidate).take(MOST_WORKLOADS);
        endpoints.chain(candidates).collect()
    }

    /// The first workloads that `selector` selects, found from its rarest pair.
    fn selected(&self, here: &Namespace, selector: &BTreeMap<String, String>) -> BTreeSet<usize> {
        let written = selector.iter().filter(|(key, _)| !is_controller_label(key));
        let postings = written.map(|(key, value)| {
            here.workloads_by_pair.get(&(key.clone(), value.clone())).map_or(&[][..], Vec::as_slice)
        });
        let by_pod_name = || {
            let owner = selector.get(POD_NAME).and_then(|pod| stateful_set_of(pod))?;
            here.workloads_by_name.get(owner).map(Vec::as_slice)
        };
        let rarest = postings.min_by_key(|posting| posting.len()).or_else(by_pod_name).unwrap_or_default();
        let fits = |at: &usize| self.offers.get(*at).is_some_and(|offer| selects_pods_of(selector, offer));
        rarest.iter().copied().filter(fits).take(MOST_WORKLOADS).collect()
    }

    fn is_endpoints(&self, at: usize) -> bool {
        matches!(self.offers.get(at), Some(Neighbour::Workload { kind, .. }) if kind == ENDPOINTS)
    }
}

/// The names of the service accounts that the pods of `document` use.
fn accounts_of(document: &Document) -> BTreeSet<String> {
    let view = View::new(document, &Neighbours::Unknown);
    let used = view.pods.iter().flat_map(|pod| {
        ["serviceAccountName", "serviceAccount"].into_iter().filter_map(|key| pod.spec.get(key)?.as_str())
    });
    used.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    fn deployment(namespace: &str, name: &str, labels: &str) -> Document {
        document(&format!(
            "kind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{template: {{metadata: {{labels: {labels}}}, spec: {{serviceAccountName: runner}}}}}}"
        ))
    }

    fn names(neighbours: &Neighbours) -> Vec<String> {
        let name = |neighbour: &Neighbour| match neighbour {
            Neighbour::Workload { kind, name, .. } => format!("{kind} {name}"),
            Neighbour::ServiceAccount { name, .. } => format!("ServiceAccount {name}"),
        };
        neighbours.objects().iter().map(name).collect()
    }

    fn index(documents: &[Document]) -> Index {
        Index::new(documents.iter().filter_map(offer))
    }

    #[test]
    fn a_service_sees_what_it_selects_in_its_namespace() {
        let index = index(&[
            deployment("a", "web", "{app: web, tier: front}"),
            deployment("a", "web-canary", "{app: web, tier: canary}"),
            deployment("b", "web", "{app: web, tier: front}"),
        ]);
        let service = document(
            "kind: Service\nmetadata: {name: s, namespace: a}\nspec: {selector: {app: web, tier: front}}",
        );
        assert_eq!(names(&index.related(&service)), ["Deployment web"]);
        let elsewhere = document("kind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}}");
        assert_eq!(index.related(&elsewhere), Neighbours::Known(Vec::new()));
    }

    #[test]
    fn labels_of_the_control_plane_and_of_foreign_workloads_are_known() {
        let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {template: {metadata: {labels: {app: db}}, spec: {}}}";
        let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec: {template: {metadata: {labels: {run: web}}, spec: {}}}";
        let foreign = "apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: other}\nspec: {template: {metadata: {labels: {run: other}}, spec: {}}}";
        let index = index(&[document(set), document(rollout), document(foreign)]);
        let related = |selector: &str| {
            names(&index.related(&document(&format!(
                "kind: Service\nmetadata: {{name: s}}\nspec: {{selector: {selector}}}"
            ))))
        };
        for selector in [
            "{app: db, statefulset.kubernetes.io/pod-name: db-0}",
            "{statefulset.kubernetes.io/pod-name: db-12}",
            "{app: db, apps.kubernetes.io/pod-index: '1'}",
            "{app: db, controller-revision-hash: x}",
        ] {
            assert_eq!(related(selector), ["StatefulSet db"], "{selector}");
        }
        assert_eq!(related("{run: web}"), ["Rollout web"]);
        for selector in [
            "{statefulset.kubernetes.io/pod-name: dc-0}",
            "{statefulset.kubernetes.io/pod-name: db-x}",
            "{apps.kubernetes.io/pod-index: '1'}",
            "{run: other}",
        ] {
            assert_eq!(related(selector), Vec::<String>::new(), "{selector}");
        }
    }

    #[test]
    fn a_service_that_selects_nothing_sees_candidates() {
        let job = "kind: Job\nmetadata: {name: api-migrate, namespace: a}\nspec: {template: {metadata: {labels: {app: api}}, spec: {}}}";
        let index = index(&[
            deployment("a", "api", "{app: api}"),
            deployment("a", "other", "{app: other}"),
            deployment("a", "worker", "{app.kubernetes.io/name: api}"),
            document(job),
            document("kind: Endpoints\nmetadata: {name: api, namespace: a}"),
        ]);
        let related = |rest: &str| {
            names(&index.related(&document(&format!("kind: Service\nmetadata: {{namespace: a, {rest}"))))
        };
        assert_eq!(related("name: api}\nspec: {}"), ["Deployment api", "Endpoints api"]);
        assert_eq!(related("name: x}\nspec: {selector: {app: api, v: '2'}}"), ["Deployment api"]);
        assert_eq!(
            related("name: x, labels: {app.kubernetes.io/name: api, color: blue}}\nspec: {}"),
            ["Deployment worker"]
        );
    }

    #[test]
    fn a_workload_sees_the_accounts_it_uses_and_other_kinds_nothing() {
        let index = index(&[
            document("kind: ServiceAccount\nmetadata: {name: runner}"),
            document("kind: ServiceAccount\nmetadata: {name: idle}"),
            document("kind: ServiceAccount\nmetadata: {name: runner, namespace: b}"),
        ]);
        let found = index.related(&deployment("default", "web", "{}"));
        assert_eq!(
            found,
            Neighbours::Known(vec![Neighbour::ServiceAccount {
                namespace: String::new(),
                name: "runner".into()
            }])
        );
        assert_eq!(index.related(&document("kind: ConfigMap")), Neighbours::Known(Vec::new()));
    }

    #[test]
    fn the_answer_is_small_and_does_not_depend_on_the_order() {
        let mut documents: Vec<Document> =
            (0..50).map(|i| deployment("default", &format!("web-{i:02}"), "{app: web}")).collect();
        let service = document("kind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}}");
        let forward = index(&documents).related(&service);
        documents.reverse();
        assert_eq!(index(&documents).related(&service), forward);
        assert_eq!(forward.objects().len(), MOST_WORKLOADS);
    }

    #[test]
    fn offers_carry_labels_as_texts() {
        let pod =
            document("kind: Pod\nmetadata: {name: p, labels: {a: 1, b: true, c: x, d: null}}\nspec: {}");
        let Some(Neighbour::Workload { kind, pod_labels, .. }) = offer(&pod) else { panic!("a workload") };
        assert_eq!(kind, "Pod");
        let labels: Vec<_> = pod_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["a=1", "b=true", "c=x"]);
        let slice =
            document("kind: EndpointSlice\nmetadata: {name: s-x, labels: {kubernetes.io/service-name: s}}");
        assert!(matches!(offer(&slice), Some(Neighbour::Workload { name, .. }) if name == "s"));
        assert_eq!(offer(&document("kind: ConfigMap")), None);
    }
}
