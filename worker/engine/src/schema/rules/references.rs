//! References to fields and resources of a pod, from variables and files.

use super::errors::Errors;
use super::node::Node;
use super::text;

/// Fields that a file may hold.
pub(crate) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields that a variable may hold.
pub(crate) const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that the server can resolve at all.
const KNOWN_FIELDS: &[&str] = &["spec.restartPolicy", "spec.schedulerName", "status.phase"];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// `metadata.labels['key']` taken apart.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

/// `fieldRef`.
pub(crate) fn field(errors: &mut Errors, reference: &Node<'_, '_>, supported: &[&str]) {
    let (version, path) = (reference.get("apiVersion"), reference.get("fieldPath"));
    if !errors.needs(&path) {
        return;
    }
    let field = path.str();
    let unresolved = |errors: &mut Errors, detail: &str| {
        errors.invalid(&path, &format!("error converting fieldPath: {detail}"));
    };
    if version.str_or("v1") != "v1" {
        return unresolved(errors, &format!("unsupported pod version: {}", version.str()));
    }
    match subscript(field) {
        Some(("metadata.annotations", key)) => errors.check_text(reference, key, text::qualified_any_case),
        Some(("metadata.labels", key)) => errors.check_text(reference, key, text::qualified),
        Some(_) => unresolved(errors, &format!("field label does not support subscript: {field}")),
        None => {
            let field = if field == "spec.host" { "spec.nodeName" } else { field };
            if supported.contains(&field) {
                return;
            }
            if [FILE_FIELDS, VARIABLE_FIELDS, KNOWN_FIELDS].iter().any(|fields| fields.contains(&field)) {
                errors.unsupported_text(&path, field, supported);
            } else {
                unresolved(errors, &format!("field label not supported: {field}"));
            }
        }
    }
}

/// `resourceFieldRef`.
pub(crate) fn resource(errors: &mut Errors, reference: &Node<'_, '_>, in_file: bool) {
    let resource = reference.get("resource");
    let is_huge_page =
        ["requests.hugepages-", "limits.hugepages-"].iter().any(|prefix| resource.str().starts_with(prefix));
    if in_file && reference.get("containerName").is_empty() {
        errors.required(&reference.get("containerName"), "");
    } else if errors.needs(&resource) && !RESOURCES.contains(&resource.str()) && !is_huge_page {
        errors.unsupported(&resource, RESOURCES);
    }
    let divisor = reference.get("divisor");
    let written = super::claims::shown(&divisor);
    if ["", "0"].contains(&written.as_str()) {
        return;
    }
    let name = resource.str();
    match name.rsplit('.').next() {
        Some("cpu") if RESOURCES.contains(&name) && !["1m", "1"].contains(&written.as_str()) => {
            errors.invalid_text(
                &divisor,
                name,
                "only divisor's values 1m and 1 are supported with the cpu resource",
            );
        }
        Some("cpu") => {}
        Some(kind) if (is_huge_page || RESOURCES.contains(&name)) && !SIZES.contains(&written.as_str()) => {
            let kind = match kind {
                "memory" => "memory",
                "ephemeral-storage" => "local ephemeral storage",
                _ => "hugepages",
            };
            errors.invalid_text(
                &divisor,
                name,
                &format!("only divisor's values {} are supported with the {kind} resource", SIZES.join(", ")),
            );
        }
        _ => {}
    }
}
