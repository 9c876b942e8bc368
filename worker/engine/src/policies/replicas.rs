//! Shared by `minimum_three_replicas` and `hpa_minimum_three_replicas`: numbers of replicas.

use serde_json::Value;

use crate::k8s::View;

/// The number of replicas that an application has to outlive the loss of a node.
const MINIMUM: i64 = 3;

/// The number at a key of the spec: one where there is none; `None` where it is no number.
pub(super) fn written(view: &View<'_>, key: &str) -> Option<i64> {
    match view.spec().and_then(|spec| spec.get(key)) {
        None | Some(Value::Null) => Some(1),
        Some(value) => value.as_i64(),
    }
}

/// Why a number of replicas is too small.
pub(super) fn too_few(replicas: i64) -> Option<String> {
    let noun = if replicas > 1 { "replicas" } else { "replica" };
    let message = || format!("object has {replicas} {noun} but minimum required replicas is {MINIMUM}");
    (replicas < MINIMUM).then(message)
}
