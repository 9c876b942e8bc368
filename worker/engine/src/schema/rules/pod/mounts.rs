//! Mounts and block devices of containers. The server places some errors at the list, without an index.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use super::super::volumes::{Volume, Volumes};

/// `volumeMounts` and `volumeDevices` of a container.
pub(super) fn check(errors: &mut Errors, container: &Node<'_, '_>, volumes: &Volumes<'_>) {
    let (mounts, devices) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let mut paths = BTreeSet::new();
    for mount in mounts.entries() {
        place(errors, &mount, &devices, volumes, &mut paths);
        options(errors, container, &mounts, &mount);
    }
    block_devices(errors, &devices, &mounts, volumes);
}

fn is_any(list: &Node<'_, '_>, field: &str, text: &str) -> bool {
    list.entries().any(|entry| entry.get(field).str() == text)
}

fn place<'v>(
    errors: &mut Errors,
    mount: &Node<'_, 'v>,
    devices: &Node<'_, '_>,
    volumes: &Volumes<'_>,
    paths: &mut BTreeSet<&'v str>,
) {
    let (name, path) = (mount.get("name"), mount.get("mountPath"));
    errors.needs(&name);
    if !volumes.contains_key(name.str()) {
        errors.not_found(&name, name.str());
    }
    errors.needs(&path);
    if !paths.insert(path.str()) {
        errors.invalid_text(&path, path.str(), "must be unique");
    }
    if is_any(devices, "name", name.str()) {
        errors.invalid_text(&name, name.str(), "must not already exist in volumeDevices");
    }
    if is_any(devices, "devicePath", path.str()) {
        errors.invalid_text(&path, path.str(), "must not already exist as a path in volumeDevices");
    }
}

fn options(errors: &mut Errors, container: &Node<'_, '_>, mounts: &Node<'_, '_>, mount: &Node<'_, '_>) {
    let (path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    errors.check_text(&mounts.get("subPath"), path.str(), text::descending_path);
    if !expression.is_empty() {
        if !path.is_empty() {
            errors.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
        }
        errors.check_text(&mounts.get("subPathExpr"), expression.str(), text::descending_path);
    }
    let propagation = mount.get("mountPropagation");
    if propagation.is_set() {
        let at = mounts.get("mountPropagation");
        errors.one_of(&at.in_place_of(&propagation), &["Bidirectional", "HostToContainer", "None"]);
        let is_privileged = container.get("securityContext").get("privileged").is_true();
        if propagation.str() == "Bidirectional" && !is_privileged {
            errors
                .forbidden(&at, "Bidirectional mount propagation is available only to privileged containers");
        }
    }
    let recursive = mount.get("recursiveReadOnly");
    let at = mounts.get("recursiveReadOnly");
    match recursive.text() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.get("readOnly").is_true() {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
            if propagation.text().is_some_and(|text| text != "None") {
                errors.forbidden(&at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(_) => {
            errors.unsupported(&at.in_place_of(&recursive), &["Disabled", "Enabled", "IfPossible"]);
        }
    }
}

fn block_devices(errors: &mut Errors, devices: &Node<'_, '_>, mounts: &Node<'_, '_>, volumes: &Volumes<'_>) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for device in devices.entries() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        errors.needs(&name);
        if !name.is_empty() && !names.insert(name.str()) {
            errors.invalid(&name, "must be unique");
        }
        match volumes.get(name.str()) {
            None => errors.not_found(&name, name.str()),
            Some(Volume::Claim) => {}
            Some(_) => errors.invalid(
                &name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ),
        }
        errors.needs(&path);
        if paths.contains(path.str()) {
            errors.invalid_text(&path, path.str(), "must be unique");
        }
        if text::no_backsteps(path.str()).is_empty() {
            paths.insert(path.str());
        } else {
            errors.invalid(&path, "can not contain backsteps ('..')");
        }
        if is_any(mounts, "name", name.str()) {
            errors.invalid_text(&name, name.str(), "must not already exist in volumeMounts");
        }
        if is_any(mounts, "mountPath", path.str()) {
            errors.invalid_text(&path, path.str(), "must not already exist as a path in volumeMounts");
        }
    }
}
