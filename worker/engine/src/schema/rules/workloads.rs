//! Deployments, replica sets, stateful sets, daemon sets, replication controllers.

use super::claims;
use super::errors::Errors;
use super::features::Feature;
use super::meta::{self, Naming};
use super::node::Node;
use super::pod::{self, Template};
use super::text;

const STATEFUL_STRATEGIES: &str = "must be 'RollingUpdate' or 'OnDelete'";

/// A Deployment.
pub(crate) fn deployment(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    replica_set_spec(errors, &spec);
    let strategy = spec.get("strategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str_or("RollingUpdate") {
        "Recreate" => {
            errors.forbidden_if_set(&rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        "RollingUpdate" => rolling_update(errors, &rolling, "25%", "25%"),
        _ => errors.unsupported(&strategy, &["Recreate", "RollingUpdate"]),
    }
    errors.not_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    errors.not_negative(&deadline);
    if deadline.int().unwrap_or(600) <= spec.get("minReadySeconds").number() {
        errors.invalid_as(&deadline, deadline.int().unwrap_or(600), "must be greater than minReadySeconds");
    }
}

/// `maxUnavailable` and `maxSurge` of a Deployment, not both zero.
fn rolling_update(
    errors: &mut Errors,
    rolling: &Node<'_, '_>,
    unavailable_default: &str,
    surge_default: &str,
) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    count_or_percent(errors, &unavailable);
    count_or_percent(errors, &surge);
    if amount(&unavailable, unavailable_default) == 0 && amount(&surge, surge_default) == 0 {
        errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
    }
    at_most_all(errors, &unavailable);
}

/// A count or percentage that is not negative.
pub(crate) fn count_or_percent(errors: &mut Errors, at: &Node<'_, '_>) {
    if at.text().is_some() {
        errors.check(at, text::percent);
    } else {
        errors.not_negative(at);
    }
}

fn percentage(text: &str) -> Option<u64> {
    if !text::percent(text).is_empty() {
        return None;
    }
    text.strip_suffix('%').map(|digits| digits.parse().unwrap_or(u64::MAX))
}

/// Not more than 100 %.
pub(crate) fn at_most_all(errors: &mut Errors, at: &Node<'_, '_>) {
    if at.text().and_then(percentage).is_some_and(|percent| percent > 100) {
        errors.invalid(at, "must not be greater than 100%");
    }
}

/// The number of a count or percentage; what is neither is 0, as Go reads it.
fn amount(at: &Node<'_, '_>, default: &str) -> i64 {
    let of = |text: &str| {
        let percent = percentage(text).map(|percent| i64::try_from(percent).unwrap_or(i64::MAX));
        percent.or_else(|| text.parse().ok()).unwrap_or(0)
    };
    match at.text() {
        Some(text) => of(text),
        None => at.int().unwrap_or_else(|| of(default)),
    }
}

/// A `ReplicaSet`.
pub(crate) fn replica_set(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    replica_set_spec(errors, &object.get("spec"));
}

fn replica_set_spec(errors: &mut Errors, spec: &Node<'_, '_>) {
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    let selector = spec.get("selector");
    let template = spec.get("template");
    let is_right = selector_of_workload(errors, &selector, "empty selector is invalid for deployment");
    if is_right {
        selects_template(errors, &selector, &template);
        pod::template(errors, &template, Template::default());
        always_restarts(errors, &template, "ReplicaSet");
    } else {
        errors.invalid(&selector, "invalid label selector");
    }
}

/// A selector that must be there and say something; whether it can be used.
fn selector_of_workload(errors: &mut Errors, selector: &Node<'_, '_>, empty: &str) -> bool {
    if !selector.is_set() {
        errors.required(selector, "");
        return true;
    }
    let is_right = meta::selector(errors, selector);
    if meta::requirements(selector) == 0 {
        errors.invalid(selector, empty);
    }
    is_right
}

/// The template's labels match. No selector at all matches nothing, an empty one is reported as such.
fn selects_template(errors: &mut Errors, selector: &Node<'_, '_>, template: &Node<'_, '_>) {
    let metadata = template.get("metadata");
    let is_match = match meta::requirements(selector) {
        0 => selector.is_set(),
        _ => meta::matches(selector, &metadata.get("labels")),
    };
    if !is_match {
        meta::mismatch(errors, template);
    }
}

/// Pods of a controller that replaces them are always restarted, and have no deadline.
fn always_restarts(errors: &mut Errors, template: &Node<'_, '_>, kind: &str) {
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    if policy.str_or("Always") != "Always" {
        errors.unsupported(&policy, &["Always"]);
    }
    errors.forbidden_if_set(
        &spec.get("activeDeadlineSeconds"),
        &format!("activeDeadlineSeconds in {kind} is not Supported"),
    );
}

/// A `ReplicationController`, whose selector defaults to the template's labels.
pub(crate) fn replication_controller(errors: &mut Errors, object: &Node<'_, '_>) {
    let naming = Naming { checks_prefix: false, ..Naming::SUBDOMAIN.with_generation() };
    meta::object(errors, object, naming);
    let spec = object.get("spec");
    errors.not_negative(&spec.get("minReadySeconds"));
    errors.not_negative(&spec.get("replicas"));
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    if selector.is_empty() && labels.is_empty() {
        errors.required(&selector, "");
    }
    // A controller without labels gets those of its pods.
    let own = object.get("metadata");
    let own = own.get("labels");
    if own.is_empty() {
        meta::labels(errors, &own.in_place_of(&labels));
    }
    if !template.is_set() {
        return errors.required(&template, "");
    }
    let is_match = selector.pairs().all(|(key, value)| {
        labels.fields().is_some_and(|fields| fields.contains_key(key)) && labels.key(key).str() == value.str()
    });
    if !is_match {
        meta::mismatch(errors, &template);
    }
    pod::template(errors, &template, Template::default());
    always_restarts(errors, &template, "ReplicationController");
}

/// A `DaemonSet`.
pub(crate) fn daemon_set(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    let metadata = template.get("metadata");
    let is_right = meta::selector(errors, &selector);
    let is_match = selector.is_set() && meta::matches(&selector, &metadata.get("labels"));
    if is_right && !is_match {
        meta::mismatch(errors, &template);
    }
    if selector.is_set() && meta::requirements(&selector) == 0 {
        errors.invalid(&selector, "empty selector is invalid for daemonset");
    }
    pod::template(errors, &template, Template::default());
    always_restarts(errors, &template, "DaemonSet");
    errors.not_negative(&spec.get("minReadySeconds"));
    daemon_strategy(errors, &spec.get("updateStrategy"));
    errors.not_negative(&spec.get("revisionHistoryLimit"));
}

fn daemon_strategy(errors: &mut Errors, strategy: &Node<'_, '_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str_or("RollingUpdate") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            count_or_percent(errors, &unavailable);
            at_most_all(errors, &unavailable);
            count_or_percent(errors, &surge);
            at_most_all(errors, &surge);
            let has_unavailable = amount(&unavailable, "1") != 0;
            let has_surge = amount(&surge, "0") != 0;
            if has_unavailable && has_surge {
                errors.invalid(&surge, "may not be set when maxUnavailable is non-zero");
            } else if !has_unavailable && !has_surge {
                errors.required(&unavailable, "cannot be 0 when maxSurge is 0");
            }
        }
        _ => errors.unsupported(strategy, &["RollingUpdate", "OnDelete"]),
    }
}

