//! A `CustomResourceDefinition`, except for the schemas of its versions.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::meta::{self, Naming};
use super::super::node::Node;
use super::super::text;
use super::super::webhook;
use super::schema;

const COLUMN_TYPES: &str = "must be one of boolean,date,integer,number,string";
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MIXED: &str = "may have mixed case, but should otherwise match: ";
const APPROVAL: &str = "api-approved.kubernetes.io";

/// A `CustomResourceDefinition`.
pub(crate) fn definition(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation().with_any_finalizers());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let (group, names) = (spec.get("group"), spec.get("names"));
    let name = metadata.get("name");
    if !name.is_empty() && name.str() != format!("{}.{}", names.get("plural").str(), group.str()) {
        errors.invalid(&name, "must be spec.names.plural+\".\"+spec.group");
    }
    if errors.needs(&group) {
        let messages = text::subdomain(group.str());
        if !messages.is_empty() {
            errors.invalid(&group, &messages.join(","));
        } else if !group.str().contains('.') {
            errors.invalid(&group, "should be a domain with at least one dot");
        }
    }
    if errors.needs(&spec.get("scope")) {
        errors.one_of(&spec.get("scope"), &["Cluster", "Namespaced"]);
    }
    versions(errors, object, &spec);
    names_of(errors, &names);
    conversion(errors, &spec);
    approval(errors, &metadata.get("annotations"), group.str());
    if spec.get("preserveUnknownFields").is_true() {
        errors.invalid(
            &spec.get("preserveUnknownFields"),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        );
    }
}

fn versions(errors: &mut Errors, object: &Node<'_, '_>, spec: &Node<'_, '_>) {
    let versions = spec.get("versions");
    // What all versions have in common the server moves to the top, where its errors then stand.
    let top = |field: &'static str| {
        let mut entries = versions.entries();
        let first = entries.next()?;
        let value = first.get(field).value()?;
        entries.all(|version| version.get(field).value() == Some(value)).then_some(())
    };
    let shares_schema = top("schema").is_some();
    let shares_columns = top("additionalPrinterColumns").is_some();
    let shares_subresources = top("subresources").is_some();
    let (mut seen, mut stored) = (BTreeSet::new(), 0);
    let mut is_unique = true;
    for (index, version) in versions.entries().enumerate() {
        let name = version.get("name");
        let messages = text::label_1035(name.str());
        if !messages.is_empty() {
            errors.invalid_text(&name, name.str(), &messages.join(","));
        }
        is_unique &= seen.insert(name.str());
        stored += usize::from(version.get("storage").is_true());
        deprecation(errors, &version);
        let schema = version.get("schema");
        if !schema.get("openAPIV3Schema").is_set() {
            errors.required(&schema.get("openAPIV3Schema"), "");
        }
        let has_status = version.get("subresources").get("status").is_set();
        if !shares_schema {
            schema::check(errors, &schema, has_status);
        } else if index == 0 {
            let at = spec.get("validation");
            schema::check(errors, &at.in_place_of(&schema), has_status);
        }
        if !shares_columns || index == 0 {
            let holder = if shares_columns { spec.in_place_of(&version) } else { version };
            columns(errors, &holder.get("additionalPrinterColumns"));
        }
        if !shares_subresources || index == 0 {
            let holder = if shares_subresources { spec.in_place_of(&version) } else { version };
            subresources(errors, &holder.get("subresources"));
        }
    }
    if !is_unique {
        errors.invalid(&versions, "must contain unique version names");
    }
    if stored != 1 {
        errors.invalid(&versions, "must have exactly one version marked as storage version");
        let status = object.get("status");
        let status = status.get("storedVersions");
        errors.invalid(
            &status,
            if stored == 0 {
                "must have at least one stored version"
            } else {
                "must have the storage version"
            },
        );
    }
}

fn deprecation(errors: &mut Errors, version: &Node<'_, '_>) {
    let warning = version.get("deprecationWarning");
    let Some(text) = warning.text() else { return };
    if !version.get("deprecated").is_true() {
        return errors.invalid(&warning, "can only be set for deprecated versions");
    }
    if text.len() > 256 {
        errors.invalid(&warning, "must be <= 256 characters long");
    }
    if text.is_empty() {
        errors.invalid(&warning, "must not be an empty string");
    }
    if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
        errors.invalid(
            &warning,
            &format!(
                "must only contain printable UTF-8 characters; non-printable character found at index {at}"
            ),
        );
    }
}

