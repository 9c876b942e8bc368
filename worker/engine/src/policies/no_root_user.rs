//! `no_root_user`: no pod and no container names root as its user.
//!
//! # What it checks
//! `runAsUser` wherever a pod or a container sets it (own check `root-user`; the control *Running as Non-root user* of the
//! Pod Security Standards, *Restricted*): it is not 0. An absent user is allowed, and so is 0 in a pod with users of its own
//! (`hostUsers: false`).
//!
//! # Why
//! User 0 of a container is user 0 of its node as soon as anything goes wrong between them.
//!
//! # Repair
//! The 0 goes: the image knows its own user, with the caution `image_user_unknown` where no other user is named then.
//!
//! # Example
//! ```yaml
//! securityContext: {runAsUser: 0, runAsGroup: 1000}  # before
//! securityContext: {runAsGroup: 1000}                # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::pod_security::{Context, NO_ZERO, concerns, contexts, in_user_namespace};
use super::scope::{Scope, may};
use super::security::effective;
use crate::edit::Editor;
use crate::k8s::View;

pub(super) struct NoRootUser;

const KEY: &str = "runAsUser";
const CHECK: Check =
    Check { id: "root-user", severity: Severity::Warning, remedy: "Name a user above 0, or none." };

fn is_root(context: &Map<String, Value>) -> bool {
    context.get(KEY).and_then(Value::as_i64) == Some(0)
}

fn roots<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = Context<'v, 'a>> {
    contexts(view).filter(|context| is_root(context.fields) && !in_user_namespace(context.pod))
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| {
        concerns(view, container, is_root) && !view.pod_of(container).is_some_and(in_user_namespace)
    },
    may: &[
        may("{container}/securityContext/runAsUser", &[NO_ZERO]),
        may("{pod}/securityContext/runAsUser", &[NO_ZERO]),
    ],
    companion: None,
};

impl Policy for NoRootUser {
    fn id(&self) -> PolicyId {
        PolicyId::NoRootUser
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        roots(view)
            .map(|context| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!("{} sets runAsUser to 0", context.owner()),
                pointer: context.at().child(KEY),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for context in roots(view) {
            editor.remove(&context.at().child(KEY));
        }
        let after = View::of(editor.document(), view.identity, view.neighbours);
        let moved = view.containers.iter().zip(&after.containers).any(|(was, is)| {
            let had = effective(view, was, KEY).and_then(Value::as_i64);
            had == Some(0) && effective(&after, is, KEY).is_none()
        });
        Fix::of(editor, moved.then_some(Caution::ImageUserUnknown))
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoRootUser);
    }

    #[test]
    fn zeros_of_pods_and_containers_go() {
        let bad = document(
            "kind: Pod\nspec: {securityContext: {runAsUser: 0}, containers: [{name: a, securityContext: {runAsUser: 5}}, {name: b, securityContext: {runAsUser: '0'}}], ephemeralContainers: [{name: c, securityContext: {runAsUser: 0}}]}",
        );
        assert_eq!(
            messages(&NoRootUser, &bad),
            ["the pod sets runAsUser to 0", "container \"c\" sets runAsUser to 0"]
        );
        assert_eq!(
            fix_of(&NoRootUser, &bad),
            json!([
                {"op": "remove", "path": "/spec/securityContext/runAsUser"},
                {"op": "remove", "path": "/spec/ephemeralContainers/0/securityContext/runAsUser"}
            ])
        );
        let users = document("kind: Pod\nspec: {hostUsers: false, securityContext: {runAsUser: 0}}");
        assert_eq!(messages(&NoRootUser, &users), [""; 0]);
    }

    #[test]
    fn the_caution_is_for_an_image_that_decides() {
        for (containers, expected) in [
            ("{name: a, securityContext: {runAsUser: 5}}", vec![]),
            ("{name: a}", vec![Caution::ImageUserUnknown]),
        ] {
            let bad = document(&format!(
                "kind: Pod\nspec: {{securityContext: {{runAsUser: 0}}, containers: [{containers}]}}"
            ));
            let view = View::new(&bad, &Neighbours::Unknown);
            let Fix::Repair { cautions, .. } = NoRootUser.fix(&view, &RulesConfig::default()) else {
                panic!()
            };
            assert_eq!(cautions, expected);
        }
    }
}
