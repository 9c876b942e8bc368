//! `access_to_admission_webhooks`: no role decides who admits objects.
//!
//! # What it checks
//! Rules of `ClusterRoles` (own check `access-to-admission-webhooks`): no `create`, `update`, `patch` or `delete` on
//! `mutatingwebhookconfigurations` and `validatingwebhookconfigurations`, also where one is named. A Role cannot
//! grant it.
//!
//! # Why
//! A webhook reads every object that passes it, Secrets included, and a mutating one writes it; to remove one turns a
//! guard off (CIS Kubernetes Benchmark 5.1.12).
//!
//! # Repair
//! None by rule: operators that serve a webhook write its certificate into the configuration. Whether that can be
//! left to another, its author knows.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get, patch]}]  # before
//! rules: [{apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get]}]         # where another writes the certificate
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToAdmissionWebhooks,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "leave the configuration to administrators, or let it name the one configuration and give the holder no other task",
};

const CHECK: Check = Check {
    id: "access-to-admission-webhooks",
    severity: Severity::Warning,
    remedy: "Leave the configuration of webhooks to administrators, or name the one configuration.",
};

const POWERS: [Power; 1] = [Power {
    what: "change which webhooks read, change and refuse objects",
    group: "admissionregistration.k8s.io",
    resources: &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
    verbs: &["create", "update", "patch", "delete"],
    reach: Reach::Cluster,
    named: Named::Enough,
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
    fn changes_count_also_of_a_named_one() {
        roles_hold(
            &POLICY,
            &[
                (
                    "ClusterRole",
                    "{apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get, patch], resourceNames: [a]}",
                    1,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: ['*']}",
                    1,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [get, list, watch]}",
                    0,
                ),
                (
                    "Role",
                    "{apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [update]}",
                    0,
                ),
            ],
        );
    }
}
