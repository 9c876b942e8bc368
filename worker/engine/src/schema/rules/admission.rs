//! Admission webhooks and policies.

use std::collections::BTreeSet;

use super::cel::{self, Type};
use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;
use super::webhook;

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const VARIABLES: &[&str] =
    &["object", "oldObject", "request", "authorizer", "namespaceObject", "params", "variables"];

/// A `ValidatingWebhookConfiguration`.
pub(crate) fn validating(errors: &mut Errors, object: &Node<'_, '_>) {
    configuration(errors, object);
}

/// A `MutatingWebhookConfiguration`.
pub(crate) fn mutating(errors: &mut Errors, object: &Node<'_, '_>) {
    configuration(errors, object);
    for hook in object.get("webhooks").entries() {
        errors.one_of(&hook.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
    }
}

fn configuration(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation().with_any_finalizers());
    let mut names = BTreeSet::new();
    for hook in object.get("webhooks").entries() {
        webhook_of(errors, &hook);
        review_versions(errors, &hook.get("admissionReviewVersions"));
        let name = hook.get("name");
        if !name.is_empty() && !names.insert(name.str()) {
            errors.duplicate(&name);
        }
    }
}

fn webhook_of(errors: &mut Errors, hook: &Node<'_, '_>) {
    let name = hook.get("name");
    if errors.needs(&name) {
        let messages = text::subdomain(name.str());
        if !messages.is_empty() {
            errors.invalid(&name, &messages.join(","));
        } else if name.str().split('.').count() < 3 {
            errors.invalid(&name, "should be a domain with at least three segments separated by dots");
        }
    }
    for rule in hook.get("rules").entries() {
        operations(errors, &rule);
    }
    errors.one_of(&hook.get("failurePolicy"), FAILURE_POLICIES);
    errors.one_of(&hook.get("matchPolicy"), MATCH_POLICIES);
    let effects = hook.get("sideEffects");
    if effects.is_set() {
        errors.one_of(&effects, SIDE_EFFECTS);
    } else {
        errors.required(&effects, "must specify one of None, NoneOnDryRun");
    }
    let timeout = hook.get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        errors.invalid(&timeout, "the timeout value must be between 1 and 30 seconds");
    }
    meta::selector(errors, &hook.get("namespaceSelector"));
    meta::selector(errors, &hook.get("objectSelector"));
    webhook::client(errors, &hook.get("clientConfig"));
    conditions(errors, &hook.get("matchConditions"));
}

fn review_versions(errors: &mut Errors, versions: &Node<'_, '_>) {
    if versions.is_empty() {
        return errors.required(versions, "must specify one of v1, v1beta1");
    }
    webhook::versions(errors, versions, REVIEW_VERSIONS, "v1, v1beta1");
}

fn has_star(list: &Node<'_, '_>) -> bool {
    list.texts().any(|text| text == "*")
}

fn alone(errors: &mut Errors, list: &Node<'_, '_>, what: &str) {
    if list.len() > 1 && has_star(list) {
        errors.invalid(list, &format!("if '*' is present, must not specify other {what}"));
    }
}

/// A rule with the operations that it is for.
fn operations(errors: &mut Errors, rule: &Node<'_, '_>) {
    let operations = rule.get("operations");
    errors.needs(&operations);
    alone(errors, &operations, "operations");
    for operation in operations.entries() {
        if !OPERATIONS.contains(&operation.str()) {
            errors.unsupported_text(&operation, operation.str(), OPERATIONS);
        }
    }
    let (groups, versions) = (rule.get("apiGroups"), rule.get("apiVersions"));
    errors.needs(&groups);
    alone(errors, &groups, "API groups");
    errors.needs(&versions);
    alone(errors, &versions, "API versions");
    for version in versions.entries() {
        errors.needs(&version);
    }
    resources(errors, &rule.get("resources"));
    errors.one_of(&rule.get("scope"), &["*", "Cluster", "Namespaced"]);
}

