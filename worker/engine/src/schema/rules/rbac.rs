//! Roles and bindings.

use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A Role.
pub(crate) fn role(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::PATH);
    rules(errors, &object.get("rules"), true);
}

/// A `ClusterRole`.
pub(crate) fn cluster_role(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::PATH);
    rules(errors, &object.get("rules"), false);
    let aggregation = object.get("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.get("clusterRoleSelectors");
    if selectors.is_empty() {
        errors
            .required(&selectors, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for selector in selectors.entries() {
        if !meta::selector(errors, &selector) {
            errors.invalid(&selector, "invalid label selector.");
        }
    }
}

fn rules(errors: &mut Errors, rules: &Node<'_, '_>, is_namespaced: bool) {
    for rule in rules.entries() {
        errors.needs(&rule.get("verbs"));
        let (groups, resources) = (rule.get("apiGroups"), rule.get("resources"));
        let urls = rule.get("nonResourceURLs");
        if urls.is_empty() {
            if groups.is_empty() {
                errors.required(&groups, "resource rules must supply at least one api group");
            }
            if resources.is_empty() {
                errors.required(&resources, "resource rules must supply at least one resource");
            }
            continue;
        }
        if is_namespaced {
            errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if !groups.is_empty() || !resources.is_empty() || !rule.get("resourceNames").is_empty() {
            errors.invalid(&urls, "rules cannot apply to both regular resources and non-resource URLs");
        }
    }
}

/// A `RoleBinding`.
pub(crate) fn role_binding(errors: &mut Errors, object: &Node<'_, '_>) {
    binding(errors, object, &["Role", "ClusterRole"]);
}

/// A `ClusterRoleBinding`.
pub(crate) fn cluster_role_binding(errors: &mut Errors, object: &Node<'_, '_>) {
    binding(errors, object, &["ClusterRole"]);
}

fn binding(errors: &mut Errors, object: &Node<'_, '_>, kinds: &[&str]) {
    meta::object(errors, object, Naming::PATH);
    let role = object.get("roleRef");
    errors.one_of_or_default(&role.get("apiGroup"), &[GROUP]);
    let kind = role.get("kind");
    if !kinds.contains(&kind.str()) {
        errors.unsupported_text(&kind, kind.str(), kinds);
    }
    errors.needs_checked(&role.get("name"), text::path_segment);
    let is_namespaced = kinds.len() > 1;
    for subject in object.get("subjects").entries() {
        let (kind, group, name) = (subject.get("kind"), subject.get("apiGroup"), subject.get("name"));
        errors.needs(&name);
        match kind.str() {
            "ServiceAccount" => {
                errors.check_if_any(&name, text::subdomain);
                errors.one_of_or_default(&group, &[""]);
                if !is_namespaced {
                    errors.needs(&subject.get("namespace"));
                }
            }
            "User" | "Group" => errors.one_of_or_default(&group, &[GROUP]),
            other => errors.unsupported_text(&kind, other, &["ServiceAccount", "User", "Group"]),
        }
    }
}
