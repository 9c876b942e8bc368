//! Rules on requests and limits.

use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::quantity;
use super::super::walk::{Fields, Node, containers, filled, map, text};
use super::context::{demand, security_context};

const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];
const LIMITS: [(&str, &str); 2] = [("cpu", "500m"), ("memory", "256Mi")];

pub(crate) fn set_requests_limits(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        complete(&container, out);
        let context = security_context(&container, out);
        demand(&container, context, "privileged", false, out);
    }
}

fn complete(container: &Node<'_>, out: &mut Ops) {
    let at = container.at.child("resources");
    let Some(resources) = container.map("resources") else {
        let requests = completed(None, &REQUESTS);
        let limits = completed(None, &LIMITS);
        return out.add(at, json!({"requests": requests, "limits": limits}));
    };
    let requests = map(resources, "requests");
    let limits = map(resources, "limits");
    match (is_incomplete(requests), is_incomplete(limits)) {
        (true, true) => {
            let mut whole = resources.clone();
            whole.insert("requests".to_owned(), completed(requests, &REQUESTS).into());
            whole.insert("limits".to_owned(), completed(limits, &LIMITS).into());
            out.replace(at, whole);
        }
        (true, false) => set_block(requests, &at.child("requests"), &REQUESTS, out),
        (false, true) => set_block(limits, &at.child("limits"), &LIMITS, out),
        (false, false) => {}
    }
}

fn is_incomplete(block: Option<&Fields>) -> bool {
    block.is_none_or(|block| ["cpu", "memory"].iter().any(|key| filled(block, key).is_none()))
}

fn completed(block: Option<&Fields>, defaults: &[(&str, &str)]) -> Fields {
    let mut block = block.cloned().unwrap_or_default();
    for (key, default) in defaults {
        if filled(&block, key).is_none() {
            block.insert((*key).to_owned(), (*default).into());
        }
    }
    block
}

fn set_block(
    block: Option<&Fields>,
    at: &domain::pointer::Pointer,
    defaults: &[(&str, &str)],
    out: &mut Ops,
) {
    let value = completed(block, defaults);
    if block.is_some() { out.replace(at.clone(), value) } else { out.add(at.clone(), value) }
}

/// A request above its limit becomes the limit (a guard, not a policy).
pub(crate) fn requests_within_limits(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let Some(resources) = container.map("resources") else { continue };
        let (Some(requests), Some(limits)) = (map(resources, "requests"), map(resources, "limits")) else {
            continue;
        };
        for key in ["cpu", "memory", "ephemeral-storage"] {
            let read = if key == "cpu" { quantity::cpu } else { quantity::bytes };
            let (Some(request), Some(limit)) = (text(requests, key), text(limits, key)) else { continue };
            let above = read(request).zip(read(limit)).is_some_and(|(request, limit)| request > limit + 1e-9);
            if above {
                out.replace(container.at.join(&["resources", "requests", key]), limit);
            }
        }
    }
}
