//! `baseline_capabilities`: no container asks for a capability that containers do not get by default.
//!
//! # What it checks
//! `capabilities.add` of every container (own check `baseline-capabilities`; the control *Capabilities* of the Pod Security
//! Standards, *Baseline*): each name is one of the set that runtimes grant anyway, less `NET_RAW`, written as it stands
//! there.
//!
//! # Why
//! Every other capability is a power over the node or over its network.
//!
//! # Repair
//! The other names go, and with them the list when none is left, with the caution `loses_capability`.
//!
//! # Example
//! ```yaml
//! securityContext: {capabilities: {add: [NET_ADMIN, CHOWN]}}  # before
//! securityContext: {capabilities: {add: [CHOWN]}}             # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, may};
use super::security::{capabilities, take_away};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct BaselineCapabilities;

const CHECK: Check = Check {
    id: "baseline-capabilities",
    severity: Severity::Error,
    remedy: "Add no capability beyond those that containers get by default.",
};

const DEFAULT: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn is_refused(capability: &str) -> bool {
    !DEFAULT.contains(&capability)
}

fn refused<'a>(container: &Container<'a>) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    capabilities(container, "add").into_iter().filter(|(_, name)| is_refused(name))
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| refused(container).next().is_some(),
    may: &[may(
        "{container}/securityContext/capabilities/add/*",
        &[To::If("a name removed that is not of the default set", |site| {
            let was = site.change.was.and_then(Value::as_str);
            site.change.is.is_none() && was.is_some_and(is_refused)
        })],
    )],
    companion: None,
};

impl Policy for BaselineCapabilities {
    fn id(&self) -> PolicyId {
        PolicyId::BaselineCapabilities
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for container in &view.containers {
            findings.extend(refused(container).map(|(index, added)| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!(
                    "container {} adds the capability {}, which is not of the default set",
                    quoted(container.name),
                    quoted(added)
                ),
                pointer: container.security_pointer(&["capabilities", "add"]).index(index),
            }));
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in &view.containers {
            take_away(&mut editor, container, is_refused);
        }
        Fix::of(editor, [Caution::LosesCapability])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineCapabilities);
    }

    #[test]
    fn names_are_compared_as_they_are_written() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {capabilities: {add: [CHOWN, NET_RAW, chown]}}}], ephemeralContainers: [{name: b, securityContext: {capabilities: {add: [CAP_SYS_ADMIN], drop: [ALL]}}}]}",
        );
        assert_eq!(
            messages(&BaselineCapabilities, &document),
            [
                r#"container "a" adds the capability "NET_RAW", which is not of the default set"#,
                r#"container "a" adds the capability "chown", which is not of the default set"#,
                r#"container "b" adds the capability "CAP_SYS_ADMIN", which is not of the default set"#
            ]
        );
        assert_eq!(
            fix_of(&BaselineCapabilities, &document),
            json!([
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/2"},
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/1"},
                {"op": "remove", "path": "/spec/ephemeralContainers/0/securityContext/capabilities/add"}
            ])
        );
    }
}
