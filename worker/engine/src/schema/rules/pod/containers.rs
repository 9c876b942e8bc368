//! Containers of all sorts.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::features::Feature;
use super::super::node::Node;
use super::super::resources::{self, Owner};
use super::super::text;
use super::environment;
use super::handlers;
use super::mounts;
use super::security;
use super::shared::{Scope, containers, image_is_trimmed};
use crate::k8s::quantity::Quantity;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const NOT_FOR_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Checks the containers of a pod.
pub(super) fn check(errors: &mut Errors, spec: &Node<'_, '_>, scope: &Scope<'_>) {
    let (own, init) = (spec.get("containers"), spec.get("initContainers"));
    regular(errors, &own, scope);
    initial(errors, &init, &own, scope);
    ephemeral(errors, &spec.get("ephemeralContainers"), [&own, &init], scope);
}

fn regular(errors: &mut Errors, list: &Node<'_, '_>, scope: &Scope<'_>) {
    if list.is_empty() {
        return errors.required(list, "");
    }
    let mut names = BTreeSet::new();
    for container in list.entries() {
        common(errors, &container, scope);
        if !names.insert(container.get("name").str()) {
            errors.duplicate_text(&container.get("name"), container.get("name").str());
        }
        handlers::of_container(errors, &container, scope.grace_seconds);
        if errors.has(Feature::ContainerRestartRules) {
            restart_policy(errors, &container);
        } else if container.get("restartPolicy").is_set() && !errors.has(Feature::DropsContainerRestartPolicy)
        {
            errors.forbidden(&container.get("restartPolicy"), "may not be set for non-init containers");
        }
    }
    host_ports(errors, list.entries(), scope);
}

fn initial(errors: &mut Errors, list: &Node<'_, '_>, own: &Node<'_, '_>, scope: &Scope<'_>) {
    const NOT_ALLOWED: &str = "may not be set for init containers without restartPolicy=Always";
    if list.is_empty() {
        return;
    }
    let mut names: BTreeSet<&str> = own.entries().map(|container| container.get("name").str()).collect();
    for container in list.entries() {
        common(errors, &container, scope);
        if !errors.has(Feature::ContainerRestartRules) {
            let policy = container.get("restartPolicy");
            if policy.is_set() && !errors.has(Feature::DropsContainerRestartPolicy) {
                errors.one_of(&policy, &["Always"]);
            }
        } else if container.get("restartPolicy").is_set() || container.get("restartPolicyRules").is_empty() {
            restart_policy(errors, &container);
        } else {
            errors.required(
                &container.get("restartPolicy"),
                "must specify restartPolicy when restart rules are used",
            );
        }
        let name = container.get("name");
        if names.contains(name.str()) {
            errors.duplicate_text(&name, name.str());
        } else if !name.is_empty() {
            names.insert(name.str());
        }
        // The server counts the ports of each init container from the first of them.
        let first = list.moved(0, &container);
        host_ports(errors, std::iter::once(first), scope);
        let is_sidecar = container.get("restartPolicy").str() == "Always";
        if is_sidecar {
            handlers::of_container(errors, &container, scope.grace_seconds);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !is_dropped(&container.get(field)) {
                    errors.forbidden_if_set(&container.get(field), NOT_ALLOWED);
                }
            }
            for policy in container.get("resizePolicy").entries() {
                if policy.get("restartPolicy").str() == "RestartContainer" {
                    errors.invalid(
                        &policy.get("restartPolicy"),
                        "must not be set to 'RestartContainer' for non-sidecar initContainers",
                    );
                }
            }
        }
    }
}

/// A lifecycle that only names a signal is dropped: signals are behind a feature gate that is off.
fn is_dropped(lifecycle: &Node<'_, '_>) -> bool {
    lifecycle.get("stopSignal").is_set() && lifecycle.len() == 1
}

