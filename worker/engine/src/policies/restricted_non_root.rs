//! `restricted_non_root`: every container is bound to run as a user other than root.
//!
//! # What it checks
//! `runAsNonRoot` of every pod and container (own check `restricted-non-root`; the control *Running as Non-root* of the Pod
//! Security Standards, *Restricted*): no pod and no container sets it to false, and it is true for every container, its own
//! before its pod's. A pod with users of its own (`hostUsers: false`) is exempt. `run_as_non_root` accepts a
//! user above 0 instead, and looks at the group.
//!
//! # Why
//! The node then refuses to start a container as root, whatever user its image names.
//!
//! # Repair
//! False becomes true where it stands; where it is absent, true is set in the container. A user of 0 that holds for it
//! goes, for such a container cannot start. Where no user above 0 holds then, with the caution `image_user_unknown`.
//!
//! # Example
//! ```yaml
//! securityContext: {runAsUser: 1000}                      # before
//! securityContext: {runAsUser: 1000, runAsNonRoot: true}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::pod_security::{NO_ZERO, field, in_user_namespace};
use super::run_as_non_root::drop_zero;
use super::scope::{Scope, To, may};
use super::security::{checked, effective};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

pub(super) struct RestrictedNonRoot;

const KEY: &str = "runAsNonRoot";
const CHECK: Check = Check {
    id: "restricted-non-root",
    severity: Severity::Warning,
    remedy: "Set runAsNonRoot to true in the pod or in every container.",
};

fn is_denied(context: &Map<String, Value>) -> bool {
    field(context, KEY).is_some_and(|value| *value != Value::Bool(true))
}

/// Whether the pod itself lets its containers be root.
fn pod_violates(pod: &Pod<'_>) -> bool {
    !in_user_namespace(pod) && pod.security_context().is_some_and(is_denied)
}

fn violates(view: &View<'_>, container: &Container<'_>) -> bool {
    !view.pod_of(container).is_some_and(in_user_namespace)
        && effective(view, container, KEY) != Some(&Value::Bool(true))
}

fn message(container: &Container<'_>) -> String {
    let name = quoted(container.name);
    if container.security_context().is_some_and(is_denied) {
        format!("container {name} sets runAsNonRoot to something other than true")
    } else {
        format!("runAsNonRoot is not true for container {name}")
    }
}

/// Whether a repair may change the container: it or its pod violates the policy, or it shares a user of 0 with one that does.
fn is_open(view: &View<'_>, container: &Container<'_>, _: &RulesConfig) -> bool {
    violates(view, container)
        || view.pod_of(container).is_some_and(pod_violates)
        || effective(view, container, "runAsUser").and_then(Value::as_i64) == Some(0)
}

const SCOPE: Scope = Scope {
    containers: is_open,
    may: &[
        may("{container}/securityContext/runAsNonRoot", &[To::True]),
        may("{container}/securityContext/runAsUser", &[NO_ZERO]),
        may("{pod}/securityContext/runAsNonRoot", &[To::True]),
        may("{pod}/securityContext/runAsUser", &[NO_ZERO]),
    ],
    companion: None,
};

impl Policy for RestrictedNonRoot {
    fn id(&self) -> PolicyId {
        PolicyId::RestrictedNonRoot
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding =
            |message, at| Finding { policy: self.id(), check: CHECK.id, message, pointer: view.nearest(at) };
        let pods = view.pods.iter().filter(|pod| pod_violates(pod)).map(|pod| {
            let message = "the pod sets runAsNonRoot to something other than true".to_owned();
            finding(message, pod.pointer.join(&["securityContext", KEY]))
        });
        let containers = view
            .containers
            .iter()
            .filter(|container| violates(view, container))
            .map(|container| finding(message(container), container.security_pointer(&[KEY])));
        pods.chain(containers).collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for pod in view.pods.iter().filter(|pod| pod_violates(pod)) {
            editor.set(&pod.pointer.join(&["securityContext", KEY]), json!(true));
        }
        for container in view.containers.iter().filter(|container| violates(view, container)) {
            let user = drop_zero(&mut editor, view, container, "runAsUser");
            if user.is_none_or(|user| user <= 0) {
                cautions.push(Caution::ImageUserUnknown);
            }
            let own = container.security_pointer(&[KEY]);
            let is_said = editor.value(&own).is_some_and(|value| !value.is_null());
            let of_pod = view.pod_of(container).is_some_and(|pod| {
                editor.value(&pod.pointer.join(&["securityContext", KEY])) == Some(&json!(true))
            });
            if is_said || !of_pod {
                editor.set(&own, json!(true));
            }
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
        fixture_holds(&RestrictedNonRoot);
    }

    #[test]
    fn what_is_said_and_what_is_not() {
        let bad = document(
            "kind: Pod\nspec: {securityContext: {runAsNonRoot: false}, containers: [{name: a}, {name: b, securityContext: {runAsNonRoot: true}}, {name: c, securityContext: {runAsNonRoot: false, runAsUser: 5}}]}",
        );
        assert_eq!(
            messages(&RestrictedNonRoot, &bad),
            [
                "the pod sets runAsNonRoot to something other than true",
                "runAsNonRoot is not true for container \"a\"",
                "container \"c\" sets runAsNonRoot to something other than true"
            ]
        );
        assert_eq!(
            fix_of(&RestrictedNonRoot, &bad),
            json!([
                {"op": "replace", "path": "/spec/securityContext/runAsNonRoot", "value": true},
                {"op": "replace", "path": "/spec/containers/2/securityContext/runAsNonRoot", "value": true}
            ])
        );
        let users = document("kind: Pod\nspec: {hostUsers: false, containers: [{name: a}]}");
        assert_eq!(messages(&RestrictedNonRoot, &users), [""; 0], "root of its own users");
    }

    #[test]
    fn a_zero_goes_and_the_caution_depends_on_the_user() {
        let root = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {runAsUser: 0}}], ephemeralContainers: [{name: b, securityContext: {runAsUser: 7}}]}",
        );
        assert_eq!(
            fix_of(&RestrictedNonRoot, &root),
            json!([
                {"op": "remove", "path": "/spec/containers/0/securityContext/runAsUser"},
                {"op": "add", "path": "/spec/containers/0/securityContext/runAsNonRoot", "value": true},
                {"op": "add", "path": "/spec/ephemeralContainers/0/securityContext/runAsNonRoot", "value": true}
            ])
        );
        for (user, expected) in [("{}", vec![Caution::ImageUserUnknown]), ("{runAsUser: 7}", vec![])] {
            let known =
                document(&format!("kind: Pod\nspec: {{securityContext: {user}, containers: [{{name: a}}]}}"));
            let view = View::new(&known, &Neighbours::Unknown);
            let Fix::Repair { cautions, .. } = RestrictedNonRoot.fix(&view, &RulesConfig::default()) else {
                panic!()
            };
            assert_eq!(cautions, expected);
        }
    }
}
