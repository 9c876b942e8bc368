//! `access_to_create_volumes`: no role makes persistent volumes.
//!
//! # What it checks
//! Rules of `ClusterRoles` (own check `access-to-create-volumes`): no `create` on `persistentvolumes`. A Role cannot
//! grant it.
//!
//! # Why
//! A `PersistentVolume` may be a folder of a node: its maker, with a claim on it, writes there, past the Pod
//! Security Standards (CIS Kubernetes Benchmark 5.1.9).
//!
//! # Repair
//! None by rule: provisioners of storage need it, and other programs claim what those make.
//!
//! # Example
//! ```yaml
//! rules: [{apiGroups: [''], resources: [persistentvolumes, persistentvolumeclaims], verbs: [get, create]}]  # before
//! rules: [{apiGroups: [''], resources: [persistentvolumeclaims], verbs: [get, create]}]                     # where a provisioner makes the volumes
//! ```

use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::rbac::{Grants, Named, Power, Reach};

pub(super) static POLICY: Grants = Grants {
    id: PolicyId::AccessToCreateVolumes,
    checks: &[CHECK],
    powers: &POWERS,
    decide: "leave it to provisioners of storage, and let others claim volumes",
};

const CHECK: Check = Check {
    id: "access-to-create-volumes",
    severity: Severity::Warning,
    remedy: "Claim volumes, and leave it to a provisioner to make them.",
};

const POWERS: [Power; 1] = [Power {
    what: "make a volume of any folder of a node",
    group: "",
    resources: &["persistentvolumes"],
    verbs: &["create"],
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
    fn creation_counts() {
        roles_hold(
            &POLICY,
            &[
                ("ClusterRole", "{apiGroups: [''], resources: [persistentvolumes], verbs: [get, create]}", 1),
                (
                    "ClusterRole",
                    "{apiGroups: [''], resources: [persistentvolumes], verbs: [get, patch, delete]}",
                    0,
                ),
                ("ClusterRole", "{apiGroups: [''], resources: [persistentvolumeclaims], verbs: [create]}", 0),
                ("Role", "{apiGroups: [''], resources: [persistentvolumes], verbs: [create]}", 0),
            ],
        );
    }
}
