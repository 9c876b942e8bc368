//! `access_to_create_tokens`: no role makes tokens for any service account.
//!
//! # What it checks
//! Rules of Roles and `ClusterRoles` (own check `access-to-create-tokens`): no `create` on `serviceaccounts/token` of
//! accounts that are not named.
//!
//! # Why
//! A token of a service account is that account, for as long as was asked for, also outside the cluster (CIS
//! Kubernetes Benchmark 5.1.13).
//!
//! # Repair
//! None by rule: the accounts that its holder may be are known to its author, and belong into `resourceNames`.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}]                          # before
//! rules: [{apiGroups: [''], resources: [serviceaccounts/token], resourceNames: [issuer], verbs: [create]}]  # for that account
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToCreateTokens,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "name by resourceNames the accounts whose tokens its holders make, or take the subresource out",
};

const CHECK: Check = Check {
    id: "access-to-create-tokens",
    severity: Severity::Warning,
    remedy: "Name the service accounts by resourceNames, or remove serviceaccounts/token.",
};

const POWERS: [Power; 1] = [Power {
    what: "make tokens for any service account",
    group: "",
    resources: &["serviceaccounts/token"],
    verbs: &["create"],
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
    fn accounts_that_are_not_named_count() {
        roles_hold(
            &POLICY,
            &[
                ("Role", "{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}", 1),
                ("ClusterRole", "{apiGroups: [''], resources: ['*'], verbs: [create]}", 1),
                ("Role", "{apiGroups: [''], resources: [serviceaccounts], verbs: [create]}", 0),
                (
                    "Role",
                    "{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create], resourceNames: [a]}",
                    0,
                ),
            ],
        );
    }
}
