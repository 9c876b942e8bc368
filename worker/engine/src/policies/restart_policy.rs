//! `restart_policy`: a pod whose program ends is started again.
//!
//! # What it checks
//! A workload whose pods have a `restartPolicy` other than `Always` and `OnFailure`, or write none (kube-linter
//! `restart-policy`).
//!
//! # Why
//! A program that ends and is not started again stays gone (Kubernetes documentation, *Pod Lifecycle*).
//!
//! # Repair
//! `Always` is written where it is what holds anyway, in a Pod, or is the only policy that the API server takes, in the
//! template of a controller. A Pod with `Never`, and a `Job` of any kind, is for a person: whether its program may run twice,
//! no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {containers: [{name: web}]}                          # before
//! spec: {containers: [{name: web}], restartPolicy: Always}   # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;
use serde_json::json;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::reviewed::findings;
use super::scope::{Scope, To, any_container, may};
use super::security::checked;
use super::workload::{pod_of, pod_text};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct RestartPolicy;

const CHECK: Check = Check {
    id: "restart-policy",
    severity: Severity::Warning,
    remedy: "Set restartPolicy to Always, or to OnFailure for a program that ends.",
};

const KEY: &str = "restartPolicy";
const ACCEPTED: [&str; 2] = ["Always", "OnFailure"];

fn is_accepted(pod: &Pod<'_>) -> bool {
    ACCEPTED.contains(&pod_text(pod, KEY))
}

/// Whether `Always` is what holds anyway, or all that the API server takes.
fn is_always(view: &View<'_>, pod: &Pod<'_>) -> bool {
    match view.kind() {
        "Job" | "CronJob" => false,
        "Pod" => pod.spec.get(KEY).is_none_or(|policy| policy.is_null() || policy == ""),
        _ => true,
    }
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "{pod}/restartPolicy",
        &[To::If("`Always`, where it is the only policy that can have been meant", |site| {
            let was_refused =
                pod_of(site.before).is_some_and(|pod| !is_accepted(pod) && is_always(site.before, pod));
            was_refused && site.text() == Some("Always")
        })],
    )],
    companion: None,
};

impl Policy for RestartPolicy {
    fn id(&self) -> PolicyId {
        PolicyId::RestartPolicy
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let refused = pod_of(view).filter(|pod| !is_accepted(pod)).map(|pod| {
            let (written, accepted) = (pod_text(pod, KEY), ACCEPTED.join(" "));
            let message = format!(
                "object has a restart policy defined with '{written}' but the only accepted restart policies are '[{accepted}]'"
            );
            (pod.pointer.child(KEY), message)
        });
        findings(self.id(), &CHECK, view, refused)
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let Some(pod) = pod_of(view).filter(|pod| !is_accepted(pod)) else {
            return Fix::NotApplicable { reason: "the pods are started again, or there are none".to_owned() };
        };
        if !is_always(view, pod) {
            return Fix::NeedsReview {
                reason: "say whether the program may run again after it failed: if so, set restartPolicy to OnFailure"
                    .to_owned(),
            };
        }
        let mut editor = Editor::new(view.value);
        editor.set(&pod.pointer.child(KEY), json!("Always"));
        checked(self, view, rules, editor, [])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: RestartPolicy = RestartPolicy;

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn always_is_written_where_nothing_else_can_hold() {
        for (kind, policy, op) in [
            ("Pod", "null", "replace"),
            ("Pod", "''", "replace"),
            ("Deployment", "Never", "replace"),
            ("StatefulSet", "null", "replace"),
        ] {
            let pod = format!("{{restartPolicy: {policy}, containers: [{{name: a}}]}}");
            let (spec, place) = match kind {
                "Pod" => (pod, "/spec/restartPolicy"),
                _ => (format!("{{template: {{spec: {pod}}}}}"), "/spec/template/spec/restartPolicy"),
            };
            let document = document(&format!("kind: {kind}\nspec: {spec}"));
            assert_eq!(messages(&POLICY, &document).len(), 1, "{kind} {policy}");
            assert_eq!(
                fix_of(&POLICY, &document),
                json!([{"op": op, "path": place, "value": "Always"}]),
                "{kind} {policy}"
            );
        }
        for policy in ACCEPTED {
            let pod = document(&format!("kind: Pod\nspec: {{restartPolicy: {policy}}}"));
            assert_eq!(messages(&POLICY, &pod), Vec::<String>::new());
        }
    }

    #[test]
    fn programs_that_end_are_for_a_person() {
        for text in [
            "kind: Pod\nspec: {restartPolicy: Never}",
            "kind: Pod\nspec: {restartPolicy: sometimes}",
            "kind: Job\nspec: {template: {spec: {restartPolicy: Never}}}",
            "kind: Job\nspec: {template: {spec: {containers: []}}}",
            "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Never}}}}}",
        ] {
            let document = document(text);
            assert_eq!(messages(&POLICY, &document).len(), 1, "{text}");
            assert!(review_of(&POLICY, &document, &Neighbours::Unknown).contains("OnFailure"), "{text}");
        }
    }
}
