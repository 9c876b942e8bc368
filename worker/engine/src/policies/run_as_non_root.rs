//! `run_as_non_root`: no container runs as root.
//!
//! # What it checks
//! `runAsNonRoot`, `runAsUser` and `runAsGroup` as they hold for every container, its own before its pod's (kube-linter
//! `run-as-non-root`): the group is not 0; and the user is a number above 0, or runAsNonRoot is true and no user is 0.
//!
//! # Why
//! Root in a container is root on the node as soon as anything goes wrong between them
//! (Kubernetes Pod Security Standards, *Restricted*).
//!
//! # Repair
//! A group of 0 and a user of 0 are removed where they stand, in the container or its pod: an image knows its own user,
//! and `runAsNonRoot` beside user 0 cannot start. Where no user above 0 holds then, `runAsNonRoot: true` is set in the
//! container, with the caution `image_user_unknown`: the node refuses to start an image that wants root.
//!
//! # Example
//! ```yaml
//! securityContext: {runAsUser: 0}        # before
//! securityContext: {runAsNonRoot: true}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, may};
use super::security::{checked, effective, is_removed_zero, pod_level};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct RunAsNonRoot;

const CHECK: Check = Check {
    id: "run-as-non-root",
    severity: Severity::Warning,
    remedy: "Set runAsUser to a number above 0 or runAsNonRoot to true, and no user or group to 0.",
};

/// A user or group number as it holds for the container.
fn number(view: &View<'_>, container: &Container<'_>, key: &str) -> Option<i64> {
    effective(view, container, key).and_then(Value::as_i64)
}

fn is_non_root(view: &View<'_>, container: &Container<'_>) -> bool {
    effective(view, container, "runAsNonRoot") == Some(&Value::Bool(true))
}

/// What is wrong with the container: which field, and what kube-linter says about it.
fn violations(view: &View<'_>, container: &Container<'_>) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let name = quoted(container.name);
    if number(view, container, "runAsGroup") == Some(0) {
        found.push(("runAsGroup", format!("container {name} is set to runAsGroup 0")));
    }
    let user = number(view, container, "runAsUser");
    if user.is_some_and(|user| user > 0) {
        return found;
    }
    match (is_non_root(view, container), user) {
        (true, Some(0)) => {
            let message = format!("container {name} is set to runAsNonRoot, but runAsUser set to 0");
            found.push(("runAsUser", message));
        }
        (true, _) => {}
        (false, _) => found.push(("runAsNonRoot", format!("container {name} is not set to runAsNonRoot"))),
    }
    found
}

/// Removes the 0 that holds for the container: its own, then its pod's if that comes to hold. What holds afterwards.
fn drop_zero(editor: &mut Editor, view: &View<'_>, container: &Container<'_>, key: &str) -> Option<i64> {
    let own_at = container.security_pointer(&[key]);
    let own = editor.value(&own_at).filter(|value| !value.is_null()).map(Value::as_i64);
    match own {
        Some(Some(0)) => editor.remove(&own_at),
        Some(number) => return number,
        None => {}
    }
    let pod_at = view.pod_of(container)?.pointer.join(&["securityContext", key]);
    if editor.value(&pod_at).and_then(Value::as_i64) == Some(0) {
        editor.remove(&pod_at);
    }
    editor.value(&pod_at).and_then(Value::as_i64)
}

const SCOPE: Scope = Scope {
    containers: |view, container| !violations(view, container).is_empty(),
    may: &[
        may("{container}/securityContext/runAsNonRoot", &[To::True]),
        may("{container}/securityContext/runAsUser", NO_ROOT),
        may("{container}/securityContext/runAsGroup", NO_ROOT),
        may("{pod}/securityContext/runAsNonRoot", &[To::True]),
        may("{pod}/securityContext/runAsUser", NO_ROOT),
        may("{pod}/securityContext/runAsGroup", NO_ROOT),
    ],
    companion: None,
};

const NO_ROOT: &[To] = &[To::AboveZero, To::If("0 removed", is_removed_zero)];

