//! Locates the pods, containers and volumes of a document.

use domain::pointer::Pointer;
use domain::record::reference::Reference;
use domain::record::{Neighbour, Neighbours};
use serde_json::{Map, Value};

use super::kinds::known_kind;
use crate::document::{Document, Identity};

/// Which list of a pod a container stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerKind {
    /// `containers`.
    Regular,
    /// `initContainers`.
    Init,
    /// `ephemeralContainers`.
    Ephemeral,
}

impl ContainerKind {
    /// All kinds in the order they are walked.
    pub const ALL: [Self; 3] = [Self::Regular, Self::Init, Self::Ephemeral];

    /// The key of the list in the pod spec.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Regular => "containers",
            Self::Init => "initContainers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

/// A container and where it stands.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// Its pointer, with its true index.
    pub pointer: Pointer,
    /// Which list it stands in.
    pub kind: ContainerKind,
    /// Its name; empty when it has none.
    pub name: &'a str,
    /// Its fields.
    pub fields: &'a Map<String, Value>,
    /// The index of its pod in [`View::pods`].
    pub pod: usize,
}

impl<'a> Container<'a> {
    /// Its `securityContext`, when that is a map.
    pub fn security_context(&self) -> Option<&'a Map<String, Value>> {
        self.fields.get("securityContext").and_then(Value::as_object)
    }

    /// Its list `key` (`ports`, `env`, …) with true indices; entries that are not maps are left out.
    pub fn maps(&self, key: &str) -> impl Iterator<Item = (usize, &'a Map<String, Value>)> + use<'a> {
        maps(self.fields, key)
    }

    /// The pointer of its `securityContext` with `keys` below it.
    pub fn security_pointer(&self, keys: &[&str]) -> Pointer {
        self.pointer.child("securityContext").join(keys)
    }
}

/// A pod spec, wherever it stands.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    /// Pointer of the pod spec.
    pub pointer: Pointer,
    /// The pod spec.
    pub spec: &'a Map<String, Value>,
    /// Pointer of the pod's metadata (there may be none at it).
    pub metadata_pointer: Pointer,
    /// The pod's metadata, when that is a map.
    pub metadata: Option<&'a Map<String, Value>>,
    /// Pointer of the spec of the controller that makes the pod (`/spec`, `/spec/jobTemplate/spec`); `None` for a Pod.
    pub controller: Option<Pointer>,
}

impl<'a> Pod<'a> {
    /// The pod-level `securityContext`, when that is a map.
    pub fn security_context(&self) -> Option<&'a Map<String, Value>> {
        self.spec.get("securityContext").and_then(Value::as_object)
    }

    /// The pod's labels, when they are a map.
    pub fn labels(&self) -> Option<&'a Map<String, Value>> {
        self.metadata?.get("labels")?.as_object()
    }

    /// The pod's list `key` (`volumes`, …) with true indices; entries that are not maps are left out.
    pub fn maps(&self, key: &str) -> impl Iterator<Item = (usize, &'a Map<String, Value>)> + use<'a> {
        maps(self.spec, key)
    }

    /// Whether the pod says that it runs on Windows (`spec.os.name`, or the usual node selector).
    pub fn is_windows(&self) -> bool {
        let os = self.spec.get("os").and_then(|os| os.get("name")).and_then(Value::as_str);
        let selector = self.spec.get("nodeSelector").and_then(Value::as_object);
        let selected = |key| selector.and_then(|map| map.get(key)).and_then(Value::as_str) == Some("windows");
        os == Some("windows") || selected("kubernetes.io/os") || selected("beta.kubernetes.io/os")
    }
}

fn maps<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (usize, &'a Map<String, Value>)> + use<'a> {
    let list = fields.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().filter_map(|(index, item)| item.as_object().map(|map| (index, map)))
}

/// A document with its pods and containers found, and its neighbours at hand. Made once, read by every policy.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The whole object.
    pub value: &'a Value,
    /// Kind, namespace and name.
    pub identity: &'a Identity,
    /// The kind as policies know it; empty for a kind of another API group.
    kind: &'a str,
    /// What else is in the input.
    pub neighbours: &'a Neighbours,
    /// Every pod spec: one for workloads, none for other kinds.
    pub pods: Vec<Pod<'a>>,
    /// Every container of every pod, in the order containers, initContainers, ephemeralContainers.
    pub containers: Vec<Container<'a>>,
}

