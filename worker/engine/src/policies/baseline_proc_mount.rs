//! `baseline_proc_mount`: no container sees the whole of `/proc`, unless its pod has users of its own.
//!
//! # What it checks
//! `procMount` of every container (own check `baseline-proc-mount`; the control */proc Mount Type* of the Pod Security
//! Standards, *Baseline*): it is `Default`, or the pod sets `hostUsers: false`. The profile *Restricted* has no such
//! exception; `unsafe_proc_mount` checks that.
//!
//! # Why
//! The runtime hides parts of `/proc` through which root in the container reaches the kernel of its node.
//!
//! # Repair
//! The field goes. The API server refuses a pod that has it without a user namespace of its own.
//!
//! # Example
//! ```yaml
//! securityContext: {procMount: Unmasked}  # before
//! securityContext: {}                     # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::pod_security::{field, in_user_namespace};
use super::scope::{Scope, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct BaselineProcMount;

const KEY: &str = "procMount";
const CHECK: Check = Check {
    id: "baseline-proc-mount",
    severity: Severity::Error,
    remedy: "Leave procMount out, or give the pod users of its own with hostUsers: false.",
};

/// The mount type that the container may not have.
fn refused<'a>(view: &View<'a>, container: &Container<'a>) -> Option<&'a Value> {
    let mount = field(container.security_context()?, KEY)?;
    let is_allowed = mount == "Default" || view.pod_of(container).is_some_and(in_user_namespace);
    (!is_allowed).then_some(mount)
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| refused(view, container).is_some(),
    may: &[may("{container}/securityContext/procMount", &[To::Gone, To::Text(&["Default"])])],
    companion: None,
};

impl Policy for BaselineProcMount {
    fn id(&self) -> PolicyId {
        PolicyId::BaselineProcMount
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |container: &Container<'_>| {
            let mount = refused(view, container)?.as_str().unwrap_or_default();
            let (name, mount) = (quoted(container.name), quoted(mount));
            Some(Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!("container {name} sets procMount to {mount}"),
                pointer: container.security_pointer(&[KEY]),
            })
        };
        view.containers.iter().filter_map(finding).collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in view.containers.iter().filter(|container| refused(view, container).is_some()) {
            editor.remove(&container.security_pointer(&[KEY]));
        }
        Fix::of(editor, [])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineProcMount);
    }

    #[test]
    fn a_user_namespace_excuses_it() {
        let text = "kind: Pod\nspec: {HOST, containers: [{name: a, securityContext: {procMount: Unmasked}}, {name: b, securityContext: {procMount: Default}}], ephemeralContainers: [{name: c, securityContext: {procMount: Unmasked}}]}";
        let shared = document(&text.replace("HOST", "hostUsers: true"));
        assert_eq!(
            messages(&BaselineProcMount, &shared),
            [
                r#"container "a" sets procMount to "Unmasked""#,
                r#"container "c" sets procMount to "Unmasked""#
            ]
        );
        assert_eq!(
            fix_of(&BaselineProcMount, &shared),
            json!([
                {"op": "remove", "path": "/spec/containers/0/securityContext/procMount"},
                {"op": "remove", "path": "/spec/ephemeralContainers/0/securityContext/procMount"}
            ])
        );
        assert_eq!(
            messages(&BaselineProcMount, &document(&text.replace("HOST", "hostUsers: false"))),
            [""; 0]
        );
    }
}
