//! `enforce_seccomp`: every container runs under a seccomp profile.
//!
//! # What it checks
//! `seccompProfile.type` as it holds for every container, its own before its pod's: `RuntimeDefault` or `Localhost` (own
//! check `enforce-seccomp`; no common scanner has one).
//!
//! # Why
//! Without a profile a container may make every system call of the kernel it shares with its node; most of the ways out
//! of a container need one that no ordinary program makes (Kubernetes Pod Security Standards, *Restricted*).
//!
//! # Repair
//! `seccompProfile: {type: RuntimeDefault}` in every container that lacks a profile or is `Unconfined`, with the caution
//! `syscalls_filtered`. A `Localhost` profile is the user's own and stays. Windows has no such field.
//!
//! # Example
//! ```yaml
//! securityContext: {}                                         # before
//! securityContext: {seccompProfile: {type: RuntimeDefault}}   # after
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

pub(super) struct EnforceSeccomp;

const KEY: &str = "seccompProfile";
const CHECK: Check = Check {
    id: "enforce-seccomp",
    severity: Severity::Warning,
    remedy: "Set seccompProfile.type to RuntimeDefault, or to Localhost with a profile of your own.",
};

fn violates(view: &View<'_>, container: &Container<'_>) -> bool {
    let profile =
        effective(view, container, KEY).and_then(|profile| profile.get("type")).and_then(Value::as_str);
    !on_windows(view, container) && !matches!(profile, Some("RuntimeDefault" | "Localhost"))
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| violates(view, container),
    may: &[
        may("{container}/securityContext/seccompProfile/type", &[To::Text(&["RuntimeDefault"])]),
        may("{container}/securityContext/seccompProfile/**", &[To::Gone]),
        may("{pod}/securityContext/seccompProfile/type", &[To::Text(&["RuntimeDefault"])]),
        may("{pod}/securityContext/seccompProfile/**", &[To::Gone]),
    ],
    companion: None,
};

impl Policy for EnforceSeccomp {
    fn id(&self) -> PolicyId {
        PolicyId::EnforceSeccomp
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
                message: format!("container {} runs without a seccomp profile", quoted(container.name)),
                pointer: view.nearest(container.security_pointer(&[KEY, "type"])),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, KEY) {
            return fix;
        }
        let mut editor = Editor::new(view.value);
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            editor.set(&container.security_pointer(&[KEY]), json!({"type": "RuntimeDefault"}));
        }
        checked(self, view, rules, editor, [Caution::SyscallsFiltered])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&EnforceSeccomp);
    }

    #[test]
    fn an_empty_security_context_gets_the_runtimes_profile() {
        let document = document("kind: Pod\nspec: {containers: [{name: a, securityContext: {}}]}");
        assert_eq!(messages(&EnforceSeccomp, &document), [r#"container "a" runs without a seccomp profile"#]);
        assert_eq!(
            fix_of(&EnforceSeccomp, &document),
            json!([{"op": "add", "path": "/spec/containers/0/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}])
        );
    }

    #[test]
    fn effective_values_of_all_containers_and_localhost_stays() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {seccompProfile: {type: RuntimeDefault}}, containers: [{name: a}, {name: b, securityContext: {seccompProfile: {type: Unconfined}}}, {name: c, securityContext: {seccompProfile: {type: Localhost, localhostProfile: c.json}}}], initContainers: [{name: d, securityContext: {seccompProfile: {}}}]}",
        );
        assert_eq!(
            fix_of(&EnforceSeccomp, &document),
            json!([
                {"op": "replace", "path": "/spec/containers/1/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}},
                {"op": "replace", "path": "/spec/initContainers/0/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}
            ])
        );
    }

    #[test]
    fn windows_has_no_such_field() {
        let document = document("kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert!(EnforceSeccomp.detect(&view).is_empty());
        assert!(matches!(EnforceSeccomp.fix(&view, &RulesConfig::default()), Fix::NotApplicable { .. }));
    }
}
