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
//! container, with the caution `image_user_unknown`: the node refuses to start an image that wants root. With
//! `rules.level: restricted` it is set beside a user above 0 as well, and a 0 of the pod goes even where every container has
//! a user of its own, as the profile *Restricted* asks.
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
use super::security::{checked, effective, is_removed_zero, is_restricted, pod_level};
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

/// What the profile *Restricted* asks beyond that: `runAsNonRoot` whatever the user is, and no user 0 even where a
/// container has another.
fn restricted_violations(view: &View<'_>, container: &Container<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let name = quoted(container.name);
    if !is_non_root(view, container) {
        found.push(format!("container {name} is not set to runAsNonRoot"));
    }
    if pod_level(view, container, "runAsUser").and_then(Value::as_i64) == Some(0) {
        found.push(format!("the pod of container {name} sets runAsUser to 0"));
    }
    found
}

/// Whether a repair has something to do for the container, as the rules are set.
fn is_open(view: &View<'_>, container: &Container<'_>, rules: &RulesConfig) -> bool {
    !violations(view, container).is_empty()
        || (is_restricted(rules) && !restricted_violations(view, container).is_empty())
}

/// Removes the 0 that holds for the container: its own, then its pod's if that comes to hold. What holds afterwards.
pub(super) fn drop_zero(
    editor: &mut Editor,
    view: &View<'_>,
    container: &Container<'_>,
    key: &str,
) -> Option<i64> {
    let own_at = container.security_pointer(&[key]);
    let own = editor.value(&own_at).filter(|value| !value.is_null()).map(Value::as_i64);
    match own {
        Some(Some(0)) => editor.remove(&own_at),
        Some(number) => return number,
        None => {}
    }
    drop_pod_zero(editor, view, container, key)
}

/// Removes the 0 of the container's pod. What the pod says afterwards.
fn drop_pod_zero(editor: &mut Editor, view: &View<'_>, container: &Container<'_>, key: &str) -> Option<i64> {
    let at = view.pod_of(container)?.pointer.join(&["securityContext", key]);
    if editor.value(&at).and_then(Value::as_i64) == Some(0) {
        editor.remove(&at);
    }
    editor.value(&at).and_then(Value::as_i64)
}

const SCOPE: Scope = Scope {
    containers: is_open,
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
        let restricted = is_restricted(rules);
        for container in view.containers.iter().filter(|container| is_open(view, container, rules)) {
            let violations = violations(view, container);
            if violations.iter().any(|(key, _)| *key == "runAsGroup") {
                drop_zero(&mut editor, view, container, "runAsGroup");
            }
            let asked = restricted && !restricted_violations(view, container).is_empty();
            if !asked && violations.iter().all(|(key, _)| *key == "runAsGroup") {
                continue;
            }
            let user = drop_zero(&mut editor, view, container, "runAsUser");
            let has_user = user.is_some_and(|user| user > 0);
            if !has_user {
                cautions.push(Caution::ImageUserUnknown);
            }
            if restricted {
                drop_pod_zero(&mut editor, view, container, "runAsUser");
            } else if has_user {
                continue;
            }
            if !is_non_root(view, container) {
                editor.set(&container.security_pointer(&["runAsNonRoot"]), json!(true));
            }
        }
        checked(self, view, rules, editor, cautions)
    }

    fn cleared(&self, view: &View<'_>, rules: &RulesConfig) -> Vec<String> {
        let mut left: Vec<String> = self.detect(view).into_iter().map(|finding| finding.message).collect();
        if is_restricted(rules) {
            left.extend(view.containers.iter().flat_map(|container| restricted_violations(view, container)));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use domain::config::SecurityLevel;
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};
    use crate::verify::apply;

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
    fn at_the_level_restricted_it_is_said_of_every_container() {
        let rules = RulesConfig { level: SecurityLevel::Restricted, ..RulesConfig::default() };
        for (pod_level, containers, expected) in [
            ("{runAsUser: 5}", "{name: a}", vec!["/spec/containers/0/securityContext"]),
            ("{runAsNonRoot: true}", "{name: a}, {name: b, securityContext: {runAsUser: 7}}", vec![]),
            (
                "{runAsNonRoot: true, runAsUser: 0}",
                "{name: a, securityContext: {runAsUser: 5}}",
                vec!["/spec/securityContext/runAsUser"],
            ),
            (
                "{runAsNonRoot: true}",
                "{name: a, securityContext: {runAsUser: 5, runAsNonRoot: false}}",
                vec!["/spec/containers/0/securityContext/runAsNonRoot"],
            ),
        ] {
            let document = pod(pod_level, containers);
            let view = View::new(&document, &Neighbours::Unknown);
            let paths = match RunAsNonRoot.fix(&view, &rules) {
                Fix::Repair { patch, cautions, .. } => {
                    assert!(cautions.is_empty(), "the user is known: {pod_level} {containers}");
                    let patched = Document::from_value(apply(&document.value, &patch).unwrap()).unwrap();
                    let after = View::new(&patched, &Neighbours::Unknown);
                    assert_eq!(RunAsNonRoot.cleared(&after, &rules), Vec::<String>::new());
                    let ops = serde_json::to_value(&patch).unwrap();
                    let ops = ops.as_array().unwrap().iter();
                    ops.map(|op| op["path"].as_str().unwrap().to_owned()).collect()
                }
                Fix::NotApplicable { .. } => Vec::new(),
                Fix::NeedsReview { reason } => panic!("{reason}"),
            };
            assert_eq!(paths, expected, "{pod_level} {containers}");
            assert!(messages(&RunAsNonRoot, &document).is_empty(), "the scanner finds nothing");
        }
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
