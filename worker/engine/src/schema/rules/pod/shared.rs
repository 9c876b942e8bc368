//! What the rules of a pod share: its containers of all sorts, and what they refer to.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::volumes::Volumes;

/// The lists of containers, in the order in which the server visits them.
const LISTS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

/// What a container may refer to.
#[derive(Debug)]
pub(super) struct Scope<'v> {
    pub(super) volumes: Volumes<'v>,
    /// Names of the pod's devices.
    pub(super) claims: BTreeSet<&'v str>,
    /// Whether users of containers are users of the host.
    pub(super) host_users: bool,
    /// Whether it is a pod, as opposed to a template.
    pub(super) is_pod: bool,
    pub(super) host_network: bool,
    pub(super) grace_seconds: i64,
    pub(super) restart_policy: &'v str,
}

/// What is particular to the template of a kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Template<'a> {
    /// The names of a `StatefulSet`'s volume claim templates.
    pub(crate) claims: &'a [&'a str],
    /// Whether the pods' host names are the controller's.
    pub(crate) names_hosts: bool,
}

/// A container of any list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'v> {
    list: &'static str,
    position: usize,
    value: &'v serde_json::Value,
}

impl<'v> Listed<'v> {
    /// The list that it stands in.
    pub(super) fn list(&self) -> &'static str {
        self.list
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The container without its path.
    pub(super) fn node(&self) -> Node<'_, 'v> {
        Node::root(self.value)
    }

    pub(super) fn name(&self) -> &'v str {
        self.value.get("name").and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

/// All containers of a pod.
pub(super) fn containers<'v>(spec: &Node<'_, 'v>) -> impl Iterator<Item = Listed<'v>> {
    let fields = spec.fields();
    LISTS.iter().flat_map(move |list| {
        let entries = fields.and_then(|fields| fields.get(*list)).and_then(serde_json::Value::as_array);
        let entries = entries.into_iter().flatten().enumerate();
        entries.map(move |(position, value)| Listed { list, position, value })
    })
}

/// An image's name has no space around it. Templates may, since tools fill them in.
pub(super) fn image_is_trimmed(errors: &mut Errors, container: &Node<'_, '_>) {
    let image = container.get("image");
    if image.str().trim() != image.str() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
}
