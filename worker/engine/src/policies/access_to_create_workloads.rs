//! `access_to_create_workloads`: no role makes pods, or what makes pods.
//!
//! # What it checks
//! Rules of Roles and `ClusterRoles` (own check `access-to-create-workloads`): no `create` on pods, replication
//! controllers, and the workloads of `apps`, `batch` and the former `extensions`. kube-linter's `access-to-create-
//! pods` looks at bindings, and knows neither `CronJobs` nor `ReplicationControllers`.
//!
//! # Why
//! A pod mounts any Secret, and runs as any service account, of its namespace, so that a maker of pods has all of
//! them (CIS Kubernetes Benchmark 5.1.4).
//!
//! # Repair
//! None by rule: deploying is what such a role is for. In which namespaces, and by whom, others decide.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, create]}]  # before
//! rules: [{apiGroups: [apps], resources: [deployments], verbs: [get]}]          # where another deploys
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToCreateWorkloads,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "take create out where its holders do not deploy, else bind the role in namespaces whose Secrets and accounts they may use",
};

const CHECK: Check = Check {
    id: "access-to-create-workloads",
    severity: Severity::Warning,
    remedy: "Remove create, or bind the role in namespaces that hold nothing else.",
};

const POWERS: [Power; 4] = [
    Power {
        what: "make pods, and so use every Secret and account of their namespace",
        group: "",
        resources: &["pods", "replicationcontrollers"],
        verbs: &["create"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
    Power {
        what: "make workloads, and so use every Secret and account of their namespace",
        group: "apps",
        resources: &["daemonsets", "deployments", "replicasets", "statefulsets"],
        verbs: &["create"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
    Power {
        what: "make jobs, and so use every Secret and account of their namespace",
        group: "batch",
        resources: &["cronjobs", "jobs"],
        verbs: &["create"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
    Power {
        what: "make workloads of the former extensions group",
        group: "extensions",
        resources: &["daemonsets", "deployments", "replicasets"],
        verbs: &["create"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fixture_holds, roles_hold};

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn everything_that_makes_pods_counts() {
        roles_hold(
            &POLICY,
            &[
                ("Role", "{apiGroups: [''], resources: [pods, replicationcontrollers], verbs: [create]}", 1),
                ("Role", "{apiGroups: [apps, extensions], resources: [deployments], verbs: ['*']}", 2),
                ("Role", "{apiGroups: [batch], resources: [cronjobs], verbs: [create]}", 1),
                ("Role", "{apiGroups: [''], resources: [deployments, pods/log], verbs: [create]}", 0),
                ("Role", "{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}", 0),
            ],
        );
    }
}
