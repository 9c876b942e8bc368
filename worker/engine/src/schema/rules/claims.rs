//! Claims of storage.

use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;
use crate::k8s::quantity::Quantity;

/// How often a volume may be mounted.
const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Whether a volume is a file system or a device.
pub(crate) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// A `PersistentVolumeClaim`.
pub(crate) fn claim(errors: &mut Errors, claim: &Node<'_, '_>) {
    meta::object(errors, claim, Naming::SUBDOMAIN);
    let own = claim.get("spec");
    body(errors, &own);
    normalized_sources(errors, &own);
}

/// Access modes: each of the known ones, and `ReadWriteOncePod` alone.
pub(crate) fn access_modes(errors: &mut Errors, modes: &Node<'_, '_>) {
    let (mut is_single, mut is_other) = (false, false);
    for mode in modes.texts() {
        if !ACCESS_MODES.contains(&mode) {
            errors.unsupported_text(modes, mode, ACCESS_MODES);
        } else if mode == "ReadWriteOncePod" {
            is_single = true;
        } else {
            is_other = true;
        }
    }
    if is_single && is_other {
        errors.forbidden(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

/// The spec of a claim in a template.
pub(crate) fn template(errors: &mut Errors, spec: &Node<'_, '_>) {
    body(errors, spec);
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    if source.is_set() {
        data_source(errors, &source);
    }
    let namespace = reference.get("namespace");
    if reference.is_set() {
        data_source(errors, &reference);
        errors.check_if_any(&namespace, text::label);
    }
    if !namespace.is_empty() && source.is_set() {
        differ(errors, spec, "may not be specified when dataSourceRef.namespace is specified");
    } else if source.is_set() && reference.is_set() && !is_same(&source, &reference) {
        differ(errors, spec, "must match dataSourceRef");
    }
}

fn body(errors: &mut Errors, spec: &Node<'_, '_>) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.required(&modes, "at least 1 access mode is required");
    }
    meta::selector(errors, &spec.get("selector"));
    access_modes(errors, &modes);
    storage(errors, spec);
    errors.check_if_any(&spec.get("storageClassName"), text::subdomain);
    errors.one_of(&spec.get("volumeMode"), VOLUME_MODES);
    errors.check_if_any(&spec.get("volumeAttributesClassName"), text::subdomain);
}

fn storage(errors: &mut Errors, spec: &Node<'_, '_>) {
    let resources = spec.get("resources");
    let requests = resources.get("requests");
    let at = resources.key("storage");
    let is_named = requests.fields().is_some_and(|fields| fields.contains_key("storage"));
    if !is_named {
        return errors.required(&at, "");
    }
    let asked = requests.key("storage");
    let amount = asked.value().and_then(Quantity::of).unwrap_or(Quantity::ZERO);
    if !amount.is_positive() {
        errors.invalid_text(&at, &shown(&asked), "must be greater than zero");
    }
}

/// A quantity as it was written.
pub(crate) fn shown(quantity: &Node<'_, '_>) -> String {
    match quantity.value() {
        None => "0".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The server names both fields by their path.
fn differ(errors: &mut Errors, spec: &Node<'_, '_>, detail: &str) {
    errors.invalid_text(spec, &spec.get("dataSource").to_string(), detail);
}

fn is_same(source: &Node<'_, '_>, reference: &Node<'_, '_>) -> bool {
    ["apiGroup", "kind", "name"].iter().all(|key| source.get(key).str() == reference.get(key).str())
}

/// The sources of a claim that is no template: of the two fields, the server fills in the one that lacks.
fn normalized_sources(errors: &mut Errors, spec: &Node<'_, '_>) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    let group = |node: &Node<'_, '_>| node.get("apiGroup").str().to_owned();
    let crosses = !reference.get("namespace").is_empty();
    // A claim or a snapshot; the server drops all other sources of new claims, and references to other namespaces.
    let is_kept = |node: &Node<'_, '_>| {
        matches!(
            (group(node).as_str(), node.get("kind").str()),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    let reference = reference.is_set().then_some(reference).filter(|_| !crosses);
    let source = source.is_set().then_some(source).filter(|source| reference.is_some() || is_kept(source));
    match (&source, &reference) {
        (Some(source), Some(reference)) => {
            data_source(errors, source);
            data_source(errors, reference);
            if !is_same(source, reference) {
                differ(errors, spec, "must match dataSourceRef");
            }
        }
        // The server copies one to the other.
        (Some(one), None) | (None, Some(one)) => {
            data_source(errors, &spec.get("dataSource").in_place_of(one));
            data_source(errors, &spec.get("dataSourceRef").in_place_of(one));
        }
        (None, None) => {}
    }
}

fn data_source(errors: &mut Errors, source: &Node<'_, '_>) {
    let (group, kind) = (source.get("apiGroup"), source.get("kind"));
    errors.needs(&source.get("name"));
    errors.needs(&kind);
    if group.is_empty() && kind.str() != "PersistentVolumeClaim" {
        errors.invalid_text(
            source,
            kind.str(),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    errors.check_if_any(&group, text::subdomain);
}
