//! Where a pod may run: node selectors, affinity, tolerations, spreading.

use super::super::errors::Errors;
use super::super::meta;
use super::super::node::Node;
use super::super::text;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `nodeSelector`.
pub(crate) fn node_selector(errors: &mut Errors, selector: &Node<'_, '_>) {
    meta::labels(errors, selector);
}

/// The effect of a taint that must be there.
pub(crate) fn taint_effect(errors: &mut Errors, effect: &Node<'_, '_>) {
    if errors.needs(effect) {
        errors.one_of(effect, EFFECTS);
    }
}

/// `affinity`.
pub(super) fn affinity(errors: &mut Errors, affinity: &Node<'_, '_>) {
    if !affinity.is_set() {
        return;
    }
    let nodes = affinity.get("nodeAffinity");
    let required = nodes.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_terms(errors, &required);
    }
    for preferred in nodes.get("preferredDuringSchedulingIgnoredDuringExecution").entries() {
        weight(errors, &preferred);
        node_term(errors, &preferred.get("preference"), false);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.get("requiredDuringSchedulingIgnoredDuringExecution").entries() {
            pod_term(errors, &term);
        }
        for preferred in pods.get("preferredDuringSchedulingIgnoredDuringExecution").entries() {
            weight(errors, &preferred);
            pod_term(errors, &preferred.get("podAffinityTerm"));
        }
    }
}

fn weight(errors: &mut Errors, preferred: &Node<'_, '_>) {
    let weight = preferred.get("weight");
    if !(1..=100).contains(&weight.number()) {
        errors.invalid_as(&weight, weight.number(), "must be in the range 1-100");
    }
}

/// A selector of nodes.
pub(crate) fn node_terms(errors: &mut Errors, selector: &Node<'_, '_>) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        return errors.required(&terms, "must have at least one node selector term");
    }
    for term in terms.entries() {
        node_term(errors, &term, true);
    }
}

fn node_term(errors: &mut Errors, term: &Node<'_, '_>, checks_values: bool) {
    for requirement in term.get("matchExpressions").entries() {
        node_requirement(errors, &requirement, checks_values);
    }
    for requirement in term.get("matchFields").entries() {
        let (key, operator, values) =
            (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.len() != 1 => {
                errors.required(
                    &values,
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
            "In" | "NotIn" => {}
            other => errors.invalid_text(&operator, other, "not a valid selector operator"),
        }
        if key.str() == "metadata.name" {
            for value in values.entries() {
                errors.check(&value, text::subdomain);
            }
        } else {
            errors.invalid_text(&key, key.str(), "not a valid field selector key");
        }
    }
}

fn node_requirement(errors: &mut Errors, requirement: &Node<'_, '_>, checks_values: bool) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid_text(&operator, other, "not a valid selector operator"),
    }
    errors.check(&requirement.get("key"), text::qualified);
    if checks_values {
        for value in values.entries() {
            errors.check(&value, text::label_value);
        }
    }
}

fn pod_term(errors: &mut Errors, term: &Node<'_, '_>) {
    meta::selector(errors, &term.get("labelSelector"));
    meta::selector(errors, &term.get("namespaceSelector"));
    for namespace in term.get("namespaces").texts() {
        errors.check_text(&term.get("namespace"), namespace, text::label);
    }
    label_keys(errors, term, true);
    let key = term.get("topologyKey");
    if key.is_empty() {
        errors.required(&key, "can not be empty");
    }
    errors.check(&key, text::qualified);
}

/// `matchLabelKeys` and `mismatchLabelKeys`: label keys, with a selector that does not name them too.
fn label_keys(errors: &mut Errors, term: &Node<'_, '_>, has_mismatches: bool) {
    let selector = term.get("labelSelector");
    let (wanted, unwanted) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    for keys in [&wanted, &unwanted] {
        if keys.is_empty() || (!has_mismatches && std::ptr::eq(keys, &raw const unwanted)) {
            continue;
        }
        if !selector.is_set() {
            errors.forbidden(keys, "must not be specified when labelSelector is not set");
            continue;
        }
        for key in keys.entries() {
            errors.check(&key, text::qualified);
        }
    }
    let labels = selector.get("matchLabels");
    let mut seen: Vec<&str> = labels.pairs().map(|(key, _)| key).collect();
    for expression in selector.get("matchExpressions").entries() {
        let key = expression.get("key").str();
        let position = wanted.texts().rev().position(|wanted| wanted == key);
        if let Some(position) = position.filter(|_| seen.contains(&key)) {
            let index = wanted.len() - 1 - position;
            errors.invalid_text(&term.index(index), key, "exists in both matchLabelKeys and labelSelector");
        }
        seen.push(key);
    }
    if has_mismatches {
        for key in wanted.entries().filter(|key| unwanted.texts().any(|other| other == key.str())) {
            errors.invalid(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

/// Tolerations.
pub(crate) fn tolerations(errors: &mut Errors, tolerations: &Node<'_, '_>) {
    for toleration in tolerations.entries() {
        let (key, operator, effect) =
            (toleration.get("key"), toleration.get("operator"), toleration.get("effect"));
        let value = toleration.get("value").str();
        errors.check_if_any(&key, text::qualified);
        if key.is_empty() && operator.str() != "Exists" {
            errors.invalid_text(
                &operator,
                operator.str(),
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if toleration.get("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            errors.invalid_text(
                &effect,
                effect.str(),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator.str() {
            "" | "Equal" => {
                let messages = text::label_value(value);
                if !messages.is_empty() {
                    errors.invalid_text(&operator, value, &messages.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    errors.invalid_text(&operator, value, "value must be empty when `operator` is 'Exists'");
                }
            }
            // Behind a feature gate that is off.
            "Lt" | "Gt" => errors.unsupported(&operator, &["Equal", "Exists", "Lt", "Gt"]),
            _ => errors.unsupported(&operator, &["Equal", "Exists"]),
        }
        errors.one_of_or_default(&effect, EFFECTS);
    }
}

/// `topologySpreadConstraints`.
pub(super) fn spread(errors: &mut Errors, constraints: &Node<'_, '_>) {
    const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
    for (index, constraint) in constraints.entries().enumerate() {
        let skew = constraint.get("maxSkew");
        if skew.number() <= 0 {
            errors.invalid_as(&skew, skew.number(), "must be greater than zero");
        }
        let (key, action) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if key.is_empty() {
            errors.required(&key, "can not be empty");
        }
        if !ACTIONS.contains(&action.str()) {
            errors.unsupported_text(&action, action.str(), ACTIONS);
        }
        let is_same = |other: &Node<'_, '_>| {
            other.get("topologyKey").str() == key.str()
                && other.get("whenUnsatisfiable").str() == action.str()
        };
        if constraints.entries().skip(index + 1).any(|other| is_same(&other)) {
            errors.duplicate_text(
                &constraint.get("{topologyKey, whenUnsatisfiable}"),
                &format!("{{{}, {}}}", key.str(), action.str()),
            );
        }
        let domains = constraint.get("minDomains");
        if domains.is_set() {
            if domains.number() <= 0 {
                errors.invalid(&domains, "must be greater than zero");
            }
            if action.str() != "DoNotSchedule" {
                errors.invalid(
                    &domains,
                    &format!(
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                        action.str()
                    ),
                );
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of(&constraint.get(policy), &["Honor", "Ignore"]);
        }
        label_keys(errors, &constraint, false);
        meta::selector(errors, &constraint.get("labelSelector"));
    }
}
