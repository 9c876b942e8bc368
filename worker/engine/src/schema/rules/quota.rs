//! Limit ranges, resource quotas, disruption budgets.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::shown;
use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::resources;
use super::text;
use super::workloads;
use crate::k8s::quantity::Quantity;

type Amounts<'v> = BTreeMap<&'v str, (Quantity, String)>;

/// A `LimitRange`.
pub(crate) fn limit_range(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let mut types = BTreeSet::new();
    for limit in object.get("spec").get("limits").entries() {
        let kind = limit.get("type");
        let before = errors.len();
        errors.check(&kind, text::qualified);
        if errors.len() == before
            && !kind.str().contains('/')
            && !["Container", "PersistentVolumeClaim", "Pod"].contains(&kind.str())
        {
            errors.invalid(&kind, "must be a standard limit type or fully qualified");
        }
        if !types.insert(kind.str()) {
            errors.duplicate_text(&kind, kind.str());
        }
        limit_item(errors, &limit, kind.str());
    }
}

fn amounts<'v>(errors: &mut Errors, list: &Node<'_, 'v>, kind: &str) -> Amounts<'v> {
    let mut amounts = Amounts::new();
    for (name, amount) in list.pairs() {
        if ["Container", "Pod"].contains(&kind) {
            resources::container_name(errors, &amount, name);
        } else {
            resources::any_name(errors, &amount, name);
        }
        amounts.insert(name, (resources::amount(&amount), shown(&amount)));
    }
    amounts
}

fn limit_item(errors: &mut Errors, limit: &Node<'_, '_>, kind: &str) {
    let max = amounts(errors, &limit.get("max"), kind);
    let min = amounts(errors, &limit.get("min"), kind);
    let (mut defaults, mut requests) = (Amounts::new(), Amounts::new());
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if !limit.get(field).is_empty() {
                errors.forbidden(&limit.get(field), "may not be specified when `type` is 'Pod'");
            }
        }
    } else {
        defaults = amounts(errors, &limit.get("default"), kind);
        requests = amounts(errors, &limit.get("defaultRequest"), kind);
    }
    if kind == "Container" {
        fill(errors, (&mut defaults, &limit.get("default")), &max);
        let filled = defaults.clone();
        fill(errors, (&mut requests, &limit.get("defaultRequest")), &filled);
        fill(errors, (&mut requests, &limit.get("defaultRequest")), &min);
    }
    if kind == "PersistentVolumeClaim" && !min.contains_key("storage") && !max.contains_key("storage") {
        errors.required(
            &limit.get("limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    let ratios = amounts(errors, &limit.get("maxLimitRequestRatio"), kind);
    order(errors, limit, [&min, &max, &defaults, &requests]);
    for (name, (ratio, ratio_text)) in &ratios {
        let list = limit.get("maxLimitRequestRatio");
        let at = list.key(name);
        if ratio.as_f64() < 1.0 {
            errors.invalid(&at, &format!("ratio {ratio_text} is less than 1"));
        }
        if let (Some((min, _)), Some((max, _))) = (min.get(name), max.get(name)) {
            let most = max.as_f64() / min.as_f64();
            if ratio.as_f64() > most {
                errors.invalid(&at, &format!("ratio {ratio_text} is greater than max/min = {most:.6}"));
            }
        }
    }
}

/// What the server fills in for containers, whose names it then checks again.
fn fill<'v>(errors: &mut Errors, (to, list): (&mut Amounts<'v>, &Node<'_, '_>), from: &Amounts<'v>) {
    for (name, amount) in from {
        if !to.contains_key(name) {
            resources::container_name(errors, &list.key(name), name);
            to.insert(name, amount.clone());
        }
    }
}

