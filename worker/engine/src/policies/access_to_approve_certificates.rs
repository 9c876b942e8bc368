//! `access_to_approve_certificates`: no role approves certificates.
//!
//! # What it checks
//! Rules of `ClusterRoles` (own check `access-to-approve-certificates`): neither `update` nor `patch` on
//! `certificatesigningrequests/approval`. A Role cannot grant it.
//!
//! # Why
//! A certificate that the cluster signs is a user of the cluster, and the approver of the request chooses which (CIS
//! Kubernetes Benchmark 5.1.11).
//!
//! # Repair
//! None by rule: a controller that approves requests needs it, for its own signers, which a rule on `signers` names.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [update]}]  # before
//! rules: [{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [get, list]}]        # where others approve
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToApproveCertificates,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "leave it to the controller that approves requests, and name its signers in the rule on signers",
};

const CHECK: Check = Check {
    id: "access-to-approve-certificates",
    severity: Severity::Warning,
    remedy: "Remove certificatesigningrequests/approval, or bind the role to the approving controller alone.",
};

const POWERS: [Power; 1] = [Power {
    what: "approve certificates, and so make users of the cluster",
    group: "certificates.k8s.io",
    resources: &["certificatesigningrequests/approval"],
    verbs: &["update", "patch"],
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
    fn approval_counts() {
        roles_hold(
            &POLICY,
            &[
                (
                    "ClusterRole",
                    "{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests, certificatesigningrequests/approval], verbs: [get, update]}",
                    1,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [update, create]}",
                    0,
                ),
                (
                    "ClusterRole",
                    "{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [get]}",
                    0,
                ),
                (
                    "Role",
                    "{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [update]}",
                    0,
                ),
            ],
        );
    }
}
