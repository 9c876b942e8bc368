//! What the policies about workloads share: the pod that a workload makes, and its containers.

use serde_json::Value;

use crate::k8s::{Container, ContainerKind, Pod, View};

/// The pod of a workload; `None` for every other kind.
pub(super) fn pod_of<'v, 'a>(view: &'v View<'a>) -> Option<&'v Pod<'a>> {
    view.pods.first().filter(|_| view.is_workload())
}

/// The containers of a workload, of every kind.
pub(super) fn containers<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Container<'a>> {
    view.containers.iter().filter(|_| view.is_workload())
}

/// The regular containers of a workload.
pub(super) fn regular_containers<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Container<'a>> {
    containers(view).filter(|container| container.kind == ContainerKind::Regular)
}

/// A field of the pod spec as text; empty where it is absent or no text.
pub(super) fn pod_text<'a>(pod: &Pod<'a>, key: &str) -> &'a str {
    pod.spec.get(key).and_then(Value::as_str).unwrap_or_default()
}
