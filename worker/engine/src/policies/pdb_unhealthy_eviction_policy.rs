//! `pdb_unhealthy_eviction_policy`: a disruption budget says what happens to unhealthy pods.
//!
//! # What it checks
//! A `PodDisruptionBudget` without `unhealthyPodEvictionPolicy` (kube-linter `pdb-unhealthy-pod-eviction-policy`). A
//! repair must leave one of the two legal values, `IfHealthyBudget` and `AlwaysAllow`.
//!
//! # Why
//! The default keeps unhealthy pods in place while the budget is not met, so that a broken application blocks the
//! draining of its node for ever (Kubernetes documentation, *Specifying a Disruption Budget*).
//!
//! # Repair
//! `AlwaysAllow`, which the Kubernetes documentation recommends for draining nodes.
//!
//! # Example
//! ```yaml
//! spec: {minAvailable: 1}                                            # before
//! spec: {minAvailable: 1, unhealthyPodEvictionPolicy: AlwaysAllow}   # after
//! ```

use domain::config::RulesConfig;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::scope::{Scope, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::View;

pub(super) struct PdbUnhealthyEvictionPolicy;

const CHECK: Check = Check {
    id: "pdb-unhealthy-pod-eviction-policy",
    severity: Severity::Warning,
    remedy: "Set unhealthyPodEvictionPolicy to AlwaysAllow.",
};

const MESSAGE: &str = "unhealthyPodEvictionPolicy is not explicitly set";
const KIND: &str = "PodDisruptionBudget";

fn place() -> Pointer {
    Pointer::of(["spec", "unhealthyPodEvictionPolicy"])
}

fn written<'a>(view: &View<'a>) -> Option<&'a Value> {
    place().resolve(view.value).filter(|value| !value.is_null())
}

fn is_legal(value: Option<&Value>) -> bool {
    matches!(value.and_then(Value::as_str), Some("IfHealthyBudget" | "AlwaysAllow"))
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "/spec/unhealthyPodEvictionPolicy",
        &[To::If("`AlwaysAllow` or `IfHealthyBudget`, where it had neither", |site| {
            site.before.kind() == KIND && !is_legal(site.change.was) && is_legal(site.change.is)
        })],
    )],
    companion: None,
};

impl Policy for PdbUnhealthyEvictionPolicy {
    fn id(&self) -> PolicyId {
        PolicyId::PdbUnhealthyEvictionPolicy
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        if view.kind() != KIND || written(view).is_some() {
            return Vec::new();
        }
        let pointer = view.nearest(place());
        vec![Finding { policy: self.id(), check: CHECK.id, message: MESSAGE.to_owned(), pointer }]
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        if view.kind() != KIND {
            return Fix::NotApplicable { reason: format!("the document is no {KIND}") };
        }
        if view.spec().is_none() {
            return Fix::NeedsReview {
                reason: "the disruption budget has no spec; say which pods it protects".to_owned(),
            };
        }
        let mut editor = Editor::new(view.value);
        if !is_legal(written(view)) {
            editor.set(&place(), json!("AlwaysAllow"));
        }
        Fix::of(editor, [])
    }

    fn cleared(&self, view: &View<'_>, _rules: &RulesConfig) -> Vec<String> {
        match written(view) {
            _ if view.kind() != KIND => Vec::new(),
            None => vec![MESSAGE.to_owned()],
            Some(value) if !is_legal(Some(value)) => {
                vec![format!("unhealthyPodEvictionPolicy {value} is neither IfHealthyBudget nor AlwaysAllow")]
            }
            Some(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: PdbUnhealthyEvictionPolicy = PdbUnhealthyEvictionPolicy;

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn only_legal_values_stay() {
        let op = |op: &str| json!([{"op": op, "path": "/spec/unhealthyPodEvictionPolicy", "value": "AlwaysAllow"}]);
        let pdb = |spec: &str| document(&format!("kind: PodDisruptionBudget\nspec: {spec}"));
        assert_eq!(fix_of(&POLICY, &pdb("{minAvailable: 1}")), op("add"));
        assert_eq!(fix_of(&POLICY, &pdb("{unhealthyPodEvictionPolicy: null}")), op("replace"));
        assert_eq!(fix_of(&POLICY, &pdb("{unhealthyPodEvictionPolicy: Always}")), op("replace"));
        let legal = pdb("{unhealthyPodEvictionPolicy: IfHealthyBudget}");
        assert_eq!(messages(&POLICY, &legal), Vec::<String>::new());
        assert!(matches!(
            POLICY.fix(&View::new(&legal, &Neighbours::Unknown), &RulesConfig::default()),
            Fix::NotApplicable { .. }
        ));
    }

    #[test]
    fn other_kinds_and_missing_specs() {
        assert_eq!(messages(&POLICY, &document("kind: Pod\nspec: {}")), Vec::<String>::new());
        let bare = document("kind: PodDisruptionBudget");
        assert_eq!(messages(&POLICY, &bare), [MESSAGE]);
        assert!(review_of(&POLICY, &bare, &Neighbours::Unknown).contains("no spec"));
    }
}
