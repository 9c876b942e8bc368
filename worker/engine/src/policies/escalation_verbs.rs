//! `escalation_verbs`: no role hands out more than it has.
//!
//! # What it checks
//! Rules of Roles and `ClusterRoles` (own check `escalation-verbs`): no `escalate` on roles, no `bind` on roles that
//! are not named, no `impersonate` of users, groups and service accounts that are not named. `*` among the verbs
//! includes all three.
//!
//! # Why
//! The API server refuses a grant beyond the granter's own rights, but for these verbs: with them a holder becomes an
//! administrator (CIS Kubernetes Benchmark 5.1.8).
//!
//! # Repair
//! None by rule: an operator that makes roles may need one of them, and then for named roles. Which, its author
//! knows.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [get, bind]}]                         # before
//! rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [reader], verbs: [get, bind]}] # where it binds that one
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::EscalationVerbs,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "take the verb out, or name by resourceNames the roles, users or accounts that its holders really need",
};

const CHECK: Check = Check {
    id: "escalation-verbs",
    severity: Severity::Error,
    remedy: "Remove escalate, bind and impersonate, or name the roles and users they are for.",
};

const POWERS: [Power; 5] = [
    Power {
        what: "write more into a Role than they have themselves",
        group: "rbac.authorization.k8s.io",
        resources: &["roles"],
        verbs: &["escalate"],
        reach: Reach::Namespace,
        named: Named::Enough,
    },
    Power {
        what: "write more into a ClusterRole than they have themselves",
        group: "rbac.authorization.k8s.io",
        resources: &["clusterroles"],
        verbs: &["escalate"],
        reach: Reach::Cluster,
        named: Named::Enough,
    },
    Power {
        what: "bind any role to themselves",
        group: "rbac.authorization.k8s.io",
        resources: &["roles", "clusterroles"],
        verbs: &["bind"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
    Power {
        what: "act as any service account",
        group: "",
        resources: &["serviceaccounts"],
        verbs: &["impersonate"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    },
    Power {
        what: "act as any user or group",
        group: "",
        resources: &["users", "groups"],
        verbs: &["impersonate"],
        reach: Reach::Cluster,
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
    fn the_three_verbs_count_where_they_mean_something() {
        roles_hold(
            &POLICY,
            &[
                (
                    "ClusterRole",
                    "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles, roles], verbs: [get, bind, escalate]}",
                    3,
                ),
                (
                    "Role",
                    "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [bind, escalate]}",
                    1,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [bind], resourceNames: [view]}",
                    0,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [escalate], resourceNames: [view]}",
                    1,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: ['*']}",
                    2,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [''], resources: [serviceaccounts, users], verbs: [impersonate, get]}",
                    2,
                ),
                ("Role", "{apiGroups: [''], resources: [users], verbs: [impersonate]}", 0),
                ("ClusterRole", "{apiGroups: [apps], resources: [deployments], verbs: [escalate, bind]}", 0),
            ],
        );
    }
}
