//! `access_to_node_proxy`: no role speaks to the kubelet through the API server.
//!
//! # What it checks
//! Rules of `ClusterRoles` (own check `access-to-node-proxy`): no verb on `nodes/proxy` of nodes that are not named. A
//! Role cannot grant it.
//!
//! # Why
//! The kubelet runs commands in every pod of its node, and asks neither admission nor audit of the API server;
//! reading is enough, since a session begins with a GET (CIS Kubernetes Benchmark 5.1.10).
//!
//! # Repair
//! None by rule: collectors of metrics reach the kubelet through it where they were never moved to `nodes/metrics`.
//! Whether one can be moved, its version decides.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}]                 # before
//! rules: [{apiGroups: [''], resources: [nodes/metrics, nodes/stats], verbs: [get]}]  # for a collector of metrics
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToNodeProxy,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "grant nodes/metrics, nodes/stats, nodes/log or nodes/spec instead, which is all that a collector of metrics needs",
};

const CHECK: Check = Check {
    id: "access-to-node-proxy",
    severity: Severity::Error,
    remedy: "Grant nodes/metrics, nodes/stats or nodes/log instead of nodes/proxy.",
};

const POWERS: [Power; 1] = [Power {
    what: "run commands in every pod of every node through the kubelet",
    group: "",
    resources: &["nodes/proxy"],
    verbs: &["get", "create", "update", "patch", "delete"],
    reach: Reach::Cluster,
    named: Named::Narrow,
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fixture_holds, roles_hold};

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn any_verb_counts() {
        roles_hold(
            &POLICY,
            &[
                ("ClusterRole", "{apiGroups: [''], resources: [nodes, nodes/proxy], verbs: [get, list]}", 1),
                ("ClusterRole", "{apiGroups: [''], resources: [nodes/proxy], verbs: ['*']}", 1),
                ("ClusterRole", "{apiGroups: [''], resources: [nodes, nodes/metrics], verbs: [get]}", 0),
                ("ClusterRole", "{apiGroups: [''], resources: [nodes/proxy], verbs: [list, watch]}", 0),
                ("Role", "{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}", 0),
            ],
        );
    }
}
