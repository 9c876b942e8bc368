//! Volumes whose files come from several objects.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::meta;
use super::super::node::Node;
use super::super::references;
use super::super::text;
use super::sources::{file_mode, key_to_path};

pub(super) fn downward_volume(errors: &mut Errors, source: &Node<'_, '_>) {
    file_mode(errors, &source.get("defaultMode"));
    for file in source.get("items").entries() {
        downward_file(errors, &source.in_place_of(&file));
    }
}

/// A file that holds a field of the pod.
fn downward_file(errors: &mut Errors, file: &Node<'_, '_>) {
    errors.needs(&file.get("path"));
    errors.check(&file.get("path"), text::unreserved_path);
    let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
    if field.is_set() {
        references::field(errors, &field, references::FILE_FIELDS);
        if resource.is_set() {
            errors.invalid_text(
                file,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            );
        }
    } else if resource.is_set() {
        references::resource(errors, &resource, true);
    } else {
        errors.required(file, "one of fieldRef and resourceFieldRef is required");
    }
    file_mode(errors, &file.get("mode"));
}

pub(super) fn projected(errors: &mut Errors, projected: &Node<'_, '_>) {
    file_mode(errors, &projected.get("defaultMode"));
    let mut paths = BTreeSet::new();
    for source in projected.get("sources").entries() {
        let kinds = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "podCertificate"];
        let count = kinds.iter().filter(|kind| source.get(kind).is_set()).count();
        for kind in ["secret", "configMap"] {
            keys(errors, projected, &source.get(kind), &mut paths);
        }
        let downward = source.get("downwardAPI");
        for file in downward.get("items").entries() {
            downward_file(errors, &downward.in_place_of(&file));
            no_conflict(errors, projected, file.get("path").str(), &mut paths, file.get("path").str());
        }
        token(errors, projected, &source.get("serviceAccountToken"));
        certificate(errors, projected, &source.get("podCertificate"), &mut paths);
        if count > 1 {
            errors.forbidden(&source, "may not specify more than 1 volume type per source");
        }
    }
}

/// Two files of a volume may not have one path.
fn no_conflict<'v>(
    errors: &mut Errors,
    volume: &Node<'_, '_>,
    path: &'v str,
    paths: &mut BTreeSet<&'v str>,
    shown: &str,
) {
    if !path.is_empty() && !paths.insert(path) {
        errors.invalid_text(volume, shown, "conflicting duplicate paths");
    }
}

fn keys<'v>(
    errors: &mut Errors,
    volume: &Node<'_, '_>,
    source: &Node<'_, 'v>,
    paths: &mut BTreeSet<&'v str>,
) {
    if !source.is_set() {
        return;
    }
    errors.needs(&source.get("name"));
    for item in source.get("items").entries() {
        key_to_path(errors, &item);
        no_conflict(errors, volume, item.get("path").str(), paths, source.get("name").str());
    }
}

fn token(errors: &mut Errors, volume: &Node<'_, '_>, token: &Node<'_, '_>) {
    if !token.is_set() {
        return;
    }
    let expiration = token.get("expirationSeconds");
    if expiration.int().is_some_and(|seconds| seconds < 600) {
        errors.invalid(&expiration, "may not specify a duration less than 10 minutes");
    }
    if expiration.int().is_some_and(|seconds| seconds > 1 << 32) {
        errors.invalid(&expiration, "may not specify a duration larger than 2^32 seconds");
    }
    let (path, at) = (token.get("path"), volume.get("path"));
    if path.is_empty() {
        errors.required(&at, "");
    } else {
        errors.check_text(&at, path.str(), text::unreserved_path);
    }
}

fn certificate<'v>(
    errors: &mut Errors,
    volume: &Node<'_, '_>,
    source: &Node<'_, 'v>,
    paths: &mut BTreeSet<&'v str>,
) {
    const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    const PATHS: &[&str] = &["credentialBundlePath", "keyPath", "certificateChainPath"];
    if !source.is_set() {
        return;
    }
    meta::signer(errors, &source.get("signerName"));
    let key_type = source.get("keyType");
    if !KEY_TYPES.contains(&key_type.str()) {
        errors.unsupported_text(&key_type, key_type.str(), KEY_TYPES);
    }
    let expiration = source.get("maxExpirationSeconds");
    if expiration.int().is_some_and(|seconds| seconds < 3_600) {
        errors.invalid(&expiration, "if provided, maxExpirationSeconds must be >= 3600");
    }
    for path in PATHS {
        let path = source.get(path);
        errors.check_if_any(&path, text::unreserved_path);
        no_conflict(errors, volume, path.str(), paths, path.str());
    }
    if PATHS.iter().all(|path| source.get(path).is_empty()) {
        errors.required(
            source,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        );
    }
}
