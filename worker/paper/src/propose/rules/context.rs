//! The `securityContext` of a container, made where it is missing.

use serde_json::json;

use super::super::ops::Ops;
use super::super::walk::{Fields, Node, flag as has_flag};

/// The container's `securityContext`; where it is not a map, an empty one is added first.
pub(super) fn security_context<'a>(container: &Node<'a>, out: &mut Ops) -> Option<&'a Fields> {
    let context = container.map("securityContext");
    if context.is_none() {
        out.add(container.at.child("securityContext"), json!({}));
    }
    context
}

/// Demands that a flag of the `securityContext` is `wanted`.
pub(super) fn demand(
    container: &Node<'_>,
    context: Option<&Fields>,
    flag: &str,
    wanted: bool,
    out: &mut Ops,
) {
    if !has_flag(context, flag, wanted) {
        out.set(context, &container.at.child("securityContext"), flag, wanted);
    }
}
