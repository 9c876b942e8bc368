//! `no_privileged`: no container is privileged.
//!
//! # What it checks
//! `securityContext.privileged` of every container (kube-linter `privileged-container`).
//!
//! # Why
//! A privileged container has all capabilities and all devices of its node: whoever is in it is on the node
//! (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! Where the flag is true, and only there, it becomes false. The API server demands privileged mode for
//! `mountPropagation: Bidirectional`, so that such mounts fall back to `HostToContainer`.
//!
//! # Example
//! ```yaml
//! securityContext: {privileged: true}   # before
//! securityContext: {privileged: false}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::Scope;
use super::security::{CONFINED_MOUNTS, UNPRIVILEGED, is_true, unprivilege};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct NoPrivileged;

const CHECK: Check = Check {
    id: "privileged-container",
    severity: Severity::Error,
    remedy: "Do not run the container as privileged; grant the capabilities it needs one by one.",
};

fn is_privileged(container: &Container<'_>) -> bool {
    is_true(container, "privileged")
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| is_privileged(container),
    may: &[UNPRIVILEGED, CONFINED_MOUNTS],
    companion: None,
};

impl Policy for NoPrivileged {
    fn id(&self) -> PolicyId {
        PolicyId::NoPrivileged
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let privileged = view.containers.iter().filter(|container| is_privileged(container));
        privileged
            .map(|container| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!("container {} is privileged", quoted(container.name)),
                pointer: container.security_pointer(&["privileged"]),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in view.containers.iter().filter(|container| is_privileged(container)) {
            unprivilege(&mut editor, container);
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
        fixture_holds(&NoPrivileged);
    }

    #[test]
    fn only_the_privileged_container_is_touched() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}, {name: b, securityContext: {privileged: true}}, {name: c, securityContext: {privileged: 'true'}}]}",
        );
        assert_eq!(messages(&NoPrivileged, &document), [r#"container "b" is privileged"#]);
        assert_eq!(
            fix_of(&NoPrivileged, &document),
            json!([{"op": "replace", "path": "/spec/containers/1/securityContext/privileged", "value": false}])
        );
    }
}
