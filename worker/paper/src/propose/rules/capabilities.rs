//! The paper's rules for `drop_capabilities` and `drop_cap_sys_admin`.

use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{Fields, Node, containers, map};
use super::context::{demand, security_context};

/// Capabilities that the rule dropped in the published run. A later version of the paper's code added `ALL`.
const DANGEROUS: [&str; 6] = ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_CHROOT"];

fn is_dangerous(value: &Value) -> bool {
    value.as_str().is_some_and(|name| DANGEROUS.contains(&name.to_uppercase().as_str()))
}

pub(crate) fn drop_capabilities(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let context = security_context(&container, out);
        let at = container.at.join(&["securityContext", "capabilities"]);
        match context.and_then(|context| map(context, "capabilities")) {
            None => out.add(at, json!({"drop": DANGEROUS})),
            Some(capabilities) => {
                match capabilities.get("drop").and_then(Value::as_array) {
                    None => out.add(at.child("drop"), json!(DANGEROUS)),
                    Some(dropped) => {
                        let has = |name: &str| {
                            dropped.iter().filter_map(Value::as_str).any(|have| have.to_uppercase() == name)
                        };
                        for name in DANGEROUS.into_iter().filter(|name| !has(name)) {
                            out.add(at.child("drop").end(), name);
                        }
                    }
                }
                filter_added(capabilities, &at, out);
            }
        }
        demand(&container, context, "privileged", false, out);
        demand(&container, context, "allowPrivilegeEscalation", false, out);
    }
}

/// Removes the dangerous capabilities from the list `add`.
fn filter_added(capabilities: &Fields, at: &domain::pointer::Pointer, out: &mut Ops) {
    let Some(added) = capabilities.get("add").and_then(Value::as_array) else { return };
    if added.iter().any(is_dangerous) {
        let rest: Vec<Value> = added.iter().filter(|name| !is_dangerous(name)).cloned().collect();
        out.replace(at.child("add"), rest);
    }
}

/// Repairs only the first container that needs an operation, as the published rule does.
pub(super) fn drop_cap_sys_admin(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        repair_sys_admin(&container, out);
        if !out.0.is_empty() {
            return;
        }
    }
}

fn repair_sys_admin(container: &Node<'_>, out: &mut Ops) {
    let at = container.at.child("securityContext");
    let Some(context) = container.map("securityContext") else {
        let whole = json!({"capabilities": {"drop": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": false});
        return out.add(at, whole);
    };
    let is_sys_admin =
        |value: &Value| value.as_str().is_some_and(|name| name.trim().eq_ignore_ascii_case("SYS_ADMIN"));
    let at = at.child("capabilities");
    match map(context, "capabilities") {
        None => out.add(at, json!({"drop": ["SYS_ADMIN"]})),
        Some(capabilities) => {
            match capabilities.get("drop").and_then(Value::as_array) {
                None => out.add(at.child("drop"), json!(["SYS_ADMIN"])),
                Some(dropped) if !dropped.iter().any(is_sys_admin) => {
                    out.add(at.child("drop").end(), "SYS_ADMIN");
                }
                Some(_) => {}
            }
            let added =
                capabilities.get("add").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            // From the end, so that a removal does not shift the indices of the entries still to be removed.
            for (index, _) in added.iter().enumerate().rev().filter(|(_, name)| is_sys_admin(name)) {
                out.remove(at.child("add").index(index));
            }
        }
    }
    demand(container, Some(context), "allowPrivilegeEscalation", false, out);
}