fn names_of(errors: &mut Errors, names: &Node<'_, '_>) {
    let (plural, kind) = (names.get("plural"), names.get("kind"));
    errors.needs(&plural);
    // The server derives the singular and the list's kind from the kind.
    for field in ["singular", "listKind"] {
        if names.get(field).is_empty() && kind.is_empty() {
            errors.required(&names.get(field), "");
        }
    }
    errors.needs(&kind);
    let joined = |errors: &mut Errors, at: &Node<'_, '_>, text: &str, intro: &str| {
        let messages = text::label_1035(text);
        if !text.is_empty() && !messages.is_empty() {
            errors.invalid(at, &format!("{intro}{}", messages.join(",")));
        }
    };
    joined(errors, &plural, plural.str(), "");
    let singular = names.get("singular");
    let lower = kind.str().to_lowercase();
    joined(errors, &singular, singular.str_or(&lower), "");
    joined(errors, &kind, &lower, MIXED);
    let list = names.get("listKind");
    let list_name = if list.is_empty() && !kind.is_empty() {
        format!("{}List", kind.str())
    } else {
        list.str().to_owned()
    };
    joined(errors, &list, &list_name.to_lowercase(), MIXED);
    if !kind.is_empty() && kind.str() == list_name {
        errors.invalid(&list, "kind and listKind may not be the same");
    }
    for field in ["shortNames", "categories"] {
        for name in names.get(field).entries() {
            let messages = text::label_1035(name.str());
            if !messages.is_empty() {
                errors.invalid_text(&name, name.str(), &messages.join(","));
            }
        }
    }
}

fn columns(errors: &mut Errors, columns: &Node<'_, '_>) {
    for column in columns.entries() {
        errors.needs(&column.get("name"));
        let (kind, format) = (column.get("type"), column.get("format"));
        if kind.is_empty() {
            errors.required(&kind, COLUMN_TYPES);
        } else if !["boolean", "date", "integer", "number", "string"].contains(&kind.str()) {
            errors.invalid(&kind, COLUMN_TYPES);
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format.str()) {
            errors.invalid(&format, &format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        let path = column.get_as("JSONPath", "jsonPath");
        if errors.needs(&path) && !path.str().starts_with('.') {
            errors.invalid(&path, "must be a simple json path starting with .");
        }
    }
}

fn subresources(errors: &mut Errors, subresources: &Node<'_, '_>) {
    let scale = subresources.get("scale");
    if !scale.is_set() {
        return;
    }
    for (field, prefixes, below) in [
        ("specReplicasPath", &[".spec."][..], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."][..], "should be a json path under .status"),
        (
            "labelSelectorPath",
            &[".spec.", ".status."][..],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let path = scale.get(field);
        if path.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(&path, "");
            }
        } else if !path.str().starts_with('.') {
            errors.invalid(&path, "must be a simple json path starting with .");
        } else if !prefixes.iter().any(|prefix| path.str().starts_with(prefix)) {
            errors.invalid(&path, below);
        }
    }
}

fn conversion(errors: &mut Errors, spec: &Node<'_, '_>) {
    let conversion = spec.get("conversion");
    if !conversion.is_set() {
        return;
    }
    let strategy = conversion.get("strategy");
    errors.one_of_or_default(&strategy, &["None", "Webhook"]);
    if strategy.is_empty() {
        errors.required(&strategy, "");
    }
    let hook = conversion.get("webhook");
    let client = hook.get("clientConfig");
    let at = conversion.get("webhookClientConfig");
    let versions = conversion.get("conversionReviewVersions");
    let versions = versions.in_place_of(&hook.get("conversionReviewVersions"));
    if strategy.str() == "Webhook" {
        if client.is_set() {
            webhook::client(errors, &at.in_place_of(&client));
        } else {
            errors.required(&at, "required when strategy is set to Webhook");
        }
        if errors.needs(&versions) {
            webhook::versions(errors, &versions, &["v1", "v1beta1"], "v1, v1beta1");
        }
    } else {
        if client.is_set() {
            errors.forbidden(&at, "should not be set when strategy is not set to Webhook");
        }
        if !versions.is_empty() {
            errors.forbidden(&versions, "should not be set when strategy is not set to Webhook");
        }
    }
}

/// Groups of the Kubernetes project need its approval.
fn approval(errors: &mut Errors, annotations: &Node<'_, '_>, group: &str) {
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !is_protected {
        return;
    }
    let annotation = annotations.key(APPROVAL);
    let text = annotation.str();
    let is_url = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if text.is_empty() {
        errors.required(
            &annotation,
            &format!(
                "protected groups must have approval annotation \"{APPROVAL}\", see https://github.com/kubernetes/enhancements/pull/1111"
            ),
        );
    } else if !text.starts_with("unapproved") && is_url.is_none_or(str::is_empty) {
        errors.invalid(
            &annotation,
            &format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
            ),
        );
    }
}
