//! `run_as_user`: every container runs as a numbered user other than root.
//!
//! # What it checks
//! `runAsUser` as it holds for every container, its own before its pod's: a number above 0 (own check `run-as-user`; no
//! common scanner has one). `runAsNonRoot` alone does not do: it says who the user is not.
//!
//! # Why
//! A number in the manifest holds whatever the image says, and shared volumes can be given to it
//! (NSA/CISA Kubernetes Hardening Guide, *Non-root containers*).
//!
//! # Repair
//! `runAsUser: 1000` in every container that lacks it, with the caution `user_guessed`. Windows has no such field.
//!
//! # Example
//! ```yaml
//! containers: [{name: a}]                                       # before
//! containers: [{name: a, securityContext: {runAsUser: 1000}}]   # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, may};
use super::security::{checked, effective, on_windows, windows_only};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct RunAsUser;

const KEY: &str = "runAsUser";
/// The first number that common distributions give to a person.
const USER: u32 = 1000;
const CHECK: Check = Check {
    id: "run-as-user",
    severity: Severity::Warning,
    remedy: "Set runAsUser to the number of the user that the image is made for.",
};

fn violates(view: &View<'_>, container: &Container<'_>) -> bool {
    let user = effective(view, container, KEY).and_then(Value::as_i64);
    !on_windows(view, container) && user.is_none_or(|user| user <= 0)
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| violates(view, container),
    may: &[
        may("{container}/securityContext/runAsUser", &[To::AboveZero]),
        may("{pod}/securityContext/runAsUser", &[To::AboveZero]),
    ],
    companion: None,
};

impl Policy for RunAsUser {
    fn id(&self) -> PolicyId {
        PolicyId::RunAsUser
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
                message: format!("container {} has no runAsUser above 0", quoted(container.name)),
                pointer: view.nearest(container.security_pointer(&[KEY])),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, KEY) {
            return fix;
        }
        let mut editor = Editor::new(view.value);
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            editor.set(&container.security_pointer(&[KEY]), json!(USER));
        }
        checked(self, view, rules, editor, [Caution::UserGuessed])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&RunAsUser);
    }

    #[test]
    fn a_container_without_a_user_gets_one() {
        let document = document("kind: Pod\nspec: {containers: [{name: a}]}");
        assert_eq!(messages(&RunAsUser, &document), [r#"container "a" has no runAsUser above 0"#]);
        assert_eq!(
            fix_of(&RunAsUser, &document),
            json!([{"op": "add", "path": "/spec/containers/0/securityContext", "value": {"runAsUser": 1000}}])
        );
    }

    #[test]
    fn all_containers_and_effective_values() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {runAsUser: 5}, containers: [{name: a}, {name: b, securityContext: {runAsUser: 0}}, {name: c, securityContext: {runAsUser: root}}], initContainers: [{name: d, securityContext: {runAsUser: 7}}, {name: e, securityContext: {runAsUser: -1}}]}",
        );
        let paths: Vec<Value> =
            fix_of(&RunAsUser, &document).as_array().unwrap().iter().map(|op| op["path"].clone()).collect();
        assert_eq!(
            paths,
            [
                "/spec/containers/1/securityContext/runAsUser",
                "/spec/containers/2/securityContext/runAsUser",
                "/spec/initContainers/1/securityContext/runAsUser"
            ]
        );
    }

    #[test]
    fn windows_has_no_such_field() {
        let document = document("kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert!(RunAsUser.detect(&view).is_empty());
        let Fix::NotApplicable { reason } = RunAsUser.fix(&view, &RulesConfig::default()) else { panic!() };
        assert!(reason.contains("Windows"), "{reason}");
    }
}