impl Policy for RunAsNonRoot {
    fn id(&self) -> PolicyId {
        PolicyId::RunAsNonRoot
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
            for (key, message) in violations(view, container) {
                let own = container.security_pointer(&[key]);
                let inherits = own.resolve(view.value).is_none() && pod_level(view, container, key).is_some();
                let pod = view.pod_of(container).filter(|_| inherits);
                let at = pod.map_or(own, |pod| pod.pointer.join(&["securityContext", key]));
                findings.push(Finding {
                    policy: self.id(),
                    check: CHECK.id,
                    message,
                    pointer: view.nearest(at),
                });
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in &view.containers {
            let violations = violations(view, container);
            if violations.iter().any(|(key, _)| *key == "runAsGroup") {
                drop_zero(&mut editor, view, container, "runAsGroup");
            }
            if violations.iter().all(|(key, _)| *key == "runAsGroup") {
                continue;
            }
            let user = drop_zero(&mut editor, view, container, "runAsUser");
            if user.is_some_and(|user| user > 0) {
                continue;
            }
            cautions.push(Caution::ImageUserUnknown);
            if !is_non_root(view, container) {
                editor.set(&container.security_pointer(&["runAsNonRoot"]), json!(true));
            }
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};

    fn pod(pod: &str, containers: &str) -> crate::document::Document {
        document(&format!("kind: Pod\nspec: {{securityContext: {pod}, containers: [{containers}]}}"))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&RunAsNonRoot);
    }

    #[test]
    fn effective_values_decide() {
        for (pod_level, own, expected) in [
            ("{}", "{}", vec![r#"container "a" is not set to runAsNonRoot"#]),
            ("{runAsNonRoot: true}", "{}", vec![]),
            (
                "{runAsNonRoot: true}",
                "{runAsNonRoot: false}",
                vec![r#"container "a" is not set to runAsNonRoot"#],
            ),
            ("{runAsNonRoot: 'true'}", "{}", vec![r#"container "a" is not set to runAsNonRoot"#]),
            ("{runAsUser: 5}", "{}", vec![]),
            ("{runAsUser: 5}", "{runAsUser: 0}", vec![r#"container "a" is not set to runAsNonRoot"#]),
            ("{runAsUser: 0}", "{runAsUser: 5}", vec![]),
            (
                "{runAsUser: 0}",
                "{runAsNonRoot: true}",
                vec![r#"container "a" is set to runAsNonRoot, but runAsUser set to 0"#],
            ),
            ("{runAsUser: 5, runAsGroup: 0}", "{}", vec![r#"container "a" is set to runAsGroup 0"#]),
            ("{runAsUser: 5, runAsGroup: 0}", "{runAsGroup: 6}", vec![]),
            ("{runAsUser: 5}", "{runAsUser: null}", vec![]),
        ] {
            let document = pod(pod_level, &format!("{{name: a, securityContext: {own}}}"));
            assert_eq!(messages(&RunAsNonRoot, &document), expected, "{pod_level} {own}");
            if !expected.is_empty() {
                fix_of(&RunAsNonRoot, &document);
            }
        }
    }

    #[test]
    fn the_containers_that_need_it_are_set_and_no_others() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}, {name: b, securityContext: {runAsUser: 7, runAsNonRoot: false}}], ephemeralContainers: [{name: c, securityContext: {runAsNonRoot: false}}]}",
        );
        assert_eq!(
            fix_of(&RunAsNonRoot, &document),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"runAsNonRoot": true}},
                {"op": "replace", "path": "/spec/ephemeralContainers/0/securityContext/runAsNonRoot", "value": true}
            ])
        );
    }

    #[test]
    fn a_zero_goes_where_it_stands() {
        let own = pod("{}", "{name: a, securityContext: {runAsUser: 0, runAsGroup: 0}}");
        assert_eq!(
            fix_of(&RunAsNonRoot, &own),
            json!([
                {"op": "remove", "path": "/spec/containers/0/securityContext/runAsGroup"},
                {"op": "remove", "path": "/spec/containers/0/securityContext/runAsUser"},
                {"op": "add", "path": "/spec/containers/0/securityContext/runAsNonRoot", "value": true}
            ])
        );
        let inherited = pod(
            "{runAsUser: 0, runAsNonRoot: true}",
            "{name: a}, {name: b, securityContext: {runAsUser: 0}}",
        );
        assert_eq!(
            fix_of(&RunAsNonRoot, &inherited),
            json!([
                {"op": "remove", "path": "/spec/securityContext/runAsUser"},
                {"op": "remove", "path": "/spec/containers/1/securityContext/runAsUser"}
            ])
        );
        let shadowing = pod("{runAsUser: 1000}", "{name: a, securityContext: {runAsUser: 0}}");
        assert_eq!(
            fix_of(&RunAsNonRoot, &shadowing),
            json!([{"op": "remove", "path": "/spec/containers/0/securityContext/runAsUser"}])
        );
    }

    #[test]
    fn a_known_user_needs_no_caution() {
        let document = pod("{runAsUser: 1000}", "{name: a, securityContext: {runAsUser: 0}}");
        let view = View::new(&document, &Neighbours::Unknown);
        let Fix::Repair { cautions, .. } = RunAsNonRoot.fix(&view, &RulesConfig::default()) else { panic!() };
        assert!(cautions.is_empty());
    }

    #[test]
    fn pointers_name_what_is_there() {
        let document = pod("{runAsGroup: 0, runAsUser: 1}", "{name: a}");
        assert_eq!(
            findings(&RunAsNonRoot, &document)[0].pointer.as_str(),
            "/spec/securityContext/runAsGroup"
        );
        let document = pod("{}", "{name: a}");
        assert_eq!(findings(&RunAsNonRoot, &document)[0].pointer.as_str(), "/spec/containers/0");
    }

    #[test]
    fn a_security_context_of_a_wrong_type_is_a_persons_business() {
        let document = pod("{}", "{name: a, securityContext: [root]}");
        assert!(review_of(&RunAsNonRoot, &document, &Neighbours::Unknown).contains("type"));
    }
}