/// min ≤ default request ≤ default ≤ max.
fn order(errors: &mut Errors, limit: &Node<'_, '_>, [min, max, defaults, requests]: [&Amounts<'_>; 4]) {
    let names: BTreeSet<&str> =
        [min, max, defaults, requests].iter().flat_map(|amounts| amounts.keys().copied()).collect();
    let mut compare = |name: &str, field: &str, low: (&Amounts<'_>, &str), high: (&Amounts<'_>, &str)| {
        if let (Some((lower, low_text)), Some((higher, high_text))) = (low.0.get(name), high.0.get(name))
            && lower > higher
        {
            let wrong = match (low.1, field) {
                ("min", "defaultRequest") | ("default", _) => high_text,
                _ => low_text,
            };
            errors.invalid_text(
                &limit.get(field).key(name),
                wrong,
                &format!("{} value {low_text} is greater than {} value {high_text}", low.1, high.1),
            );
        }
    };
    for name in &names {
        compare(name, "min", (min, "min"), (max, "max"));
        compare(name, "defaultRequest", (min, "min"), (requests, "default request"));
        compare(name, "defaultRequest", (requests, "default request"), (max, "max"));
        compare(name, "defaultRequest", (requests, "default request"), (defaults, "default limit"));
        compare(name, "default", (min, "min"), (defaults, "default"));
        compare(name, "default", (defaults, "default"), (max, "max"));
    }
    for name in names.iter().filter(|name| !resources::may_overcommit(name)) {
        if let (Some((own, text)), Some((request, request_text))) = (defaults.get(name), requests.get(name))
            && own != request
        {
            let list = limit.get("defaultRequest");
            errors.invalid_text(
                &list.key(name),
                request_text,
                &format!("default value {text} must equal to defaultRequest value {request_text} in {name}"),
            );
        }
    }
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];
const COMPUTE: &[&str] =
    &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/// A `ResourceQuota`.
pub(crate) fn resource_quota(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let spec = object.get("spec");
    let hard = spec.get("hard");
    for (name, amount) in hard.pairs() {
        resources::any_name(errors, &amount, name);
        if !name.contains('/') && !resources::is_quota_resource(name) {
            errors.invalid_text(&amount, name, "must be a standard resource for quota");
        }
        resources::checked_amount(errors, &amount, name);
    }
    let scopes = spec.get("scopes");
    for scope in scopes.texts() {
        if !SCOPES.contains(&scope) {
            errors.invalid(&scopes, "unsupported scope");
        }
        if !applies(scope, &hard) {
            errors.invalid(&scopes, "unsupported scope applied to resource");
        }
    }
    conflicts(errors, &scopes, |scope| scopes.texts().any(|other| other == scope));
    let selector = spec.get("scopeSelector");
    scope_selector(errors, &selector, &hard);
}

/// Whether a scope has a meaning for each of the resources.
fn applies(scope: &str, hard: &Node<'_, '_>) -> bool {
    let valid: &[&str] = match scope {
        "BestEffort" => &["pods"],
        "VolumeAttributesClass" => &["persistentvolumeclaims", "requests.storage"],
        scope if SCOPES.contains(&scope) => COMPUTE,
        _ => return true,
    };
    hard.pairs().all(|(name, _)| !resources::is_quota_resource(name) || valid.contains(&name))
}

fn conflicts(errors: &mut Errors, at: &Node<'_, '_>, has: impl Fn(&str) -> bool) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            errors.invalid(at, "conflicting scopes");
        }
    }
}

/// The server places the errors of all expressions at their list.
fn scope_selector(errors: &mut Errors, selector: &Node<'_, '_>, hard: &Node<'_, '_>) {
    let expressions = selector.get("matchExpressions");
    for expression in expressions.entries() {
        let at = expressions.in_place_of(&expression);
        let (scope, operator, values) = (at.get("scopeName"), at.get("operator"), at.get("values"));
        if !SCOPES.contains(&scope.str()) {
            errors.invalid_text(&scope, scope.str(), "unsupported scope");
        }
        if !applies(scope.str(), hard) {
            errors.invalid(&expressions, "unsupported scope applied to resource");
        }
        let exists_only = SCOPES.contains(&scope.str())
            && !["PriorityClass", "VolumeAttributesClass"].contains(&scope.str());
        if exists_only && operator.str() != "Exists" {
            errors.invalid_text(&operator, operator.str(), "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        }
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &values,
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
                &values,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(&operator, other, "not a valid selector operator"),
        }
    }
    conflicts(errors, &expressions, |scope| {
        expressions.entries().any(|expression| expression.get("scopeName").str() == scope)
    });
}

/// A `PodDisruptionBudget`.
pub(crate) fn disruption_budget(errors: &mut Errors, object: &Node<'_, '_>) {
    let before = errors.len();
    let spec = object.get("spec");
    let (min, max) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if min.is_set() && max.is_set() {
        errors.invalid(&spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for bound in [min, max] {
        workloads::count_or_percent(errors, &bound);
        workloads::at_most_all(errors, &bound);
    }
    meta::selector(errors, &spec.get("selector"));
    errors.one_of(&spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"]);
    // The rules of this kind leave out the metadata; the server then checks it for all kinds, but only if all else is right.
    if errors.len() == before || errors.is_lenient() {
        meta::object(errors, object, Naming::PATH.with_generation().with_any_finalizers());
    }
}
