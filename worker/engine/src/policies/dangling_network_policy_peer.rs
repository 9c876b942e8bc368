//! `dangling_network_policy_peer`: the peers of a network policy are pods that exist.
//!
//! # What it checks
//! That the pods of a workload in its namespace carry what each peer of a `NetworkPolicy` asks for that is named by a
//! `podSelector` alone (kube-linter `dangling-networkpolicypeer-podselector`). A document that stands alone has no
//! workloads beside it.
//!
//! # Why
//! Such a peer lets nothing through: the traffic that it was written for is dropped (Kubernetes documentation,
//! *Network Policies*).
//!
//! # Repair
//! None: which pods were meant, no manifest says, and a wrong guess lets others in.
//!
//! # Example
//! ```yaml
//! ingress: [{from: [{podSelector: {matchLabels: {app: wbe}}}]}]   # found, beside pods with app: web
//! ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::LabelSelector;

use super::contract::{Check, Severity};
use super::network_policy::{is_network_policy, selects_pods};
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::k8s::label_selector;
use crate::k8s::neighbours::pod_selectors;

pub(super) struct DanglingNetworkPolicyPeer;

fn trouble(view: &View<'_>, selector: &LabelSelector) -> Option<String> {
    if let Some(error) = label_selector::invalid(selector) {
        return Some(format!("networkpolicy ingress rule has invalid podSelector: {error}"));
    }
    let query = || label_selector::query(selector);
    let message = || format!("no pods found matching networkpolicy rule's podSelector labels ({})", query());
    (!selects_pods(view, selector)).then(message)
}

impl Reviewed for DanglingNetworkPolicyPeer {
    const ID: PolicyId = PolicyId::DanglingNetworkPolicyPeer;

    const CHECK: &'static Check = &Check {
        id: "dangling-networkpolicypeer-podselector",
        severity: Severity::Warning,
        remedy: "Make the peer's podSelector match the labels of the pods that it is.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        if !is_network_policy(view) {
            return Vec::new();
        }
        // The first selector is that of the policy itself.
        let peers = pod_selectors(view.value).into_iter().skip(1);
        let found = peers.filter_map(|(keys, selector)| {
            Some((Pointer::of(keys.iter().map(String::as_str)), trouble(view, &selector)?))
        });
        found.collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say which pods of namespace {:?} each peer is, and set its podSelector to their labels, or remove the peer",
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
        fixture_holds(&DanglingNetworkPolicyPeer);
    }

    #[test]
    fn peers_named_by_labels_alone_are_looked_at() {
        let policy = document(
            "kind: NetworkPolicy\nspec: {ingress: [{from: [{podSelector: {matchLabels: {a: b}}}, {podSelector: {}, namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}]}], egress: [{to: [{podSelector: {}}]}, {}]}",
        );
        assert_eq!(
            messages(&DanglingNetworkPolicyPeer, &policy),
            [
                "no pods found matching networkpolicy rule's podSelector labels (a=b)",
                "no pods found matching networkpolicy rule's podSelector labels ()",
            ]
        );
    }
}
