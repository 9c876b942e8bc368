//! `metadata`, labels, selectors: what all kinds have in common.

use super::errors::{Errors, quoted};
use super::node::Node;
use super::text::{self, Messages};

/// All keys and values of annotations together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// How a kind's names are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    /// What a name must be.
    pub(crate) check: fn(&str) -> Messages,
    /// Whether a prefix for a generated name is checked in its own right.
    pub(crate) checks_prefix: bool,
    /// Whether the server sets the generation of new objects itself.
    pub(crate) sets_generation: bool,
    /// Whether finalizers without a domain must be the server's own.
    pub(crate) knows_finalizers: bool,
}

impl Naming {
    pub(crate) const SUBDOMAIN: Self =
        Self { check: text::subdomain, checks_prefix: true, sets_generation: false, knows_finalizers: true };
    pub(crate) const LABEL: Self = Self { check: text::label, ..Self::SUBDOMAIN };
    pub(crate) const LABEL_1035: Self = Self { check: text::label_1035, ..Self::SUBDOMAIN };
    pub(crate) const PATH: Self = Self { check: text::path_segment, ..Self::SUBDOMAIN };

    pub(crate) const fn with_any_finalizers(self) -> Self {
        Self { knows_finalizers: false, ..self }
    }

    pub(crate) const fn with_generation(self) -> Self {
        Self { sets_generation: true, ..self }
    }
}

/// `metadata` of an object.
pub(crate) fn object(errors: &mut Errors, object: &Node<'_, '_>, naming: Naming) {
    let meta = object.get("metadata");
    name(errors, &meta, naming);
    if !naming.sets_generation {
        errors.not_negative(&meta.get("generation"));
    }
    labels(errors, &meta.get("labels"));
    annotations(errors, &meta.get("annotations"));
    owners(errors, &meta.get("ownerReferences"));
    finalizers(errors, &meta.get("finalizers"), naming.knows_finalizers);
}

/// What a name for a prefix becomes: five characters are added.
pub(crate) fn generated_name(prefix: &str) -> String {
    let mut end = prefix.len().min(58);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}xxxxx", &prefix[..end])
}

fn name(errors: &mut Errors, meta: &Node<'_, '_>, naming: Naming) {
    let (name, prefix) = (meta.get("name"), meta.get("generateName"));
    if naming.checks_prefix && !prefix.is_empty() {
        for message in (naming.check)(&without_last_dash(prefix.str())) {
            errors.invalid(&prefix, message);
        }
    }
    if !name.is_empty() {
        errors.check(&name, naming.check);
    } else if prefix.is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.check_text(&name, &generated_name(prefix.str()), naming.check);
    }
}

/// A prefix may end in a dash, since more follows.
pub(crate) fn without_last_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut chars = rest.chars();
            chars.next_back();
            format!("{}a", chars.as_str())
        }
        _ => prefix.to_owned(),
    }
}

/// Labels: of metadata, node selectors, simple selectors. Errors name the map, not the key.
pub(crate) fn labels(errors: &mut Errors, labels: &Node<'_, '_>) {
    for (key, value) in labels.pairs() {
        errors.check_text(labels, key, text::qualified);
        errors.check_text(labels, value.str(), text::label_value);
    }
}

/// Annotations.
pub(crate) fn annotations(errors: &mut Errors, annotations: &Node<'_, '_>) {
    let mut size = 0;
    for (key, value) in annotations.pairs() {
        errors.check_text(annotations, key, text::qualified_any_case);
        size += key.len() + value.str().len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(annotations, MAX_ANNOTATIONS);
    }
}

fn owners(errors: &mut Errors, owners: &Node<'_, '_>) {
    let mut controller: Option<String> = None;
    for owner in owners.entries() {
        let version = owner.get("apiVersion");
        if version.is_empty() {
            errors.required(&version, "must not be empty");
        } else if version.str().split('/').count() > 2 || version.str().ends_with('/') {
            errors.invalid(&version, "must be <group>/<version> or <version>");
        }
        for field in ["kind", "name", "uid"] {
            let field = owner.get(field);
            if field.is_empty() {
                errors.required(&field, "must not be empty");
            }
        }
        if version.str() == "v1" && owner.get("kind").str() == "Event" {
            errors.invalid(&owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").is_true() {
            let name = format!("{}/{}", owner.get("kind").str(), owner.get("name").str());
            match &controller {
                Some(first) => errors.invalid(
                    owners,
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    ),
                ),
                None => controller = Some(name),
            }
        }
    }
}