fn ephemeral(errors: &mut Errors, list: &Node<'_, '_>, others: [&Node<'_, '_>; 2], scope: &Scope<'_>) {
    let others: BTreeSet<&str> =
        others.iter().flat_map(|list| list.entries().map(|other| other.get("name").str())).collect();
    let mut names = others.clone();
    for container in list.entries() {
        common(errors, &container, scope);
        image_is_trimmed(errors, &container);
        let (name, target) = (container.get("name"), container.get("targetContainerName"));
        if !names.insert(name.str()) {
            errors.duplicate_text(&name, name.str());
        }
        if !target.is_empty() && !others.contains(target.str()) {
            errors.not_found(&target, target.str());
        }
        for name in NOT_FOR_EPHEMERAL {
            let field = container.get(name);
            let is_zero = *name == "resources" && field.is_empty();
            if field.is_set() && !is_zero && !is_dropped(&field) {
                errors.forbidden(&field, "cannot be set for an Ephemeral Container");
            }
        }
        for mount in container.get("volumeMounts").entries() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).is_empty() {
                    errors.forbidden(&mount.get(field), "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

fn common(errors: &mut Errors, container: &Node<'_, '_>, scope: &Scope<'_>) {
    errors.needs_checked(&container.get("name"), text::label);
    errors.needs(&container.get("image"));
    errors.one_of_or_default(&container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    ports(errors, &container.get("ports"), scope);
    environment::variables(errors, &container.get("env"));
    environment::sources(errors, &container.get("envFrom"));
    mounts::check(errors, container, &scope.volumes);
    errors.one_of_or_default(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    let owner = if scope.is_pod { Owner::PodsContainer } else { Owner::Container };
    resources::requirements(errors, &container.get("resources"), &scope.claims, owner);
    resize(errors, &container.get("resizePolicy"), scope);
    security::container(errors, &container.get("securityContext"), scope.host_users);
}

fn ports(errors: &mut Errors, ports: &Node<'_, '_>, scope: &Scope<'_>) {
    let mut names = BTreeSet::new();
    for port in ports.entries() {
        let (name, own, host) = (port.get("name"), port.get("containerPort"), port.get("hostPort"));
        if !name.is_empty() {
            let messages = text::port_name(name.str());
            if messages.is_empty() && !names.insert(name.str()) {
                errors.duplicate(&name);
            }
            for message in messages {
                errors.invalid(&name, message);
            }
        }
        if own.number() == 0 {
            errors.required(&own, "");
        } else {
            errors.port_number(&own);
        }
        if host.number() != 0 {
            errors.port_number(&host);
        } else if scope.is_pod && scope.host_network && own.number() != 0 {
            errors.port_number(&host.in_place_of(&own));
        }
        errors.one_of_or_default(&port.get("protocol"), PROTOCOLS);
    }
}

/// A port of the host, with its address and protocol, can be used once.
fn host_ports<'n>(errors: &mut Errors, list: impl Iterator<Item = Node<'n, 'n>>, scope: &Scope<'_>) {
    let mut taken = BTreeSet::new();
    for container in list {
        for port in container.get("ports").entries() {
            let mut number = port.get("hostPort").number();
            if number == 0 && scope.is_pod && scope.host_network {
                number = port.get("containerPort").number();
            }
            if number != 0 {
                let key =
                    format!("{}/{}/{number}", port.get("protocol").str_or("TCP"), port.get("hostIP").str());
                if taken.contains(&key) {
                    errors.duplicate_text(&port.get("hostPort"), &key);
                } else {
                    taken.insert(key);
                }
            }
        }
    }
}

fn restart_policy(errors: &mut Errors, container: &Node<'_, '_>) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    if policy.is_set() {
        errors.one_of(&policy, &["Always", "Never", "OnFailure"]);
    } else if !rules.is_empty() {
        errors.required(&policy, "must specify restartPolicy when restart rules are used");
    }
    errors.at_most_entries(&rules, 20);
    for rule in rules.entries() {
        let action = rule.get("action");
        if !["Restart", "RestartAllContainers"].contains(&action.str()) {
            errors.unsupported_text(&action, action.str(), &["Restart", "RestartAllContainers"]);
        }
        let codes = rule.get("exitCodes");
        if codes.is_set() {
            let operator = codes.get("operator");
            if !["In", "NotIn"].contains(&operator.str()) {
                errors.unsupported_text(&operator, operator.str(), &["In", "NotIn"]);
            }
            errors.at_most_entries(&codes.get("values"), 255);
        } else {
            errors.required(&codes, "must be specified");
        }
    }
}

fn resize(errors: &mut Errors, policies: &Node<'_, '_>, scope: &Scope<'_>) {
    let mut seen = BTreeSet::new();
    for policy in policies.entries() {
        let (resource, restart) = (policy.get("resourceName").str(), policy.get("restartPolicy").str());
        if !seen.insert(resource) {
            errors.duplicate_text(&policy, resource);
        }
        match resource {
            "cpu" | "memory" => {}
            "" => errors.required(policies, ""),
            other => errors.unsupported_text(policies, other, &["cpu", "memory"]),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.required(policies, ""),
            other => errors.unsupported_text(policies, other, &["NotRequired", "RestartContainer"]),
        }
        if scope.restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid_text(policies, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}

/// What all containers together ask for, or may use: those that run at one time. `None` if none says so.
pub(super) fn sum(
    spec: &Node<'_, '_>,
    list: &str,
    resource: &str,
    limits_are_requests: bool,
) -> Option<Quantity> {
    let of = |container: &Node<'_, '_>| {
        let resources = container.get("resources");
        let (own, limits) = (resources.get(list), resources.get("limits"));
        let (own, limit) = (own.key(resource), limits.key(resource));
        if own.is_set() {
            Some(resources::amount(&own))
        } else {
            (limits_are_requests && limit.is_set()).then(|| resources::amount(&limit))
        }
    };
    let mut is_any = false;
    let mut total = Quantity::ZERO;
    let (mut sidecars, mut most) = (Quantity::ZERO, Quantity::ZERO);
    for container in spec.get("containers").entries() {
        let amount = of(&container);
        is_any |= amount.is_some();
        total = total.plus(amount.unwrap_or(Quantity::ZERO));
    }
    for container in spec.get("initContainers").entries() {
        let amount = of(&container);
        is_any |= amount.is_some();
        let amount = amount.unwrap_or(Quantity::ZERO);
        let at_once = amount.plus(sidecars);
        if container.get("restartPolicy").str() == "Always" {
            total = total.plus(amount);
            sidecars = at_once;
        }
        most = most.max(at_once);
    }
    is_any.then(|| total.max(most))
}

/// A variable from a file is in an `emptyDir` of the pod.
pub(super) fn files_are_known(errors: &mut Errors, spec: &Node<'_, '_>) {
    for container in containers(spec) {
        let list = spec.get(container.list());
        let node = container.node();
        let at = list.moved(container.position(), &node);
        for variable in at.get("env").entries() {
            let source = variable.get("valueFrom");
            let file = source.get("fileKeyRef");
            if !file.is_set() {
                continue;
            }
            let name = file.get("volumeName");
            let volumes = spec.get("volumes");
            let found = volumes.entries().find_map(|volume| {
                (volume.get("name").str() == name.str()).then(|| volume.get("emptyDir").is_set())
            });
            match found {
                None => errors.not_found(&name, name.str()),
                Some(false) => {
                    errors.invalid_text(&name, name.str(), "referenced volume must be of type emptyDir");
                }
                Some(true) => {}
            }
        }
    }
}
