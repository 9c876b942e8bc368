//! What the policies of the Pod Security Standards share: the security contexts of a pod and of its containers, and the
//! words about them.

use domain::pointer::Pointer;
use serde_json::{Map, Value};

use super::message::quoted;
use super::scope::{Site, To};
use crate::k8s::{Container, Pod, View};

/// A security context that is there: a pod's, or that of one of its containers.
pub(super) struct Context<'v, 'a> {
    /// The pod that it is of or in.
    pub(super) pod: &'v Pod<'a>,
    /// The container that it is of; `None`: it is the pod's.
    pub(super) container: Option<&'v Container<'a>>,
    /// Its fields.
    pub(super) fields: &'a Map<String, Value>,
}

impl Context<'_, '_> {
    /// Where it stands.
    pub(super) fn at(&self) -> Pointer {
        self.container.map_or(&self.pod.pointer, |container| &container.pointer).child("securityContext")
    }

    /// Whose it is, for messages.
    pub(super) fn owner(&self) -> String {
        self.container
            .map_or_else(|| "the pod".to_owned(), |container| format!("container {}", quoted(container.name)))
    }
}

/// Every security context of the document, those of pods first.
pub(super) fn contexts<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = Context<'v, 'a>> {
    let of_pods = view
        .pods
        .iter()
        .filter_map(|pod| Some(Context { pod, container: None, fields: pod.security_context()? }));
    let of_containers = view.containers.iter().filter_map(|container| {
        let (pod, fields) = (view.pod_of(container)?, container.security_context()?);
        Some(Context { pod, container: Some(container), fields })
    });
    of_pods.chain(of_containers)
}

/// Whether `is_bad` holds for the security context of the container or for that of its pod.
pub(super) fn concerns(
    view: &View<'_>,
    container: &Container<'_>,
    is_bad: impl Fn(&Map<String, Value>) -> bool,
) -> bool {
    let pod = view.pod_of(container).and_then(Pod::security_context);
    container.security_context().into_iter().chain(pod).any(is_bad)
}

/// What the security context in which a change stands held before: the container's, or else the pod's.
pub(super) fn context_before<'a>(site: &Site<'_, 'a>) -> Option<&'a Map<String, Value>> {
    match (site.containers, site.pods) {
        (Some([container, _]), _) => container.security_context(),
        (None, Some([pod, _])) => pod.security_context(),
        (None, None) => None,
    }
}

/// A field that is there. Null counts as absent.
pub(super) fn field<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

/// The text of a field; empty where it is absent or no text.
pub(super) fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The `type` of a profile (seccomp's, `AppArmor`'s); empty where it has none.
pub(super) fn profile_type(profile: &Value) -> &str {
    profile.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the pod has a user namespace of its own, where root is no root of the node.
pub(super) fn in_user_namespace(pod: &Pod<'_>) -> bool {
    pod.spec.get("hostUsers") == Some(&Value::Bool(false))
}

/// A user of 0 goes, or becomes another.
pub(super) const NO_ZERO: To = To::If("0 removed, or a number above 0 in its place", |site| {
    let was_zero = site.change.was.and_then(Value::as_i64) == Some(0);
    was_zero && site.change.is.is_none_or(|is| is.as_i64().is_some_and(|user| user > 0))
});
