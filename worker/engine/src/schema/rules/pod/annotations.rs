//! Annotations of pods that the server gives a meaning.

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use super::placement;
use super::shared::containers;

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// Checks the annotations of a pod or template.
pub(super) fn of_pod(errors: &mut Errors, annotations: &Node<'_, '_>, spec: &Node<'_, '_>) {
    if annotations.is_empty() {
        return;
    }
    let mirror = annotations.key("kubernetes.io/config.mirror");
    if mirror.is_set() && spec.get("nodeName").is_empty() {
        errors.invalid(&mirror, "must set spec.nodeName if mirror pod annotation is set");
    }
    tolerations(errors, annotations);
    let cost = annotations.key("controller.kubernetes.io/pod-deletion-cost");
    if cost.text().is_some_and(|text| !is_cost(text)) {
        errors.invalid(&cost, "must be a 32bit integer");
    }
    for (key, value) in annotations.pairs() {
        if key == SECCOMP_POD || key.starts_with(SECCOMP) {
            seccomp(errors, &annotations.get(key), value.str());
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            if !containers(spec).any(|known| known.name() == container) {
                errors.invalid_text(&value, container, "container not found");
            }
            let profile = value.str();
            let is_profile =
                ["", "runtime/default", "unconfined"].contains(&profile) || profile.starts_with("localhost/");
            if !is_profile {
                errors.invalid(&value, &format!("invalid AppArmor profile name: \"{profile}\""));
            }
        }
    }
}

/// A 32-bit integer without leading zeros or plus.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" && text == "0" || !digits.starts_with('0') && !text.starts_with('+');
    is_plain && text.parse::<i32>().is_ok()
}

fn tolerations(errors: &mut Errors, annotations: &Node<'_, '_>) {
    let key = "scheduler.alpha.kubernetes.io/tolerations";
    let text = annotations.key(key).str();
    if text.is_empty() {
        return;
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if value.is_array() => {
            let list = Node::root(&value);
            placement::tolerations(errors, &annotations.get(key).in_place_of(&list));
        }
        Ok(serde_json::Value::Null) => {}
        _ => errors.invalid_text(annotations, key, "is not a list of tolerations"),
    }
}

fn seccomp(errors: &mut Errors, at: &Node<'_, '_>, profile: &str) {
    if ["runtime/default", "docker/default", "unconfined"].contains(&profile) {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(path) => errors.check_text(at, path, text::descending_path),
        None => errors.invalid_text(at, profile, "must be a valid seccomp profile"),
    }
}

/// Annotations and the fields that replaced them must say the same.
pub(super) fn match_fields(errors: &mut Errors, annotations: &Node<'_, '_>, spec: &Node<'_, '_>) {
    if annotations.is_empty() {
        return;
    }
    let pod_security = spec.get("securityContext");
    let pod_seccomp = pod_security.get("seccompProfile");
    if let Some(annotation) = annotations.key(SECCOMP_POD).text() {
        matches(errors, &pod_seccomp, annotation, "seccomp");
    }
    let is_windows = spec.get("os").get("name").str() == "windows";
    for container in containers(spec) {
        let node = container.node();
        let list = spec.get(container.list());
        let at = list.moved(container.position(), &node);
        let security = at.get("securityContext");
        let name = container.name();
        let seccomp = security.get("seccompProfile");
        if let Some(annotation) = annotations.key(&format!("{SECCOMP}{name}")).text() {
            matches(errors, &seccomp, annotation, "seccomp");
        }
        if is_windows {
            continue;
        }
        let own = security.get("appArmorProfile");
        let pods = pod_security.get("appArmorProfile");
        let profile = if own.is_set() { own } else { own.in_place_of(&pods) };
        if let Some(annotation) = annotations.key(&format!("{APP_ARMOR}{name}")).text() {
            matches(errors, &profile, annotation, "apparmor");
        }
    }
}

fn matches(errors: &mut Errors, profile: &Node<'_, '_>, annotation: &str, what: &str) {
    let is_same = match profile.get("type").str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => {
            annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default")
        }
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(path) => {
                if profile.get("localhostProfile").text() != Some(path) {
                    errors.forbidden(
                        &profile.get("localhostProfile"),
                        &format!("{what} profile in annotation and field must match"),
                    );
                }
                true
            }
            None => false,
        },
        _ => true,
    };
    if !is_same {
        errors.forbidden(&profile.get("type"), &format!("{what} type in annotation and field must match"));
    }
}
