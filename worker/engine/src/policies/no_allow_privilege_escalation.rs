//! `no_allow_privilege_escalation`: no process can gain more privileges than its parent.
//!
//! # What it checks
//! `securityContext.allowPrivilegeEscalation` of every container: it must be false, for its default is true (own check
//! `allow-privilege-escalation`; kube-linter's `privilege-escalation-container` belongs to `drop_capabilities`).
//!
//! # Why
//! The flag sets `no_new_privs`: without it a setuid program in the image makes root of whoever runs it
//! (Kubernetes Pod Security Standards, *Restricted*).
//!
//! # Repair
//! The field becomes false in every container. The API server refuses that beside `privileged: true` and beside an added
//! `CAP_SYS_ADMIN`, so that both go where they stand. Windows has no such field.
//!
//! # Example
//! ```yaml
//! securityContext: {runAsUser: 1000}                                   # before
//! securityContext: {runAsUser: 1000, allowPrivilegeEscalation: false}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use super::security::{
    CONFINED_MOUNTS, NO_ESCALATION, UNPRIVILEGED, capability_name, checked, is_false, is_true, on_windows,
    take_away, unprivilege, windows_only,
};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct NoAllowPrivilegeEscalation;

const KEY: &str = "allowPrivilegeEscalation";
const CHECK: Check = Check {
    id: "allow-privilege-escalation",
    severity: Severity::Warning,
    remedy: "Set allowPrivilegeEscalation to false.",
};

fn violates(view: &View<'_>, container: &Container<'_>) -> bool {
    !on_windows(view, container) && !is_false(container, KEY)
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| violates(view, container),
    may: &[
        NO_ESCALATION,
        UNPRIVILEGED,
        CONFINED_MOUNTS,
        may(
            "{container}/securityContext/capabilities/add/*",
            &[To::If("`SYS_ADMIN` removed", is_removed_sys_admin)],
        ),
    ],
    companion: None,
};

fn is_removed_sys_admin(site: &Site<'_, '_>) -> bool {
    site.change.is.is_none()
        && site.change.was.and_then(Value::as_str).is_some_and(|name| capability_name(name) == "SYS_ADMIN")
}

impl Policy for NoAllowPrivilegeEscalation {
    fn id(&self) -> PolicyId {
        PolicyId::NoAllowPrivilegeEscalation
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let violating = view.containers.iter().filter(|container| violates(view, container));
        violating
            .map(|container| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!("container {} may gain privileges", quoted(container.name)),
                pointer: view.nearest(container.security_pointer(&[KEY])),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, KEY) {
            return fix;
        }
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            if is_true(container, KEY) || is_true(container, "privileged") {
                cautions.push(Caution::LosesPrivilege);
            }
            unprivilege(&mut editor, container);
            if take_away(&mut editor, container, |name| name == "CAP_SYS_ADMIN") {
                cautions.push(Caution::LosesCapability);
            }
            editor.set(&container.security_pointer(&[KEY]), json!(false));
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoAllowPrivilegeEscalation);
    }

    #[test]
    fn all_containers_that_need_it() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {allowPrivilegeEscalation: false}}, {name: b}], initContainers: [{name: c, securityContext: {allowPrivilegeEscalation: true}}]}",
        );
        assert_eq!(
            messages(&NoAllowPrivilegeEscalation, &document),
            [r#"container "b" may gain privileges"#, r#"container "c" may gain privileges"#]
        );
        assert_eq!(
            fix_of(&NoAllowPrivilegeEscalation, &document),
            json!([
                {"op": "add", "path": "/spec/containers/1/securityContext", "value": {"allowPrivilegeEscalation": false}},
                {"op": "replace", "path": "/spec/initContainers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
    }

    #[test]
    fn what_the_api_server_refuses_beside_it_goes() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {privileged: true, capabilities: {add: [CAP_SYS_ADMIN, CHOWN]}}}]}",
        );
        assert_eq!(
            fix_of(&NoAllowPrivilegeEscalation, &document),
            json!([
                {"op": "replace", "path": "/spec/containers/0/securityContext/privileged", "value": false},
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/0"},
                {"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
        let view = View::new(&document, &Neighbours::Unknown);
        let fix = NoAllowPrivilegeEscalation.fix(&view, &RulesConfig::default());
        let Fix::Repair { cautions, .. } = fix else { panic!() };
        assert_eq!(cautions, [Caution::LosesCapability, Caution::LosesPrivilege]);
    }

    #[test]
    fn windows_has_no_such_field() {
        let document = document("kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert!(NoAllowPrivilegeEscalation.detect(&view).is_empty());
        let fix = NoAllowPrivilegeEscalation.fix(&view, &RulesConfig::default());
        assert!(matches!(fix, Fix::NotApplicable { .. }));
    }
}
