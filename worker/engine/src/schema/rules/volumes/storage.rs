//! The source of a persistent volume.

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use super::sources::{self, Source};

/// In the server's order.
const SOURCES: &[Source] = &[
    Source::new("hostPath", sources::host_path),
    Source::new("gcePersistentDisk", sources::gce_disk).checked_as("persistentDisk"),
    Source::new("awsElasticBlockStore", sources::aws_disk),
    Source::new("glusterfs", glusterfs),
    Source::new("flocker", sources::flocker),
    Source::new("nfs", sources::nfs),
    Source::new("rbd", sources::rbd),
    Source::new("quobyte", sources::quobyte),
    Source::new("cephfs", sources::cephfs).forbidden_as("cephFS"),
    Source::new("iscsi", iscsi),
    Source::new("cinder", cinder),
    Source::new("fc", sources::fibre_channel),
];
const LATER_SOURCES: &[Source] = &[
    Source::new("azureFile", azure_file),
    Source::new("vsphereVolume", sources::vsphere),
    Source::new("photonPersistentDisk", sources::photon),
    Source::new("portworxVolume", sources::portworx),
    Source::new("azureDisk", sources::azure_disk),
    Source::new("scaleIO", sources::scale_io),
    Source::new("local", local),
    Source::new("storageos", storage_os),
    Source::new("csi", csi),
];

/// Checks that a persistent volume has exactly one source, and the source.
pub(crate) fn persistent_source(errors: &mut Errors, spec: &Node<'_, '_>) {
    let mut is_taken = false;
    for source in SOURCES {
        is_taken |= source.check(errors, spec, is_taken);
    }
    // The server never counts this one as the second.
    let flex = spec.get("flexVolume");
    if flex.is_set() {
        sources::flex(errors, &flex);
        is_taken = true;
    }
    for source in LATER_SOURCES {
        let is_first = !is_taken;
        let is_set = source.check(errors, spec, is_taken);
        is_taken |= is_set;
        if is_set && is_first && source.is_field("local") && !spec.get("nodeAffinity").is_set() {
            errors.required(&spec.get("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !is_taken {
        errors.required(spec, "must specify a volume type");
    }
}

fn needs_both(errors: &mut Errors, secret: &Node<'_, '_>) {
    if secret.is_set() {
        errors.needs(&secret.get("name"));
        errors.needs(&secret.get("namespace"));
    }
}

fn glusterfs(errors: &mut Errors, source: &Node<'_, '_>) {
    sources::glusterfs(errors, source);
    let namespace = source.get("endpointsNamespace");
    match namespace.text() {
        Some("") => {
            errors.invalid(&namespace, "if the endpointnamespace is set, it must be a valid namespace name");
        }
        Some(_) => errors.check(&namespace, text::label),
        None => {}
    }
}

fn iscsi(errors: &mut Errors, source: &Node<'_, '_>) {
    sources::iscsi(errors, source);
    let secret = source.get("secretRef");
    if secret.is_set() {
        errors.needs(&secret.get("name"));
    }
}

fn cinder(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("volumeID"));
    needs_both(errors, &source.get("secretRef"));
}

fn azure_file(errors: &mut Errors, source: &Node<'_, '_>) {
    sources::azure_file(errors, source);
    let namespace = source.get("secretNamespace");
    if namespace.is_set() {
        errors.needs(&namespace);
    }
}

fn local(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs_checked(&source.get("path"), text::no_backsteps);
}

fn storage_os(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs_checked(&source.get("volumeName"), text::label);
    errors.check_if_any(&source.get("volumeNamespace"), text::label);
    needs_both(errors, &source.get("secretRef"));
}

fn csi(errors: &mut Errors, source: &Node<'_, '_>) {
    sources::csi_driver(errors, &source.get("driver"));
    errors.needs(&source.get("volumeHandle"));
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let secret = source.get(field);
        if secret.is_set() {
            errors.needs_checked(&secret.get("name"), text::subdomain);
            errors.needs_checked(&secret.get("namespace"), text::label);
        }
    }
}