/// Kinds whose pod template stands at `/spec/template`.
const TEMPLATED: [&str; 7] = [
    "DaemonSet",
    "Deployment",
    "DeploymentConfig",
    "Job",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
];

impl<'a> View<'a> {
    /// Finds the pods of `document`.
    pub fn new(document: &'a Document, neighbours: &'a Neighbours) -> Self {
        Self::of(&document.value, &document.identity, neighbours)
    }

    /// Finds the pods of an object whose identity is known.
    pub fn of(value: &'a Value, identity: &'a Identity, neighbours: &'a Neighbours) -> Self {
        let kind = known_kind(identity);
        let pods = pods(value, kind);
        let containers = pods.iter().enumerate().flat_map(|(index, pod)| containers(pod, index)).collect();
        Self { value, identity, kind, neighbours, pods, containers }
    }

    /// The object's kind; empty where it is one of another API group than the kind of that name which policies know.
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// Whether the object is a workload: a Pod or something that makes pods.
    pub fn is_workload(&self) -> bool {
        matches!(self.kind(), "Pod" | "CronJob") || TEMPLATED.contains(&self.kind())
    }

    /// The object's `spec`, when that is a map.
    pub fn spec(&self) -> Option<&'a Map<String, Value>> {
        self.value.get("spec").and_then(Value::as_object)
    }

    /// The object's `metadata`, when that is a map.
    pub fn metadata(&self) -> Option<&'a Map<String, Value>> {
        self.value.get("metadata").and_then(Value::as_object)
    }

    /// `pointer` where it names a node of the object, else the nearest node above it that exists.
    pub fn nearest(&self, pointer: Pointer) -> Pointer {
        let mut at = pointer;
        while at.resolve(self.value).is_none() {
            match at.split_last() {
                Some((parent, _)) => at = parent,
                None => break,
            }
        }
        at
    }

    /// The value of a security context that holds for a container: its own, else its pod's. Null counts as absent.
    pub fn effective(&self, container: &Container<'a>, key: &str) -> Option<&'a Value> {
        let of = |context: &'a Map<String, Value>| context.get(key).filter(|value| !value.is_null());
        let pod = || self.pod_of(container).and_then(Pod::security_context).and_then(of);
        container.security_context().and_then(of).or_else(pod)
    }

    /// The pod of a container.
    pub fn pod_of(&self, container: &Container<'_>) -> Option<&Pod<'a>> {
        self.pods.get(container.pod)
    }

    /// What the object refers to, of what is known.
    pub fn references(&self) -> impl Iterator<Item = &'a Reference> + use<'a> {
        self.neighbours.objects().iter().filter_map(|neighbour| match neighbour {
            Neighbour::Reference(reference) => Some(reference),
            _ => None,
        })
    }

    /// The neighbours that are known, in the object's own namespace.
    pub fn neighbours_here(&self) -> impl Iterator<Item = &'a Neighbour> + use<'a> {
        let here = self.identity.effective_namespace();
        self.neighbours.objects().iter().filter(move |neighbour| {
            let namespace = neighbour.namespace();
            (if namespace.is_empty() { "default" } else { namespace }) == here
        })
    }
}

fn pods<'a>(value: &'a Value, kind: &str) -> Vec<Pod<'a>> {
    // The last shape is a CronJob that lost the level of the job's spec: malformed, but its containers are there.
    let places: &[&[&str]] = match kind {
        "Pod" => &[&[]],
        "PodTemplate" => &[&["template"]],
        "CronJob" => &[&["spec", "jobTemplate", "spec", "template"], &["spec", "jobTemplate", "template"]],
        kind if TEMPLATED.contains(&kind) => &[&["spec", "template"]],
        _ => &[],
    };
    places.iter().filter_map(|place| pod_at(value, place, kind)).collect()
}