fn resources(errors: &mut Errors, resources: &Node<'_, '_>) {
    errors.needs(resources);
    let (mut whole, mut parts) = (BTreeSet::new(), BTreeSet::new());
    let (mut has_all, mut has_any, mut has_plain) = (false, false, false);
    for resource in resources.entries() {
        let text = resource.str();
        if text.is_empty() {
            errors.required(&resource, "");
            continue;
        }
        has_all |= text == "*/*";
        has_any |= text == "*";
        let Some((name, part)) = text.split_once('/') else {
            has_plain = text != "*";
            continue;
        };
        if whole.contains(name) {
            errors.invalid(&resource, &format!("if '{name}/*' is present, must not specify {text}"));
        }
        if parts.contains(part) {
            errors.invalid(&resource, &format!("if '*/{part}' is present, must not specify {text}"));
        }
        if part == "*" {
            whole.insert(name);
        }
        if name == "*" {
            parts.insert(part);
        }
    }
    if resources.len() > 1 && has_all {
        errors.invalid(resources, "if '*/*' is present, must not specify other resources");
    }
    if has_any && has_plain {
        errors.invalid(resources, "if '*' is present, must not specify other resources without subresources");
    }
}

/// `matchConditions`.
fn conditions(errors: &mut Errors, conditions: &Node<'_, '_>) {
    errors.at_most_entries(conditions, 64);
    let mut names = BTreeSet::new();
    for condition in conditions.entries() {
        expression(errors, &condition.get("expression"), "", &[Type::Bool], VARIABLES);
        let name = condition.get("name");
        errors.needs_checked(&name, text::qualified);
        if !name.is_empty() && !names.insert(name.str()) {
            errors.duplicate(&name);
        }
    }
}

/// An expression that must be there, and give one of some types.
fn expression(errors: &mut Errors, at: &Node<'_, '_>, missing: &str, expected: &[Type], variables: &[&str]) {
    if at.str().trim().is_empty() {
        return errors.required(at, missing);
    }
    match cel::check(at.str(), variables) {
        Err(problem) => errors.invalid(at, &format!("compilation failed: ERROR: {problem}")),
        Ok(Type::Unknown) => {}
        Ok(of) if expected.is_empty() || expected.contains(&of) => {}
        Ok(of) => {
            let names: Vec<_> = expected.iter().map(|of| of.name()).collect();
            errors.invalid(at, &format!("must evaluate to {} but got {}", names.join(" or "), of.name()));
        }
    }
}

fn kind_reference(errors: &mut Errors, kind: &Node<'_, '_>) {
    let (version, name) = (kind.get("apiVersion"), kind.get("kind"));
    if errors.needs(&version) {
        let written = version.str();
        if written.matches('/').count() > 1 {
            errors.invalid(&version, &format!("unexpected GroupVersion string: {written}"));
        } else {
            let (group, number) = written.split_once('/').unwrap_or(("", written));
            if !group.is_empty() {
                errors.check_text(&version, group, text::subdomain);
            }
            if number.is_empty() {
                errors.invalid(&version, "version must be specified");
            } else {
                errors.check_text(&version, number, text::label_1035);
            }
        }
    }
    if errors.needs(&name) && !text::label_1035(&name.str().to_lowercase()).is_empty() {
        errors.invalid(&name, "may have mixed case, but should otherwise match a DNS-1035 label");
    }
}

fn match_resources(errors: &mut Errors, resources: &Node<'_, '_>) {
    errors.one_of(&resources.get("matchPolicy"), MATCH_POLICIES);
    meta::selector(errors, &resources.get("namespaceSelector"));
    meta::selector(errors, &resources.get("objectSelector"));
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.get(list).entries() {
            let mut names = BTreeSet::new();
            for name in rule.get("resourceNames").entries() {
                errors.check(&name, text::path_segment);
                if !names.insert(name.str()) {
                    errors.duplicate(&name);
                }
            }
            operations(errors, &rule);
        }
    }
}

