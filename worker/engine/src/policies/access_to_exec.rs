//! `access_to_exec`: no role reaches into running pods.
//!
//! # What it checks
//! Rules of Roles and `ClusterRoles` (own check `access-to-exec`): neither `create` nor `get` on `pods/exec`,
//! `pods/attach` and `pods/portforward` of pods that are not named. API servers take either verb for a session, by
//! the protocol of the client.
//!
//! # Why
//! A command in a pod has what the pod has: it reads its secrets, uses its service account, connects from its
//! network.
//!
//! # Repair
//! None by rule: for people who debug it is what the role is for. Who they are, and in which namespaces, others
//! decide.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [''], resources: [pods, pods/exec], verbs: [get, list, create]}]  # before
//! rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]                     # where it is not for debugging
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToExec,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "take the subresources out where its holders do not debug pods, else bind the role in the namespaces of those pods alone",
};

const CHECK: Check = Check {
    id: "access-to-exec",
    severity: Severity::Warning,
    remedy: "Remove pods/exec, pods/attach and pods/portforward.",
};

const POWERS: [Power; 1] = [Power {
    what: "run commands in pods, or speak to them past the network's policies",
    group: "",
    resources: &["pods/exec", "pods/attach", "pods/portforward"],
    verbs: &["create", "get"],
    reach: Reach::Namespace,
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
    fn sessions_in_pods_count() {
        roles_hold(
            &POLICY,
            &[
                ("Role", "{apiGroups: [''], resources: [pods, pods/exec], verbs: [create]}", 1),
                ("Role", "{apiGroups: [''], resources: [pods/attach, pods/portforward], verbs: [get]}", 1),
                ("Role", "{apiGroups: [''], resources: [pods/log, pods], verbs: ['*']}", 0),
                ("Role", "{apiGroups: [''], resources: ['*/exec'], verbs: ['*']}", 1),
                (
                    "Role",
                    "{apiGroups: [''], resources: [pods/exec], verbs: [create], resourceNames: [web-0]}",
                    0,
                ),
                ("Role", "{apiGroups: [''], resources: [pods/exec], verbs: [delete]}", 0),
            ],
        );
    }
}
