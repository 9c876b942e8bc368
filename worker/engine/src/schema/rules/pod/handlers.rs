//! Probes and hooks of containers.

use super::super::errors::Errors;
use super::super::features::Feature;
use super::super::meta;
use super::super::node::Node;
use super::super::text;

const PROBE_KINDS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_KINDS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// Hooks and probes of a container that runs as long as its pod.
pub(super) fn of_container(errors: &mut Errors, container: &Node<'_, '_>, grace_seconds: i64) {
    let hooks = container.get("lifecycle");
    for hook in ["postStart", "preStop"] {
        let hook = hooks.get(hook);
        if hook.is_set() {
            handler(errors, &hook, HOOK_KINDS, grace_seconds);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if probe.is_set() {
            handler(errors, &probe, PROBE_KINDS, grace_seconds);
            thresholds(errors, &probe, name == "readinessProbe");
        }
    }
}

fn thresholds(errors: &mut Errors, probe: &Node<'_, '_>, is_readiness: bool) {
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.not_negative(&probe.get(field));
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&grace, "must be greater than 0");
    }
    let successes = probe.get("successThreshold");
    if is_readiness {
        if grace.is_set() {
            errors.invalid(&grace, "must not be set for readinessProbes");
        }
    } else if ![0, 1].contains(&successes.number()) {
        errors.invalid(&successes, "must be 1");
    }
}

/// Exactly one kind of handler.
fn handler(errors: &mut Errors, handler: &Node<'_, '_>, kinds: &[&str], grace_seconds: i64) {
    let mut is_taken = false;
    for kind in kinds {
        let action = handler.get(kind);
        if !action.is_set() {
            continue;
        }
        if is_taken {
            errors.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        is_taken = true;
        match *kind {
            "exec" => {
                errors.needs(&action.get("command"));
            }
            "httpGet" => http(errors, &action),
            "tcpSocket" => meta::port(errors, &action.get("port")),
            "grpc" => errors.port_number(&action.get("port")),
            _ => {
                let seconds = action.get("seconds");
                let (least, said) = if errors.has(Feature::PodLifecycleSleepActionAllowZero) {
                    (0, "non-negative")
                } else {
                    (1, "greater than 0")
                };
                if !(least..=grace_seconds).contains(&seconds.number()) {
                    errors.invalid_as(
                        &action,
                        seconds.number(),
                        &format!(
                            "must be {said} and less than terminationGracePeriodSeconds ({grace_seconds})"
                        ),
                    );
                }
            }
        }
    }
    if !is_taken {
        errors.required(handler, "must specify a handler type");
    }
}

fn http(errors: &mut Errors, action: &Node<'_, '_>) {
    meta::port(errors, &action.get("port"));
    errors.one_of_or_default(&action.get("scheme"), &["HTTP", "HTTPS"]);
    let headers = action.get("httpHeaders");
    for header in headers.entries() {
        errors.check_text(&headers, header.get("name").str(), text::header_name);
    }
}
