//! `unsafe_proc_mount`: the parts of `/proc` that tell of the node stay masked.
//!
//! # What it checks
//! Containers with `securityContext.procMount: Unmasked` (kube-linter `unsafe-proc-mount`), in whatever case it is written.
//!
//! # Why
//! Without the masks a container reads the kernel's memory map and timers, and with enough rights writes the kernel's
//! settings (Kubernetes Pod Security Standards, *Baseline*, */proc Mount Type*).
//!
//! # Repair
//! The field goes, so that `Default` holds; with the caution `loses_privilege`.
//!
//! # Example
//! ```yaml
//! securityContext: {procMount: Unmasked, runAsUser: 1000}   # before
//! securityContext: {runAsUser: 1000}                        # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::reviewed::findings;
use super::scope::{Scope, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct UnsafeProcMount;

const CHECK: Check = Check {
    id: "unsafe-proc-mount",
    severity: Severity::Error,
    remedy: "Leave procMount out, so that Default holds.",
};

fn place(container: &Container<'_>) -> Pointer {
    container.security_pointer(&["procMount"])
}

fn is_unmasked(container: &Container<'_>) -> bool {
    let mount = container.security_context().and_then(|context| context.get("procMount"));
    mount.and_then(Value::as_str).is_some_and(|mount| mount.eq_ignore_ascii_case("Unmasked"))
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| is_unmasked(container),
    may: &[may("{container}/securityContext/procMount", &[To::Gone, To::Text(&["Default"])])],
    companion: None,
};

impl Policy for UnsafeProcMount {
    fn id(&self) -> PolicyId {
        PolicyId::UnsafeProcMount
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let unmasked = view.containers.iter().filter(|container| is_unmasked(container));
        let found = unmasked.map(|container| {
            let name = quoted(container.name);
            (place(container), format!("container {name} exposes /proc unsafely (via procMount=Unmasked)."))
        });
        findings(self.id(), &CHECK, view, found)
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in view.containers.iter().filter(|container| is_unmasked(container)) {
            editor.remove(&place(container));
        }
        Fix::of(editor, [Caution::LosesPrivilege])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&UnsafeProcMount);
    }

    #[test]
    fn only_unmasked_containers_change() {
        let pod = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {procMount: Default}}, {name: b, securityContext: {procMount: unmasked}}, {name: c, securityContext: {procMount: 5}}]}",
        );
        assert_eq!(
            messages(&UnsafeProcMount, &pod),
            ["container \"b\" exposes /proc unsafely (via procMount=Unmasked)."]
        );
        assert_eq!(
            fix_of(&UnsafeProcMount, &pod),
            json!([{"op": "remove", "path": "/spec/containers/1/securityContext/procMount"}])
        );
    }
}