fn finalizers(errors: &mut Errors, finalizers: &Node<'_, '_>, are_known: bool) {
    for finalizer in finalizers.texts() {
        errors.check_text(finalizers, finalizer, text::qualified);
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.texts().any(|text| text == *name)) {
        errors.invalid(finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    }
    for finalizer in finalizers.entries().filter(|_| are_known) {
        known_finalizer(errors, &finalizer, finalizer.str());
    }
}

/// A finalizer without a domain must be one of the server's own.
pub(crate) fn known_finalizer(errors: &mut Errors, at: &Node<'_, '_>, name: &str) {
    if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name) {
        errors.invalid_text(at, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

/// A label selector; whether it is right. Absent ones are.
pub(crate) fn selector(errors: &mut Errors, selector: &Node<'_, '_>) -> bool {
    let before = errors.len();
    labels(errors, &selector.get("matchLabels"));
    for requirement in selector.get("matchExpressions").entries() {
        let (operator, values) = (requirement.get("operator"), requirement.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors
                    .forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(&operator, other, "not a valid selector operator"),
        }
        errors.check(&requirement.get("key"), text::qualified);
        for value in values.entries() {
            errors.check(&value, text::label_value);
        }
    }
    errors.len() == before
}

/// How many requirements a selector has.
pub(crate) fn requirements(selector: &Node<'_, '_>) -> usize {
    selector.get("matchLabels").len() + selector.get("matchExpressions").len()
}

/// Whether a right selector selects an object with these labels.
pub(crate) fn matches(selector: &Node<'_, '_>, labels: &Node<'_, '_>) -> bool {
    let has = |key: &str| labels.fields().is_some_and(|fields| fields.contains_key(key));
    let match_labels = selector.get("matchLabels");
    let expressions = selector.get("matchExpressions");
    let mut pairs = match_labels.pairs();
    pairs.all(|(key, value)| has(key) && labels.key(key).str() == value.str())
        && expressions.entries().all(|requirement| {
            let key = requirement.get("key").str();
            let is_among = requirement.get("values").texts().any(|value| value == labels.key(key).str());
            match requirement.get("operator").str() {
                "In" => has(key) && is_among,
                "NotIn" => !has(key) || !is_among,
                "Exists" => has(key),
                _ => !has(key),
            }
        })
}

/// The error of a selector that does not select its own template.
pub(crate) fn mismatch(errors: &mut Errors, template: &Node<'_, '_>) {
    errors.invalid(&template.get("metadata").get("labels"), "`selector` does not match template `labels`");
}

/// A port by number or name.
pub(crate) fn port(errors: &mut Errors, at: &Node<'_, '_>) {
    if at.text().is_some() {
        errors.check(at, text::port_name);
    } else {
        errors.port_number(at);
    }
}

/// `domain/path`, as controllers are named.
pub(crate) fn domain_path(errors: &mut Errors, at: &Node<'_, '_>) {
    if !errors.needs(at) {
        return;
    }
    match at.str().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            errors.check_text(at, host, text::subdomain);
            if !text::is_http_path(path) {
                errors.invalid_text(
                    at,
                    path,
                    "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
                );
            }
        }
        _ => errors.invalid(at, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// A reference to an object of any kind in the same namespace.
pub(crate) fn typed_reference(errors: &mut Errors, reference: &Node<'_, '_>) {
    let group = reference.get("apiGroup");
    if group.is_set() {
        errors.check(&group, text::subdomain);
    }
    errors.needs_checked(&reference.get("kind"), text::path_segment);
    errors.needs_checked(&reference.get("name"), text::path_segment);
}

/// `domain/name`, as signers are named.
pub(crate) fn signer(errors: &mut Errors, at: &Node<'_, '_>) {
    if !errors.needs(at) {
        return;
    }
    let Some((domain, path)) = at.str().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        return errors
            .invalid(at, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if domain.len() > 253 {
        errors.too_long(at, 253);
    }
    if let Some(label) = domain.split('.').find(|label| !text::label(label).is_empty()) {
        for message in text::label(label) {
            errors.invalid_text(at, domain, &format!("validating label {}: {message}", quoted(label)));
        }
    }
    if !domain.contains('.') {
        errors.invalid_text(at, domain, "should be a domain with at least two segments separated by dots");
    }
    if let Some(label) = path.split('.').find(|label| !text::subdomain(label).is_empty()) {
        for message in text::subdomain(label) {
            errors.invalid_text(at, path, &format!("validating label {}: {message}", quoted(label)));
        }
    }
    if at.str().len() > 571 {
        errors.too_long(at, 571);
    }
}
