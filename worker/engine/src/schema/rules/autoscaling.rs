//! Horizontal pod autoscalers.

use super::errors::Errors;
use super::features::Feature;
use super::meta::{self, Naming};
use super::node::Node;
use super::resources;
use super::text;

const SOURCES: &[&str] = &["object", "external", "pods", "resource", "containerResource"];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

/// A `HorizontalPodAutoscaler` of `autoscaling/v1`.
pub(crate) fn v1(errors: &mut Errors, object: &Node<'_, '_>) {
    let spec = object.get("spec");
    common(errors, object, false);
    // The server converts the field to a metric.
    let share = spec.get("targetCPUUtilizationPercentage");
    if share.is_set() && share.number() < 1 {
        let metrics = spec.get("metrics");
        let metric = metrics.moved(0, &share);
        let resource = metric.alias("resource");
        let target = resource.alias("target");
        errors.invalid(&target.alias("averageUtilization"), "must be greater than 0");
    }
}

/// A `HorizontalPodAutoscaler` of `autoscaling/v2`.
pub(crate) fn v2(errors: &mut Errors, object: &Node<'_, '_>) {
    let spec = object.get("spec");
    let metrics = spec.get("metrics");
    let has_external =
        metrics.entries().any(|metric| ["Object", "External"].contains(&metric.get("type").str()));
    common(errors, object, has_external);
    for metric in metrics.entries() {
        source(errors, &metric);
    }
    let behavior = spec.get("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        scaling(errors, &behavior.get(direction));
    }
}

fn common(errors: &mut Errors, object: &Node<'_, '_>, has_external: bool) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let scales_to_zero = errors.has(Feature::HpaScaleToZero);
    if !scales_to_zero && min.int().is_some_and(|min| min < 1) {
        errors.invalid(&min, "must be greater than or equal to 1");
    } else {
        errors.not_negative(&min);
    }
    if max.number() == 0 {
        errors.required(&max, "must be set and greater than 0");
    } else if max.number() < 0 {
        errors.invalid(&max, "must be greater than or equal to 1");
    }
    if max.number() < min.int().unwrap_or(1) {
        errors.invalid_as(&max, max.number(), "must be greater than or equal to `minReplicas`");
    }
    reference(errors, &spec.get("scaleTargetRef"), true);
    if scales_to_zero && min.int() == Some(0) && !has_external {
        errors.forbidden(
            &spec.get("metrics"),
            "must specify at least one Object or External metric to support scaling to zero replicas",
        );
    }
}

/// A reference to an object that scales, or that is measured. Only the former may lack its group.
fn reference(errors: &mut Errors, reference: &Node<'_, '_>, is_target: bool) {
    errors.needs_checked(&reference.get("kind"), text::path_segment);
    errors.needs_checked(&reference.get("name"), text::path_segment);
    let version = reference.get("apiVersion");
    let written = version.str();
    if written.matches('/').count() > 1 {
        errors.invalid(&version, &format!("unexpected GroupVersion string: {written}"));
    } else if is_target && (!written.contains('/') || written.starts_with('/')) && needs_group(reference) {
        errors.invalid_text(&version, written, "apiVersion must specify API group");
    }
}

/// Replication controllers are of the core group.
fn needs_group(reference: &Node<'_, '_>) -> bool {
    reference.get("kind").str() != "ReplicationController"
}

fn source(errors: &mut Errors, metric: &Node<'_, '_>) {
    let kind = metric.get("type");
    if kind.is_empty() {
        errors.required(&kind, "must specify a metric source type");
    }
    if !TYPES.contains(&kind.str()) {
        errors.unsupported_text(&kind, kind.str(), TYPES);
    }
    let mut present = SOURCES.iter().filter(|source| metric.get(source).is_set());
    if let Some(first) = present.next() {
        let source = metric.get(first);
        match *first {
            "object" => object_source(errors, &source),
            "external" => external_source(errors, &source),
            "pods" => pods_source(errors, &source),
            "resource" => resource_source(errors, &source, false),
            _ => resource_source(errors, &source, true),
        }
    }
    let expected = SOURCES.iter().find(|source| source.eq_ignore_ascii_case(kind.str()));
    if let Some(expected) = expected.filter(|_| TYPES.contains(&kind.str())) {
        let source = metric.get(expected);
        if !source.is_set() {
            errors.required(&source, "must populate information for the given metric source");
        }
    }
    let count = SOURCES.iter().filter(|source| metric.get(source).is_set()).count();
    if count != 1 {
        for other in SOURCES.iter().filter(|source| Some(*source) != expected) {
            errors.forbidden_if_set(&metric.get(other), "must populate the given metric source only");
        }
    }
}

