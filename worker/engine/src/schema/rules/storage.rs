//! Persistent volumes, storage classes, and what CSI drivers register.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{self, VOLUME_MODES};
use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::pod;
use super::resources;
use super::text;
use super::volumes;

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETER_BYTES: usize = 256 << 10;

/// A `PersistentVolume`.
pub(crate) fn volume(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let spec = object.get("spec");
    errors.needs(&spec.get("accessModes"));
    claims::access_modes(errors, &spec.get("accessModes"));
    capacity(errors, &spec.get("capacity"));
    let reclaim = spec.get("persistentVolumeReclaimPolicy");
    errors.one_of_or_default(&reclaim, &["Delete", "Recycle", "Retain"]);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.get("required");
        if required.is_set() {
            pod::node_terms(errors, &required);
        } else {
            errors.required(&required, "must specify required node constraints");
        }
    }
    volumes::persistent_source(errors, &spec);
    let host = spec.get("hostPath");
    if host.is_set() && is_root(host.get("path").str()) && reclaim.str() == "Recycle" {
        errors.forbidden(&reclaim, "may not be 'recycle' for a hostPath mount of '/'");
    }
    errors.check_if_any(&spec.get("storageClassName"), text::subdomain);
    errors.one_of(&spec.get("volumeMode"), VOLUME_MODES);
    let class = spec.get("volumeAttributesClassName");
    if class.is_set() {
        if class.is_empty() {
            errors.required(&class, "an empty string is disallowed");
        } else {
            errors.check(&class, text::subdomain);
        }
        if !spec.get("csi").is_set() {
            errors.required(&spec.get("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| ["", "."].contains(&part))
}

fn capacity(errors: &mut Errors, capacity: &Node<'_, '_>) {
    errors.needs(capacity);
    let has_storage = capacity.fields().is_some_and(|fields| fields.contains_key("storage"));
    if !has_storage || capacity.len() > 1 {
        errors.unsupported(capacity, &["storage"]);
    }
    for (_, amount) in capacity.pairs() {
        let value = resources::amount(&amount);
        if value.value() < 0 {
            errors.invalid_text(&amount, &claims::shown(&amount), "must be a valid resource quantity");
        }
        if !value.is_positive() {
            errors.invalid_text(&amount, &claims::shown(&amount), "must be greater than zero");
        }
    }
}

/// A `StorageClass`.
pub(crate) fn class(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    provisioner(errors, &object.get("provisioner"));
    parameters(errors, &object.get("parameters"));
    errors.one_of_or_default(&object.get("reclaimPolicy"), &["Delete", "Retain"]);
    errors.one_of(&object.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    topologies(errors, &object.get("allowedTopologies"));
}

fn provisioner(errors: &mut Errors, at: &Node<'_, '_>) {
    if errors.needs(at) {
        errors.check_text(at, &at.str().to_lowercase(), text::qualified);
    }
}

fn parameters(errors: &mut Errors, parameters: &Node<'_, '_>) {
    if parameters.len() > MAX_PARAMETERS {
        return errors.too_long(parameters, MAX_PARAMETERS);
    }
    let mut size = 0;
    for (key, value) in parameters.pairs() {
        if key.is_empty() {
            errors.invalid_text(parameters, key, "field can not be empty.");
        }
        size += key.len() + value.str().len();
    }
    if size > MAX_PARAMETER_BYTES {
        errors.too_long(parameters, MAX_PARAMETER_BYTES);
    }
}

fn topologies(errors: &mut Errors, terms: &Node<'_, '_>) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in terms.entries() {
        let expressions = term.get("matchLabelExpressions");
        let mut labels = BTreeMap::new();
        for expression in expressions.entries() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            errors.needs(&values);
            let mut set = BTreeSet::new();
            for value in values.entries() {
                if !set.insert(value.str()) {
                    errors.duplicate(&value);
                }
            }
            errors.check(&key, text::qualified);
            if labels.insert(key.str(), set).is_some() {
                errors.duplicate_text(&key, key.str());
            }
        }
        // The server compares with empty terms too.
        if labels.is_empty() || seen.contains(&labels) {
            errors.duplicate_text(&expressions, "");
        }
        seen.push(labels);
    }
}

/// A `VolumeAttributesClass`.
pub(crate) fn attributes_class(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    provisioner(errors, &object.get("driverName"));
    let values = object.get("parameters");
    parameters(errors, &values);
    if values.is_empty() {
        errors.required(&values, "must contain at least one key/value pair");
    }
}

/// A `CSIDriver`.
pub(crate) fn csi_driver(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let spec = object.get("spec");
    errors.one_of(&spec.get("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"]);
    let tokens = spec.get("tokenRequests");
    let mut audiences = BTreeSet::new();
    for token in tokens.entries() {
        let (audience, seconds) = (token.get("audience"), token.get("expirationSeconds"));
        if !audiences.insert(audience.str()) {
            errors.duplicate_text(&audience, audience.str());
            continue;
        }
        if seconds.int().is_some_and(|seconds| seconds < 600) {
            errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds.int().is_some_and(|seconds| seconds > 1 << 32) {
            errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.texts() {
        if !["Persistent", "Ephemeral"].contains(&mode) {
            errors.unsupported_text(&modes, mode, &["Persistent", "Ephemeral"]);
        }
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|seconds| seconds < 10) {
        errors.invalid(&period, "must be greater than or equal to 10");
    }
    let in_secrets = spec.get("serviceAccountTokenInSecrets");
    if in_secrets.is_set() && tokens.is_empty() {
        errors.invalid(&in_secrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
    }
}

/// A `CSINode`.
pub(crate) fn csi_node(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let spec = object.get("spec");
    let mut names = BTreeSet::new();
    for driver in spec.get("drivers").entries() {
        let (name, id) = (driver.get("name"), driver.get("nodeID"));
        if errors.needs(&name) {
            errors.at_most_bytes(&name, 63);
            errors.check(&name, text::subdomain_any_case);
        }
        errors.needs(&id);
        if id.str().len() > 256 {
            errors.invalid(&id, "must be 256 characters or less");
        }
        errors.not_negative(&driver.get("allocatable").get("count"));
        if !names.insert(name.str()) {
            errors.duplicate_text(&name, name.str());
        }
        let mut keys = BTreeSet::new();
        for key in driver.get("topologyKeys").texts() {
            if key.is_empty() {
                errors.required(&driver, "");
            }
            if !keys.insert(key) {
                errors.duplicate_text(&driver, key);
            }
            errors.check_text(&driver, key, text::qualified);
        }
    }
}

/// A `CSIStorageCapacity`.
pub(crate) fn csi_capacity(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    meta::selector(errors, &object.get("nodeTopology"));
    errors.check(&object.get("storageClassName"), text::subdomain);
    let capacity = object.get("capacity");
    if resources::amount(&capacity).is_negative() {
        errors.invalid(&capacity, "must be greater than or equal to 0");
    }
}

/// A `VolumeAttachment`.
pub(crate) fn attachment(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let spec = object.get("spec");
    let attacher = spec.get("attacher");
    if errors.needs(&attacher) {
        errors.at_most_bytes(&attacher, 63);
        errors.check(&attacher, text::subdomain_any_case);
    }
    let source = spec.get("source");
    let (name, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
    if name.is_set() == inline.is_set() {
        errors.required(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    } else if name.is_set() {
        if name.is_empty() {
            errors.required(&name, "must specify non empty persistentVolumeName");
        }
        errors.check(&name, text::subdomain);
    }
    errors.check(&spec.get("nodeName"), text::subdomain);
}
