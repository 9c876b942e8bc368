//! `restricted_volumes`: a pod mounts volumes by claims and names no storage system itself.
//!
//! # What it checks
//! The type of every volume (own check `restricted-volumes`; the control *Volume Types* of the Pod Security Standards,
//! *Restricted*): one of `configMap`, `csi`, `downwardAPI`, `emptyDir`, `ephemeral`, `image`, `persistentVolumeClaim`,
//! `projected`, `secret`. `no_host_path` checks `hostPath`. A volume that names no type is an `emptyDir`.
//!
//! # Why
//! With a type such as `nfs` or `iscsi` the author of the pod chooses the server that the node connects to, past what the
//! cluster's administrators offer.
//!
//! # Repair
//! None by rule: the data must stay reachable, by a `PersistentVolume` that an administrator makes and a claim on it.
//!
//! # Example
//! ```yaml
//! volumes: [{name: data, nfs: {server: files, path: /data}}]                # before
//! volumes: [{name: data, persistentVolumeClaim: {claimName: shared-data}}]  # with a claim on a volume of that server
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Severity};
use super::message::quoted;
use super::pod_security::{field, text};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct RestrictedVolumes;

const CHECK: Check = Check {
    id: "restricted-volumes",
    severity: Severity::Warning,
    remedy: "Claim a PersistentVolume instead of naming the storage system in the pod.",
};

const ALLOWED: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The types that are not allowed, but for `hostPath`.
const REFUSED: [&str; 20] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// The type of a volume, where it is not allowed.
fn refused(volume: &Map<String, Value>) -> Option<&'static str> {
    let has = |kind: &&&str| field(volume, kind).is_some();
    if ALLOWED.iter().any(|kind| has(&kind)) {
        return None;
    }
    REFUSED.iter().find(has).copied()
}

impl Reviewed for RestrictedVolumes {
    const ID: PolicyId = PolicyId::RestrictedVolumes;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let mut found = Vec::new();
        for pod in &view.pods {
            for (index, volume) in pod.maps("volumes") {
                let Some(kind) = refused(volume) else { continue };
                let message = format!("volume {} is of the type {kind}", quoted(text(volume, "name")));
                found.push((pod.pointer.child("volumes").index(index).child(kind), message));
            }
        }
        found
    }

    fn reason(&self, view: &View<'_>) -> String {
        let mut volumes = view.pods.iter().flat_map(|pod| pod.maps("volumes"));
        if volumes.any(|(_, volume)| refused(volume) == Some("gitRepo")) {
            return "fetch the repository into an emptyDir by an init container, whose image is yours to choose; claim what other \
                    volumes hold"
                .to_owned();
        }
        "make a PersistentVolume for what the volume holds (with the driver that replaces the type, where it is deprecated), \
         claim it, and mount the claim"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&RestrictedVolumes);
    }

    #[test]
    fn types_are_told_apart() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}], volumes: [{name: a, nfs: {server: s, path: /}}, {name: b}, {name: c, hostPath: {path: /}}, {name: d, emptyDir: null, gitRepo: {repository: r}}, {name: e, csi: {driver: d}}, {name: f, configMap: {name: x}, rbd: {}}, null, {name: g, iscsi: {}}]}",
        );
        assert_eq!(
            messages(&RestrictedVolumes, &document),
            [
                r#"volume "a" is of the type nfs"#,
                r#"volume "d" is of the type gitRepo"#,
                r#"volume "g" is of the type iscsi"#
            ]
        );
    }
}
