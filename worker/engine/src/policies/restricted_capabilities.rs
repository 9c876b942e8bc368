//! `restricted_capabilities`: every container drops all capabilities, and adds none but `NET_BIND_SERVICE`.
//!
//! # What it checks
//! `capabilities` of every container (own check `restricted-capabilities`; the control *Capabilities* of the Pod Security
//! Standards, *Restricted*): `ALL` stands in `drop`, in capitals, and nothing but `NET_BIND_SERVICE` in `add`. Pods for
//! Windows, which has no capabilities, are left alone. `drop_capabilities` asks for other fields, too, and finds only
//! containers that set one of them.
//!
//! # Why
//! Most programs need no capability; each that is left is one less step on the way out of the container.
//!
//! # Repair
//! `ALL` joins `drop` with the caution `default_capabilities_dropped`; other names leave `add` with the caution
//! `loses_capability`.
//!
//! # Example
//! ```yaml
//! securityContext: {capabilities: {add: [NET_BIND_SERVICE, CHOWN]}}               # before
//! securityContext: {capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}         # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, may};
use super::security::{MAY_BE_ADDED, capabilities, checked, on_windows, take_away, windows_only};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct RestrictedCapabilities;

const CHECK: Check = Check {
    id: "restricted-capabilities",
    severity: Severity::Warning,
    remedy: "Drop ALL capabilities, and add at most NET_BIND_SERVICE.",
};

/// Whether the container drops all capabilities, as the standard has it written.
pub(super) fn drops_all(container: &Container<'_>) -> bool {
    capabilities(container, "drop").iter().any(|(_, name)| *name == "ALL")
}

fn is_refused(capability: &str) -> bool {
    capability != MAY_BE_ADDED
}

fn refused<'a>(container: &Container<'a>) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    capabilities(container, "add").into_iter().filter(|(_, name)| is_refused(name))
}

fn violates(view: &View<'_>, container: &Container<'_>) -> bool {
    !on_windows(view, container) && (!drops_all(container) || refused(container).next().is_some())
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| violates(view, container),
    may: &[
        may(
            "{container}/securityContext/capabilities/drop/*",
            &[To::If("`ALL` added", |site| site.change.was.is_none() && site.text() == Some("ALL"))],
        ),
        may(
            "{container}/securityContext/capabilities/add/*",
            &[To::If("a name other than `NET_BIND_SERVICE` removed", |site| {
                let was = site.change.was.and_then(Value::as_str);
                site.change.is.is_none() && was.is_some_and(is_refused)
            })],
        ),
    ],
    companion: None,
};

impl Policy for RestrictedCapabilities {
    fn id(&self) -> PolicyId {
        PolicyId::RestrictedCapabilities
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let finding =
            |message, at| Finding { policy: self.id(), check: CHECK.id, message, pointer: view.nearest(at) };
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            let name = quoted(container.name);
            let given = container.security_pointer(&["capabilities"]);
            if !drops_all(container) {
                let message = format!("container {name} does not drop ALL capabilities");
                findings.push(finding(message, given.child("drop")));
            }
            findings.extend(refused(container).map(|(index, added)| {
                let message = format!("container {name} adds the capability {}", quoted(added));
                finding(message, given.child("add").index(index))
            }));
        }
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, "capabilities") {
            return fix;
        }
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            if !drops_all(container) {
                editor.append(&container.security_pointer(&["capabilities", "drop"]), json!("ALL"));
                cautions.push(Caution::DefaultCapabilitiesDropped);
            }
            if take_away(&mut editor, container, is_refused) {
                cautions.push(Caution::LosesCapability);
            }
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    #[test]
    fn fixtures() {
        fixture_holds(&RestrictedCapabilities);
    }

    #[test]
    fn silence_counts_in_every_container() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}, {name: b, securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}}], initContainers: [{name: c, securityContext: {capabilities: {drop: [all], add: [CHOWN]}}}]}",
        );
        assert_eq!(
            messages(&RestrictedCapabilities, &document),
            [
                r#"container "a" does not drop ALL capabilities"#,
                r#"container "c" does not drop ALL capabilities"#,
                r#"container "c" adds the capability "CHOWN""#
            ]
        );
        assert_eq!(
            fix_of(&RestrictedCapabilities, &document),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"capabilities": {"drop": ["ALL"]}}},
                {"op": "add", "path": "/spec/initContainers/0/securityContext/capabilities/drop/-", "value": "ALL"},
                {"op": "remove", "path": "/spec/initContainers/0/securityContext/capabilities/add"}
            ])
        );
    }

    #[test]
    fn windows_and_wrong_types() {
        let windows = document("kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}");
        assert_eq!(messages(&RestrictedCapabilities, &windows), [""; 0]);
        let odd = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {capabilities: {drop: ALL}}}]}",
        );
        assert!(review_of(&RestrictedCapabilities, &odd, &Neighbours::Unknown).contains("type"));
    }
}
