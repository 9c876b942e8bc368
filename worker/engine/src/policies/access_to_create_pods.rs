//! `access_to_create_pods`: pods are made by who needs to.
//!
//! # What it checks
//! A `RoleBinding` or `ClusterRoleBinding` whose role grants `create`, or all verbs, on pods or on what makes them
//! (Deployments, `StatefulSets`, `ReplicaSets`, `DaemonSets`, Jobs), or on all resources; of an aggregated role also the roles
//! that it is put together of (kube-linter `access-to-create-pods`). The role has to be among the manifests.
//!
//! # Why
//! Who makes a pod chooses its service account, its volumes and its node, and so has their rights (CIS Kubernetes
//! Benchmark 5.1.4).
//!
//! # Repair
//! None: what the subjects need, no manifest says.
//!
//! # Example
//! ```yaml
//! rules: [{resources: [pods], verbs: [create]}]   # found, where a binding names the role
//! rules: [{resources: [pods], verbs: [get]}]      # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::access::{self, Access};
use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct AccessToCreatePods;

const ACCESS: Access = Access {
    resources: &["daemonsets", "deployments", "jobs", "pods", "replicasets", "statefulsets"],
    verbs: &["create"],
};

impl Reviewed for AccessToCreatePods {
    const ID: PolicyId = PolicyId::AccessToCreatePods;

    const CHECK: &'static Check = &Check {
        id: "access-to-create-pods",
        severity: Severity::Error,
        remedy: "Take create on pods and workloads away from who does not need it.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        access::violations(view, &ACCESS)
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say whether the subjects make pods, and take create away where they do not: {}",
            access::granted(view, &ACCESS)
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
        fixture_holds(&AccessToCreatePods);
    }

    #[test]
    fn create_on_what_makes_pods_is_found() {
        for (kind, rule, expected) in [
            (
                "Role",
                "{resources: [pods, jobs], verbs: [get, create]}",
                Some("role that has [create] access to [pods jobs]"),
            ),
            (
                "ClusterRole",
                "{resources: ['*'], verbs: ['*']}",
                Some("clusterrole that has [*] access to [*]"),
            ),
            ("ClusterRole", "{resources: [pods], verbs: [get, list, watch]}", None),
            ("Role", "{resources: [pods/log], verbs: [create]}", None),
        ] {
            let role = document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r}}\nrules: [{rule}]"
            ));
            let binding = document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {{name: b}}\nroleRef: {{kind: {kind}, name: r}}"
            ));
            let neighbours = Index::new(reference(&role)).with_references().related(&binding);
            let found = AccessToCreatePods.detect(&View::new(&binding, &neighbours));
            let found: Vec<String> = found.into_iter().map(|found| found.message).collect();
            let expected: Vec<String> =
                expected.iter().map(|what| format!("binding to \"r\" {what}")).collect();
            assert_eq!(found, expected, "{rule}");
            assert_eq!(messages(&AccessToCreatePods, &role), Vec::<String>::new());
        }
    }
}