fn pod_at<'a>(value: &'a Value, place: &[&str], kind: &str) -> Option<Pod<'a>> {
    let holder_pointer = Pointer::of(place.iter().copied());
    let holder = holder_pointer.resolve(value)?;
    let spec = holder.get("spec")?.as_object()?;
    let controller = match kind {
        "Pod" | "PodTemplate" => None,
        _ => holder_pointer.split_last().map(|(parent, _)| parent),
    };
    Some(Pod {
        pointer: holder_pointer.child("spec"),
        spec,
        metadata_pointer: holder_pointer.child("metadata"),
        metadata: holder.get("metadata").and_then(Value::as_object),
        controller,
    })
}

fn containers<'a>(pod: &Pod<'a>, index: usize) -> Vec<Container<'a>> {
    let of_kind = |kind: ContainerKind| {
        let list = pod.pointer.child(kind.key());
        pod.maps(kind.key()).map(move |(at, fields)| Container {
            pointer: list.index(at),
            kind,
            name: fields.get("name").and_then(Value::as_str).unwrap_or_default(),
            fields,
            pod: index,
        })
    };
    ContainerKind::ALL.into_iter().flat_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use domain::config::Limits;

    use super::*;

    fn pointers(yaml: &str) -> Vec<String> {
        let document = Document::parse(yaml, &Limits::default()).unwrap();
        let view = View::new(&document, &Neighbours::Unknown);
        view.containers.iter().map(|container| container.pointer.to_string()).collect()
    }

    #[test]
    fn another_group_has_other_kinds() {
        let pod = "{containers: [{name: a}]}";
        for (api_version, kind) in
            [("monitoring.example.com/v1", "Pod"), ("batch.volcano.sh/v1alpha1", "Job"), ("v1", "Deployment")]
        {
            let yaml = format!(
                "apiVersion: {api_version}\nkind: {kind}\nspec: {{containers: [{{name: a}}], template: {{spec: {pod}}}}}"
            );
            let document = Document::parse(&yaml, &Limits::default()).unwrap();
            let view = View::new(&document, &Neighbours::Unknown);
            assert_eq!((view.kind(), view.is_workload(), view.containers.len()), ("", false, 0), "{yaml}");
        }
        assert_eq!(pointers(&format!("apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nspec: {{template: {{spec: {pod}}}}}")).len(), 1);
    }

    #[test]
    fn the_nearest_node_resolves() {
        let document =
            Document::parse("kind: Pod\nspec: {containers: [{name: a}]}", &Limits::default()).unwrap();
        let view = View::new(&document, &Neighbours::Unknown);
        let context = Pointer::parse("/spec/containers/0/securityContext/privileged").unwrap();
        assert_eq!(view.nearest(context).as_str(), "/spec/containers/0");
        assert_eq!(view.nearest(Pointer::of(["x", "y"])), Pointer::ROOT);
        let name = Pointer::parse("/spec/containers/0/name").unwrap();
        assert_eq!(view.nearest(name.clone()), name);
    }

    #[test]
    fn containers_of_every_workload_are_found_at_their_true_index() {
        let pod =
            "{containers: [null, {name: a}], initContainers: [{name: b}], ephemeralContainers: [{name: c}]}";
        let expect = |prefix: &str| {
            ["containers/1", "initContainers/0", "ephemeralContainers/0"].map(|end| format!("{prefix}/{end}"))
        };
        assert_eq!(pointers(&format!("kind: Pod\nspec: {pod}")), expect("/spec"));
        for kind in TEMPLATED {
            let yaml = format!("kind: {kind}\nspec: {{template: {{spec: {pod}}}}}");
            assert_eq!(pointers(&yaml), expect("/spec/template/spec"), "{kind}");
        }
        let cron = format!("kind: CronJob\nspec: {{jobTemplate: {{spec: {{template: {{spec: {pod}}}}}}}}}");
        assert_eq!(pointers(&cron), expect("/spec/jobTemplate/spec/template/spec"));
        let template = format!("kind: PodTemplate\ntemplate: {{spec: {pod}}}");
        assert_eq!(pointers(&template), expect("/template/spec"));
        assert!(pointers(&format!("kind: Custom\nspec: {{template: {{spec: {pod}}}}}")).is_empty());
    }
}
