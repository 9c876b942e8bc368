//! The volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};

use super::super::claims;
use super::super::errors::Errors;
use super::super::meta;
use super::super::node::Node;
use super::super::text;
use super::projected;
use super::sources::{self, Source};

/// What the mounts and devices of containers ask of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A claim, or one that is made for the pod: may be a block device.
    Claim,
    /// The contents of an image.
    Image,
    /// All others.
    Other,
}

/// The volumes that are right, by name.
pub(crate) type Volumes<'v> = BTreeMap<&'v str, Volume>;

/// In the server's order. The paths of some errors are not the fields' names.
const SOURCES: &[Source] = &[
    Source::new("hostPath", sources::host_path),
    Source::new("gitRepo", sources::git_repo),
    Source::new("gcePersistentDisk", sources::gce_disk).checked_as("persistentDisk"),
    Source::new("awsElasticBlockStore", sources::aws_disk),
    Source::new("secret", sources::secret),
    Source::new("nfs", sources::nfs),
    Source::new("iscsi", sources::iscsi),
    Source::new("glusterfs", sources::glusterfs),
    Source::new("flocker", sources::flocker),
    Source::new("persistentVolumeClaim", sources::claim),
    Source::new("rbd", sources::rbd),
    Source::new("cinder", sources::cinder),
    Source::new("cephfs", sources::cephfs).forbidden_as("cephFS"),
    Source::new("quobyte", sources::quobyte),
    Source::new("downwardAPI", projected::downward_volume).forbidden_as("downwarAPI"),
    Source::new("fc", sources::fibre_channel),
    Source::new("flexVolume", sources::flex),
    Source::new("configMap", sources::config_map),
    Source::new("azureFile", sources::azure_file),
    Source::new("vsphereVolume", sources::vsphere),
    Source::new("photonPersistentDisk", sources::photon),
    Source::new("portworxVolume", sources::portworx),
    Source::new("azureDisk", sources::azure_disk),
    Source::new("storageos", sources::storage_os),
    Source::new("projected", projected::projected),
    Source::new("scaleIO", sources::scale_io),
    Source::new("csi", sources::csi),
    Source::new("ephemeral", ephemeral),
    Source::new("image", sources::image),
];

/// Checks the volumes of a pod. `claims` are the templates of a `StatefulSet`, which come first and replace volumes of their
/// names; `pod` is the name of a pod that is no template.
pub(crate) fn volumes<'v>(
    errors: &mut Errors,
    volumes: &Node<'_, 'v>,
    claims: &[&'v str],
    pod: Option<&str>,
) -> Volumes<'v> {
    let mut known = Volumes::new();
    // The server takes the name of a wrong volume for free.
    let mut of_wrong_ones = BTreeSet::new();
    for (index, name) in claims.iter().enumerate() {
        let before = errors.len();
        let at = volumes.index(usize::MAX);
        let at = volumes.moved(index, &at);
        if name.is_empty() {
            errors.required(&at.get("persistentVolumeClaim").get("claimName"), "");
            errors.required(&at.get("name"), "");
        } else {
            errors.check_text(&at.get("name"), name, text::label);
        }
        if errors.len() == before {
            known.insert(name, Volume::Claim);
        }
    }
    let rest = volumes.entries().filter(|volume| !claims.contains(&volume.get("name").str()));
    for (index, volume) in rest.enumerate() {
        let volume = volumes.moved(claims.len() + index, &volume);
        let before = errors.len();
        source(errors, &volume, pod);
        let name = volume.get("name");
        errors.needs_checked(&name, text::label);
        if known.contains_key(name.str()) || of_wrong_ones.contains(name.str()) {
            errors.duplicate(&name);
        }
        if errors.len() == before {
            known.insert(name.str(), kind(&volume));
        } else if errors.is_lenient() {
            of_wrong_ones.insert(name.str());
        }
    }
    if let Some(pod) = pod.filter(|pod| !pod.is_empty()) {
        made_claims(errors, volumes, pod);
    }
    known
}

fn kind(volume: &Node<'_, '_>) -> Volume {
    let has = |name| volume.get(name).is_set();
    if has("persistentVolumeClaim") || has("ephemeral") {
        Volume::Claim
    } else if has("image") {
        Volume::Image
    } else {
        Volume::Other
    }
}

fn source(errors: &mut Errors, volume: &Node<'_, '_>, pod: Option<&str>) {
    let empty = volume.get("emptyDir");
    let mut is_taken = empty.is_set();
    if is_taken {
        sources::empty_dir(errors, &empty);
    }
    for source in SOURCES {
        is_taken |= source.check(errors, volume, is_taken);
    }
    let name = volume.get("name");
    let iscsi = volume.get("iscsi");
    if iscsi.get("initiatorName").is_set()
        && name.str().len() + 1 + iscsi.get("targetPortal").str().len() > 64
    {
        errors.invalid_text(&name, name.str(), sources::ISCSI_TOO_LONG);
    }
    if let Some(pod) = pod.filter(|pod| !pod.is_empty())
        && volume.get("ephemeral").is_set()
        && !name.is_empty()
    {
        let claim = format!("{pod}-{}", name.str());
        for message in text::subdomain(&claim) {
            errors.invalid(&name, &format!("PVC name \"{claim}\": {message}"));
        }
    }
}

fn ephemeral(errors: &mut Errors, ephemeral: &Node<'_, '_>) {
    let template = ephemeral.get("volumeClaimTemplate");
    if !template.is_set() {
        return errors.required(&template, "");
    }
    let metadata = template.get("metadata");
    meta::annotations(errors, &metadata.get("annotations"));
    meta::labels(errors, &metadata.get("labels"));
    for (field, value) in metadata.fields().into_iter().flatten() {
        if !["annotations", "labels"].contains(&field.as_str()) && !is_zero(value) {
            errors.forbidden(&metadata.get(field), "cannot be set");
        }
    }
    claims::template(errors, &template.get("spec"));
}

/// Whether a decoded field holds Go's zero value.
fn is_zero(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A claim that the server makes for an ephemeral volume cannot be used by another volume.
fn made_claims(errors: &mut Errors, volumes: &Node<'_, '_>, pod: &str) {
    for volume in volumes.entries() {
        let claim_volume = volume.get("persistentVolumeClaim");
        let claim = claim_volume.get("claimName");
        let made = |other: Node<'_, '_>| {
            other.get("ephemeral").is_set()
                && claim.str().strip_prefix(pod).and_then(|rest| rest.strip_prefix('-'))
                    == Some(other.get("name").str())
        };
        if claim.is_set() && volumes.entries().any(made) {
            errors.invalid(&claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
}
