//! `dangling_network_policy`: a network policy isolates pods that exist.
//!
//! # What it checks
//! That the pods of a workload in its namespace carry what the `podSelector` of a `NetworkPolicy` asks for, and that this
//! selector is valid (kube-linter `dangling-networkpolicy`). A document that stands alone has no workloads beside it.
//!
//! # Why
//! A policy that selects nothing isolates nothing, and says nothing about it (Kubernetes documentation, *Network
//! Policies*).
//!
//! # Repair
//! None: which pods were meant, no manifest says, and a wrong guess cuts a program off.
//!
//! # Example
//! ```yaml
//! spec: {podSelector: {matchLabels: {app: wbe}}}   # found, beside pods with app: web
//! spec: {podSelector: {matchLabels: {app: web}}}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::network_policy::{is_network_policy, selects_pods};
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::k8s::label_selector::{self, go_struct};

pub(super) struct DanglingNetworkPolicy;

fn selector_of(view: &View<'_>) -> domain::record::reference::LabelSelector {
    view.value.pointer("/spec/podSelector").map(label_selector::read).unwrap_or_default()
}

fn trouble(view: &View<'_>) -> Option<String> {
    let selector = selector_of(view);
    if let Some(error) = label_selector::invalid(&selector) {
        return Some(format!("networkpolicy has invalid podSelector: {error}"));
    }
    let message =
        || format!("no pods found matching networkpolicy's podSelector labels ({}) ", go_struct(&selector));
    (!selects_pods(view, &selector)).then(message)
}

impl Reviewed for DanglingNetworkPolicy {
    const ID: PolicyId = PolicyId::DanglingNetworkPolicy;

    const CHECK: &'static Check = &Check {
        id: "dangling-networkpolicy",
        severity: Severity::Warning,
        remedy: "Make the policy's podSelector match the labels of the pods that it is for.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = if is_network_policy(view) { trouble(view) } else { None };
        message.map(|message| (Pointer::of(["spec", "podSelector"]), message)).into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say which pods of namespace {:?} the policy is for, and set spec.podSelector to their labels, or remove the policy",
            view.identity.effective_namespace()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&DanglingNetworkPolicy);
    }

    #[test]
    fn selectors_are_told_of() {
        for (selector, expected) in [
            (
                "{matchLabels: {b: c, a: d}}",
                "no pods found matching networkpolicy's podSelector labels ({map[a:d b:c] []}) ",
            ),
            ("{}", "no pods found matching networkpolicy's podSelector labels ({map[] []}) "),
            (
                "{matchExpressions: [{key: a, operator: In, values: [a, b]}]}",
                "no pods found matching networkpolicy's podSelector labels ({map[] [{a In [a b]}]}) ",
            ),
            (
                "{matchExpressions: [{key: a, operator: In}]}",
                "networkpolicy has invalid podSelector: values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty",
            ),
        ] {
            let policy = document(&format!("kind: NetworkPolicy\nspec: {{podSelector: {selector}}}"));
            assert_eq!(messages(&DanglingNetworkPolicy, &policy), [expected]);
        }
    }
}