fn metric_name(errors: &mut Errors, source: &Node<'_, '_>) {
    let metric = source.get("metric");
    let name = metric.get("name");
    if name.is_empty() {
        errors.required(&name, "must specify a metric name");
    } else {
        errors.check(&name, text::path_segment);
    }
}

fn target(errors: &mut Errors, source: &Node<'_, '_>) {
    let target = source.get("target");
    let kind = target.get("type");
    if kind.is_empty() {
        errors.required(&kind, "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.str()) {
        errors.invalid_text(&kind, kind.str(), "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let amount = target.get(field);
        if amount.is_set() && !resources::amount(&amount).is_positive() {
            errors.invalid(&amount, "must be positive");
        }
    }
    let share = target.get("averageUtilization");
    if share.int().is_some_and(|share| share < 1) {
        errors.invalid(&share, "must be greater than 0");
    }
}

fn object_source(errors: &mut Errors, source: &Node<'_, '_>) {
    reference(errors, &source.get("describedObject"), false);
    metric_name(errors, source);
    target(errors, source);
    let goal = source.get("target");
    if !goal.get("value").is_set() && !goal.get("averageValue").is_set() {
        errors.required(&goal.get("averageValue"), "must set either a target value or averageValue");
    }
}

fn external_source(errors: &mut Errors, source: &Node<'_, '_>) {
    metric_name(errors, source);
    target(errors, source);
    let goal = source.get("target");
    match (goal.get("value").is_set(), goal.get("averageValue").is_set()) {
        (false, false) => errors.required(
            &goal.get("averageValue"),
            "must set either a target value for metric or a per-pod target",
        ),
        (true, true) => errors
            .forbidden(&goal.get("value"), "may not set both a target value for metric and a per-pod target"),
        _ => {}
    }
}

fn pods_source(errors: &mut Errors, source: &Node<'_, '_>) {
    metric_name(errors, source);
    target(errors, source);
    let goal = source.get("target");
    if !goal.get("averageValue").is_set() {
        errors.required(&goal.get("averageValue"), "must specify a positive target averageValue");
    }
}

fn resource_source(errors: &mut Errors, source: &Node<'_, '_>, of_container: bool) {
    let name = source.get("name");
    if name.is_empty() {
        errors.required(&name, "must specify a resource name");
    } else if of_container {
        resources::container_name(errors, &name, name.str());
    }
    if of_container {
        let container = source.get("container");
        if container.is_empty() {
            errors.required(&container, "must specify a container");
        } else {
            errors.check(&container, text::label);
        }
    }
    target(errors, source);
    let goal = source.get("target");
    match (goal.get("averageUtilization").is_set(), goal.get("averageValue").is_set()) {
        (false, false) => errors.required(
            &goal.get("averageUtilization"),
            "must set either a target raw value or a target utilization",
        ),
        (true, true) => errors.forbidden(
            &goal.get("averageValue"),
            "may not set both a target raw value and a target utilization",
        ),
        _ => {}
    }
}

fn scaling(errors: &mut Errors, rules: &Node<'_, '_>) {
    let window = rules.get("stabilizationWindowSeconds");
    if window.number() < 0 {
        errors.invalid(&window, "must be greater than or equal to zero");
    }
    if window.number() > 3_600 {
        errors.invalid(&window, "must be less than or equal to 3600");
    }
    errors.one_of(&rules.get("selectPolicy"), &["Disabled", "Max", "Min"]);
    let policies = rules.get("policies");
    // Absent, they are the server's; an empty list is one.
    if policies.is_set() && policies.is_empty() {
        errors.required(&policies, "must specify at least one Policy");
    }
    for policy in policies.entries() {
        let (kind, value, period) = (policy.get("type"), policy.get("value"), policy.get("periodSeconds"));
        if !["Pods", "Percent"].contains(&kind.str()) {
            errors.unsupported_text(&kind, kind.str(), &["Percent", "Pods"]);
        }
        for field in [&value, &period] {
            if field.number() <= 0 {
                errors.invalid_as(field, field.number(), "must be greater than zero");
            }
        }
        if period.number() > 1_800 {
            errors.invalid(&period, "must be less than or equal to 1800");
        }
    }
    let tolerance = rules.get("tolerance");
    if resources::amount(&tolerance).is_negative() {
        errors.invalid(&tolerance, "must be greater than or equal to 0");
    }
}
