//! `no_node_affinity`: it is said on which nodes pods run.
//!
//! # What it checks
//! A workload whose pods have no `affinity.nodeAffinity` (kube-linter `no-node-affinity`).
//!
//! # Why
//! Without it the scheduler may take any node, among them ones without the disks, accelerators or zone that the program
//! needs (Kubernetes documentation, *Assigning Pods to Nodes*).
//!
//! # Repair
//! None: which nodes there are, and which of them the program needs, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {containers: [{name: web}]}                                    # found
//! spec: {affinity: {nodeAffinity: {…}}, containers: [{name: web}]}     # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use super::workload::pod_of;
use crate::k8s::View;

pub(super) struct NoNodeAffinity;

const MESSAGE: &str = "object does not define any node affinity rules.";

impl Reviewed for NoNodeAffinity {
    const ID: PolicyId = PolicyId::NoNodeAffinity;

    const CHECK: &'static Check = &Check {
        id: "no-node-affinity",
        severity: Severity::Warning,
        remedy: "Say by node affinity on which nodes the pods may run.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let Some(pod) = pod_of(view) else { return Vec::new() };
        let affinity = pod.spec.get("affinity").and_then(|affinity| affinity.get("nodeAffinity"));
        let is_missing = affinity.is_none_or(Value::is_null);
        let place = pod.pointer.join(&["affinity", "nodeAffinity"]);
        is_missing.then(|| (place, MESSAGE.to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which nodes the program needs, by labels that the nodes of the cluster have, and set affinity.nodeAffinity".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoNodeAffinity);
    }

    #[test]
    fn rules_about_nodes_are_looked_for() {
        for (affinity, count) in [
            ("null", 1),
            ("{podAntiAffinity: {}}", 1),
            ("{nodeAffinity: null}", 1),
            ("{nodeAffinity: {}}", 0),
        ] {
            let pod = document(&format!("kind: Pod\nspec: {{affinity: {affinity}}}"));
            assert_eq!(messages(&NoNodeAffinity, &pod).len(), count, "{affinity}");
        }
        assert_eq!(messages(&NoNodeAffinity, &document("kind: Service\nspec: {}")), Vec::<String>::new());
    }
}
