//! Shared by `no_liveness_probe` and `no_readiness_probe`: containers without a probe.

use domain::pointer::Pointer;
use serde_json::Value;

use super::message::quoted;
use super::workload::regular_containers;
use crate::k8s::{Container, View};

fn is_missing(container: &Container<'_>, probe: &str) -> bool {
    container.fields.get(probe).is_none_or(Value::is_null)
}

/// Every regular container without the probe.
pub(super) fn violations(view: &View<'_>, probe: &str, word: &str) -> Vec<(Pointer, String)> {
    let without = regular_containers(view).filter(|container| is_missing(container, probe));
    without
        .map(|container| {
            let name = quoted(container.name);
            (container.pointer.child(probe), format!("container {name} does not specify a {word} probe"))
        })
        .collect()
}

/// What a person must say about the containers without the probe.
pub(super) fn reason(view: &View<'_>, probe: &str, shows: &str) -> String {
    let without = regular_containers(view).filter(|container| is_missing(container, probe));
    let names: Vec<&str> = without.map(|container| container.name).collect();
    format!("say which request or command {shows}, and set {probe} of {}", names.join(", "))
}