/// A `ValidatingAdmissionPolicy`.
pub(crate) fn policy(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation().with_any_finalizers());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    errors.one_of(&spec.get("failurePolicy"), FAILURE_POLICIES);
    let kind = spec.get("paramKind");
    if kind.is_set() {
        kind_reference(errors, &kind);
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(errors, &constraints);
        errors.needs(&constraints.get("resourceRules"));
    } else {
        errors.required(&constraints, "");
    }
    conditions(errors, &spec.get("matchConditions"));
    for variable in spec.get("variables").entries() {
        let name = variable.get("name");
        if name.str().trim().is_empty() {
            errors.required(&name, "name is not specified");
        } else if !cel::is_identifier(name.str()) {
            errors.invalid(&name, "must be a valid CEL identifier");
        }
        expression(errors, &variable.get("expression"), "expression is not specified", &[], VARIABLES);
    }
    let (checks, audits) = (spec.get("validations"), spec.get("auditAnnotations"));
    if checks.is_empty() && audits.is_empty() {
        for list in [&checks, &audits] {
            errors.required(list, "validations or auditAnnotations must contain at least one item");
        }
        return;
    }
    for check in checks.entries() {
        validation(errors, &check);
    }
    if audits.len() > 20 {
        errors.invalid(&audits, "must not have more than 20 auditAnnotations");
    }
    let mut keys = BTreeSet::new();
    for audit in audits.entries() {
        let key = audit.get("key");
        let name = format!("{}/{}", metadata.get("name").str(), key.str());
        errors.check_text(&key, &name, text::qualified);
        expression(
            errors,
            &audit.get("valueExpression"),
            "valueExpression is not specified",
            &[Type::Text, Type::Null],
            VARIABLES,
        );
        if !keys.insert(key.str()) {
            errors.duplicate_text(&key, key.str());
        }
    }
}

fn validation(errors: &mut Errors, check: &Node<'_, '_>) {
    const NOT_EMPTY: &str = "must be non-empty if specified";
    expression(errors, &check.get("expression"), "expression is not specified", &[Type::Bool], VARIABLES);
    let (message, computed) = (check.get("message"), check.get("messageExpression"));
    if !computed.is_empty() {
        if computed.str().trim().is_empty() {
            errors.invalid(&computed, NOT_EMPTY);
        } else {
            expression(errors, &computed, "", &[Type::Text], VARIABLES);
        }
    }
    if !message.is_empty() && message.str().trim().is_empty() {
        errors.invalid(&message, NOT_EMPTY);
    } else if message.str().trim().contains(['\n', '\r']) {
        errors.invalid(&message, "must not contain line breaks");
    }
    errors.one_of(&check.get("reason"), &["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

/// A `ValidatingAdmissionPolicyBinding`.
pub(crate) fn binding(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation().with_any_finalizers());
    let spec = object.get("spec");
    errors.needs_checked(&spec.get("policyName"), text::subdomain);
    let parameters = spec.get("paramRef");
    if parameters.is_set() {
        parameter_reference(errors, &parameters);
    }
    match_resources(errors, &spec.get("matchResources"));
    let actions = spec.get("validationActions");
    let mut seen = BTreeSet::new();
    for action in actions.entries() {
        if !["Audit", "Deny", "Warn"].contains(&action.str()) {
            errors.unsupported_text(&action, action.str(), &["Audit", "Deny", "Warn"]);
        }
        if !seen.insert(action.str()) {
            errors.duplicate(&action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.invalid(&actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
    }
    if seen.is_empty() {
        errors.required(&actions, "at least one validation action is required");
    }
}

fn parameter_reference(errors: &mut Errors, reference: &Node<'_, '_>) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selector) = (reference.get("name"), reference.get("selector"));
    let action = reference.get("parameterNotFoundAction");
    errors.check_if_any(&name, text::path_segment);
    if !name.is_empty() && selector.is_set() {
        errors.forbidden(&name, EXCLUSIVE);
        errors.forbidden(&selector, EXCLUSIVE);
    }
    meta::selector(errors, &selector);
    if name.is_empty() && !selector.is_set() {
        errors.required(reference, "one of name or selector must be specified");
    }
    if errors.needs(&action) {
        errors.one_of(&action, &["Deny", "Allow"]);
    }
}
