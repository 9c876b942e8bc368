//! `non_isolated_pod`: a network policy isolates every pod.
//!
//! # What it checks
//! A workload whose pods no `NetworkPolicy` of its namespace selects (kube-linter `non-isolated-pod`). A document that
//! stands alone has no policies beside it.
//!
//! # Why
//! Any pod of the cluster may then connect to them (Kubernetes documentation, *Network Policies*; CIS Kubernetes Benchmark
//! 5.3.2).
//!
//! # Repair
//! None: who has to reach the pods, and whom they have to reach, no manifest says. A policy that forgets one cuts the
//! program off.
//!
//! # Example
//! ```yaml
//! kind: Deployment, spec: {template: {metadata: {labels: {app: web}}}}            # found, without a policy
//! kind: NetworkPolicy, spec: {podSelector: {matchLabels: {app: web}}, …}          # with this beside it not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::{LabelSelector, Reference};

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use super::workload::pod_of;
use crate::k8s::View;
use crate::k8s::label_selector;
use crate::k8s::neighbours::text_labels;

pub(super) struct NonIsolatedPod;

fn policies<'v>(view: &'v View<'_>) -> impl Iterator<Item = &'v LabelSelector> {
    view.references().filter_map(|reference| match reference {
        Reference::NetworkPolicy { pods, .. } => Some(pods),
        _ => None,
    })
}

fn trouble(view: &View<'_>) -> Option<String> {
    let labels = text_labels(pod_of(view)?.labels());
    if policies(view).any(|pods| label_selector::matches(pods, &labels)) {
        return None;
    }
    let invalid = policies(view).find_map(label_selector::invalid);
    Some(invalid.map_or_else(
        || "pods created by this object are non-isolated".to_owned(),
        |error| format!("networkpolicy has invalid podSelector: {error}"),
    ))
}

impl Reviewed for NonIsolatedPod {
    const ID: PolicyId = PolicyId::NonIsolatedPod;

    const CHECK: &'static Check = &Check {
        id: "non-isolated-pod",
        severity: Severity::Warning,
        remedy: "Write a NetworkPolicy for the pods.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let place = pod_of(view).map(|pod| pod.metadata_pointer.child("labels"));
        place.and_then(|place| Some((place, trouble(view)?))).into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say who has to reach the pods and whom they have to reach, and write a NetworkPolicy for them into namespace {:?}",
            view.identity.effective_namespace()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Policy as _;
    use super::*;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NonIsolatedPod);
    }

    #[test]
    fn policies_of_the_namespace_are_looked_for() {
        let policy = |namespace: &str, selector: &str| {
            let text = format!(
                "kind: NetworkPolicy\nmetadata: {{name: isolation, namespace: {namespace}}}\nspec: {{podSelector: {selector}}}"
            );
            document(&text)
        };
        let pod = document("kind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {containers: []}");
        for (policy, expected) in [
            (policy("default", "{matchLabels: {app: web}}"), None),
            (policy("default", "{}"), None),
            (
                policy("default", "{matchLabels: {app: db}}"),
                Some("pods created by this object are non-isolated"),
            ),
            (policy("other", "{}"), Some("pods created by this object are non-isolated")),
            (
                policy("default", "{matchExpressions: [{key: a, operator: NotIn}]}"),
                Some(
                    "networkpolicy has invalid podSelector: values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty",
                ),
            ),
        ] {
            let neighbours = Index::new(reference(&policy)).with_references().related(&pod);
            let found = NonIsolatedPod.detect(&View::new(&pod, &neighbours));
            let found: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{policy:?}");
        }
        assert_eq!(messages(&NonIsolatedPod, &pod).len(), 1, "alone");
    }
}
