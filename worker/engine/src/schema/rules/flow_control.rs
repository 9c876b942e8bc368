//! Flow schemas and priority levels.

use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// A `FlowSchema`.
pub(crate) fn flow_schema(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let precedence = spec.get("matchingPrecedence");
    // Zero stands for the default.
    if precedence.number() < 0 {
        errors.invalid(&precedence, "must be a positive value");
    }
    if precedence.number() > 10_000 {
        errors.invalid(&precedence, "must not be greater than 10000");
    }
    if precedence.number() == 1 && metadata.get("name").str() != "exempt" {
        errors.invalid(&precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = spec.get("distinguisherMethod");
    if method.is_set() && !["ByNamespace", "ByUser"].contains(&method.get("type").str()) {
        errors.unsupported(&method.get("type"), &["ByNamespace", "ByUser"]);
    }
    let level = spec.get("priorityLevelConfiguration");
    let level = level.get("name");
    if level.is_empty() {
        errors.required(&level, "must reference a priority level");
    } else {
        errors.check(&level, text::subdomain);
    }
    for rule in spec.get("rules").entries() {
        let (subjects, resources, urls) =
            (rule.get("subjects"), rule.get("resourceRules"), rule.get("nonResourceRules"));
        if subjects.is_empty() {
            errors.required(&subjects, "subjects must contain at least one value");
        }
        for subject in subjects.entries() {
            flow_subject(errors, &subject);
        }
        if resources.is_empty() && urls.is_empty() {
            errors.required(&rule, "at least one of resourceRules and nonResourceRules has to be non-empty");
        }
        for resource in resources.entries() {
            flow_resource(errors, &resource);
        }
        for url in urls.entries() {
            verbs(errors, &url.get("verbs"));
            non_resource(errors, &url.get("nonResourceURLs"));
        }
    }
}

fn has_star(list: &Node<'_, '_>) -> bool {
    list.texts().any(|text| text == "*")
}

fn alone(errors: &mut Errors, list: &Node<'_, '_>, what: &str) {
    if has_star(list) && list.len() > 1 {
        errors.invalid(list, &format!("if '*' is present, must not specify other {what}"));
    }
}

fn verbs(errors: &mut Errors, verbs: &Node<'_, '_>) {
    if verbs.is_empty() {
        errors.required(verbs, "verbs must contain at least one value");
    } else if has_star(verbs) {
        alone(errors, verbs, "verbs");
    } else if verbs.texts().any(|verb| !VERBS.contains(&verb)) {
        errors.unsupported(verbs, VERBS);
    }
}

fn non_resource(errors: &mut Errors, urls: &Node<'_, '_>) {
    if urls.is_empty() {
        errors.required(urls, "nonResourceURLs must contain at least one value");
    } else if has_star(urls) {
        alone(errors, urls, "non-resource URLs");
    } else {
        for url in urls.entries() {
            let text = url.str();
            let stars = text.matches('*').count();
            if text.is_empty() {
                errors.invalid(&url, "must not be empty");
            } else if text == "/" {
            } else if !text.starts_with('/') {
                errors.invalid(&url, "must start with slash");
            } else if text.contains(' ') {
                errors.invalid(&url, "must not contain white-space");
            } else if text.contains("//") {
                errors.invalid(&url, "must not contain double slash");
            } else if stars > 1 || stars == 1 && !text.ends_with("/*") {
                errors.invalid(&url, "wildcard can only do suffix matching");
            }
        }
    }
}

fn flow_resource(errors: &mut Errors, rule: &Node<'_, '_>) {
    verbs(errors, &rule.get("verbs"));
    for (field, what, required) in [
        ("apiGroups", "api groups", "resource rules must supply at least one api group"),
        ("resources", "resources", "resource rules must supply at least one resource"),
    ] {
        let list = rule.get(field);
        if list.is_empty() {
            errors.required(&list, required);
        }
        alone(errors, &list, what);
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && !rule.get("clusterScope").is_true() {
        errors.required(
            &namespaces,
            "resource rules that are not cluster scoped must supply at least one namespace",
        );
    } else if has_star(&namespaces) {
        alone(errors, &namespaces, "namespaces");
    } else {
        for namespace in namespaces.entries() {
            for message in text::label(namespace.str()) {
                errors.invalid(
                    &namespace,
                    &format!("each member of this list must be '*' or a DNS-1123 label; {message}"),
                );
            }
        }
    }
}

fn flow_subject(errors: &mut Errors, subject: &Node<'_, '_>) {
    const KINDS: &[(&str, &str)] =
        &[("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = subject.get("kind");
    let Some((_, own)) = KINDS.iter().find(|(name, _)| *name == kind.str()) else {
        return errors.unsupported_text(&kind, kind.str(), &["Group", "ServiceAccount", "User"]);
    };
    let who = subject.get(own);
    if who.is_set() {
        let name = who.get("name");
        if errors.needs(&name) && *own == "serviceAccount" && name.str() != "*" {
            errors.check(&name, text::subdomain);
        }
        if *own == "serviceAccount" {
            let namespace = who.get("namespace");
            if namespace.is_empty() {
                errors.required(&namespace, "must specify namespace for service account");
            } else {
                errors.check(&namespace, text::label);
            }
        }
    } else {
        errors.required(&who, &format!("{own} is required when subject kind is '{}'", kind.str()));
    }
    for (name, field) in KINDS.iter().filter(|(_, field)| field != own) {
        errors.forbidden_if_set(
            &subject.get(field),
            &format!("{field} is forbidden when subject kind is not '{name}'"),
        );
    }
}

/// A `PriorityLevelConfiguration`.
pub(crate) fn priority_level(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (metadata.get("name").str() == "exempt") != (kind.str() == "Exempt") {
        errors.invalid_text(&kind, kind.str(), "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    match kind.str() {
        "Exempt" => {
            errors.forbidden_if_set(&limited, "must be nil if the type is not Limited");
            shares(errors, &exempt);
        }
        "Limited" => {
            errors.forbidden_if_set(&exempt, "must be nil if the type is Limited");
            if limited.is_set() {
                shares(errors, &limited);
                response(errors, &limited.get("limitResponse"));
            } else {
                errors.required(&limited, "must not be empty when type is Limited");
            }
        }
        "" => errors.required(&kind, ""),
        _ => errors.unsupported(&kind, &["Exempt", "Limited"]),
    }
}

fn shares(errors: &mut Errors, level: &Node<'_, '_>) {
    let count = level.get("nominalConcurrencyShares");
    if count.number() < 0 {
        errors.invalid(&count, "must be a non-negative integer");
    }
    errors.in_range_if_set(&level.get("lendablePercent"), 0, 100);
    let borrowed = level.get("borrowingLimitPercent");
    if borrowed.number() < 0 {
        errors.invalid(&borrowed, "if specified, must be a non-negative integer");
    }
}

fn response(errors: &mut Errors, response: &Node<'_, '_>) {
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.str() {
        "Reject" => {
            errors.forbidden_if_set(&queuing, "must be nil if limited.limitResponse.type is not Limited");
        }
        "Queue" if !queuing.is_set() => {
            errors.required(&queuing, "must not be empty if limited.limitResponse.type is Limited");
        }
        "Queue" => {
            let (queues, hand) = (queuing.get("queues"), queuing.get("handSize"));
            for field in [&queuing.get("queueLengthLimit"), &queues, &hand] {
                // Zero stands for the default.
                if field.number() < 0 {
                    errors.invalid(field, "must be positive");
                }
            }
            if queues.number() > 10_000_000 {
                errors.invalid(&queues, "must not be greater than 10000000");
            }
            let most = if queues.number() == 0 { 64 } else { queues.number() };
            if hand.number() > most && most > 0 {
                errors.invalid(&hand, &format!("should not be greater than queues ({most})"));
            }
        }
        "" => errors.required(&kind, ""),
        _ => errors.unsupported(&kind, &["Queue", "Reject"]),
    }
}