/// A `StatefulSet`.
pub(crate) fn stateful_set(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::LABEL.with_generation());
    let spec = object.get("spec");
    let management = spec.get("podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&management.str_or("OrderedReady")) {
        errors.invalid(&management, "must be 'OrderedReady' or 'Parallel'");
    }
    stateful_strategy(errors, &spec.get("updateStrategy"));
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        errors.one_of_or_default(&retention.get(when), &["Retain", "Delete"]);
    }
    let claim_templates = spec.get("volumeClaimTemplates");
    let checks_templates = errors.has(Feature::StatefulSetTemplates);
    for claim in claim_templates.entries().filter(|_| checks_templates) {
        claims::template(errors, &claim.get("spec"));
    }
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    errors.not_negative(&spec.get("ordinals").get("start"));
    if errors.has(Feature::StatefulSetServiceName) {
        errors.check_if_any(&spec.get("serviceName"), text::label);
    }

    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector_of_workload(errors, &selector, "empty selector is invalid for statefulset") {
        selects_template(errors, &selector, &template);
        let mut names: Vec<&str> = Vec::new();
        for claim in claim_templates.entries() {
            let metadata = claim.get("metadata");
            let name = metadata.get("name").str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if checks_templates {
            pod::template(errors, &template, Template { claims: &names, names_hosts: true });
        } else {
            pod::template_metadata(errors, &template);
        }
    } else {
        errors.invalid(&selector, "");
    }
    always_restarts(errors, &template, "StatefulSet");
}

fn stateful_strategy(errors: &mut Errors, strategy: &Node<'_, '_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str_or("RollingUpdate") {
        "OnDelete" => {
            if rolling.is_set() {
                errors.invalid(&rolling, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            errors.not_negative(&rolling.get("partition"));
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                count_or_percent(errors, &unavailable);
                if amount(&unavailable, "1") == 0 {
                    errors.invalid(&unavailable, "cannot be 0");
                }
                at_most_all(errors, &unavailable);
            }
        }
        _ => errors.invalid(strategy, STATEFUL_STRATEGIES),
    }
}

/// A `ControllerRevision`.
pub(crate) fn controller_revision(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    errors.not_negative(&object.get("revision"));
    let data = object.get("data");
    if !data.is_set() {
        errors.required(&data, "data is mandatory");
    }
}
