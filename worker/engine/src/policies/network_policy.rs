//! Shared by the policies about network policies: which pods there are for a selector.

use domain::record::Neighbour;
use domain::record::reference::LabelSelector;

use crate::k8s::neighbours::ENDPOINTS;
use crate::k8s::{View, label_selector};

pub(super) fn is_network_policy(view: &View<'_>) -> bool {
    view.kind() == "NetworkPolicy"
}

/// Whether pods of a workload in the namespace are selected.
pub(super) fn selects_pods(view: &View<'_>, selector: &LabelSelector) -> bool {
    view.neighbours_here().any(|neighbour| match neighbour {
        Neighbour::Workload { kind, pod_labels, .. } => {
            kind != ENDPOINTS && label_selector::matches(selector, pod_labels)
        }
        _ => false,
    })
}
