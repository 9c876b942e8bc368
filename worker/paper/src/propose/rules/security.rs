//! Rules on a container's `securityContext`.

use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{containers, flag, map, text};
use super::context::{demand, security_context};

pub(super) fn no_privileged(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let at = container.at.child("securityContext");
        match container.map("securityContext") {
            None => out.add(at, json!({"privileged": false})),
            Some(context) if flag(Some(context), "privileged", true) => {
                out.replace(at.child("privileged"), false);
            }
            Some(_) => {}
        }
    }
}

pub(crate) fn read_only_root_fs(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let context = security_context(&container, out);
        demand(&container, context, "readOnlyRootFilesystem", true, out);
        demand(&container, context, "privileged", false, out);
    }
}

pub(crate) fn run_as_non_root(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let context = security_context(&container, out);
        demand(&container, context, "runAsNonRoot", true, out);
        demand(&container, context, "privileged", false, out);
    }
}

/// The first container that lacks it, and no other.
pub(crate) fn no_allow_privilege_escalation(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let at = container.at.child("securityContext");
        match container.map("securityContext") {
            None => return out.add(at, json!({"allowPrivilegeEscalation": false})),
            Some(context) if !flag(Some(context), "allowPrivilegeEscalation", false) => {
                return out.add(at.child("allowPrivilegeEscalation"), false);
            }
            Some(_) => {}
        }
    }
}

/// The first container that lacks it, and no other.
pub(super) fn run_as_user(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let at = container.at.child("securityContext");
        let Some(context) = container.map("securityContext") else {
            return out.add(at, json!({"runAsUser": 1000}));
        };
        let user = context.get("runAsUser").filter(|user| user.is_i64() || user.is_u64());
        if user.is_none_or(|user| user == 0) {
            return out.add(at.child("runAsUser"), 1000);
        }
    }
}

/// The first container that lacks it, and no other.
pub(super) fn enforce_seccomp(document: &Value, out: &mut Ops) {
    let profile = json!({"type": "RuntimeDefault"});
    for container in containers(document) {
        let at = container.at.child("securityContext");
        let Some(context) = container.map("securityContext") else {
            return out.add(at, json!({"seccompProfile": profile}));
        };
        let kind = map(context, "seccompProfile").and_then(|profile| text(profile, "type"));
        if kind != Some("RuntimeDefault") {
            return out.add(at.child("seccompProfile"), profile);
        }
    }
}
