//! The spec of a pod.

use std::collections::BTreeSet;

use super::super::claims::shown;
use super::super::errors::Errors;
use super::super::features::Feature;
use super::super::ip;
use super::super::node::Node;
use super::super::resources::{self, Owner as ResourceOwner};
use super::super::text;
use super::super::volumes;
use super::containers;
use super::operating_system;
use super::placement;
use super::security;
use super::shared::{Scope, Template};

/// Whose spec it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A pod's own, with its name.
    Pod {
        /// Empty if it has none.
        name: &'a str,
    },
    /// A template's.
    Template(Template<'a>),
}

/// Checks a spec.
pub(super) fn check(errors: &mut Errors, spec: &Node<'_, '_>, owner: Owner<'_>) {
    let scope = scope(errors, spec, owner);
    containers::check(errors, spec, &scope);
    pod_resources(errors, spec, &scope);
    host_ports(errors, spec, &scope);
    errors.one_of_or_default(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    errors.one_of_or_default(
        &spec.get("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    placement::node_selector(errors, &spec.get("nodeSelector"));
    security::pod(errors, spec);
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        errors.invalid(
            &spec.get("shareProcessNamespace"),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    placement::affinity(errors, &spec.get("affinity"));
    dns(errors, spec);
    gates(errors, spec);
    placement::spread(errors, &spec.get("topologySpreadConstraints"));
    operating_system::host_processes(errors, spec);
    host_users(errors, spec, &scope);
    host_name(errors, spec);
    names(errors, spec, owner);
    placement::tolerations(errors, &spec.get("tolerations"));
    aliases(errors, &spec.get("hostAliases"));
    errors.one_of(&spec.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    let overhead = spec.get("overhead");
    let limits = overhead.get("limits");
    resources::overhead(errors, &overhead, &limits.in_place_of(&overhead));
    operating_system::check(errors, spec);
    containers::files_are_known(errors, spec);
}

fn scope<'v>(errors: &mut Errors, spec: &Node<'_, 'v>, owner: Owner<'v>) -> Scope<'v> {
    let is_pod = matches!(owner, Owner::Pod { .. });
    let (claims, name) = match owner {
        Owner::Pod { name } => (&[][..], Some(name)),
        Owner::Template(template) => (template.claims, None),
    };
    let list = spec.get("volumes");
    let known = volumes::volumes(errors, &list, claims, name);
    let grace = spec.get("terminationGracePeriodSeconds").int().unwrap_or(30);
    Scope {
        volumes: known,
        claims: devices(errors, &spec.get("resourceClaims")),
        host_users: spec.get("hostUsers").flag() != Some(false),
        is_pod,
        host_network: spec.get("hostNetwork").is_true(),
        grace_seconds: if is_pod && grace < 0 { 1 } else { grace },
        restart_policy: spec.get("restartPolicy").str_or("Always"),
    }
}

fn devices<'v>(errors: &mut Errors, claims: &Node<'_, 'v>) -> BTreeSet<&'v str> {
    let mut names = BTreeSet::new();
    for claim in claims.entries() {
        let name = claim.get("name");
        if errors.needs(&name) {
            if names.insert(name.str()) {
                errors.check(&name, text::label);
            } else {
                errors.duplicate(&name);
            }
        }
        let (by_name, by_template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        if by_name.is_set() && by_template.is_set() {
            errors.invalid(
                &claim,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            );
        }
        if !by_name.is_set() && !by_template.is_set() {
            errors.invalid(&claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        }
        for reference in [by_name, by_template] {
            if reference.is_set() {
                errors.check(&reference, text::subdomain);
            }
        }
    }
    names
}

/// `resources` of the whole pod, and that its containers stay within them.
fn pod_resources(errors: &mut Errors, spec: &Node<'_, '_>, scope: &Scope<'_>) {
    let shared = spec.get("resources");
    if !shared.is_set() {
        return;
    }
    if spec.get("os").get("name").str() == "windows" {
        return errors.forbidden(&shared, "may not be set for a windows pod");
    }
    if shared.get("claims").is_set() {
        errors.forbidden(&shared.get("claims"), "claims may not be set for Resources at pod-level");
    }
    resources::requirements(errors, &shared, &scope.claims, ResourceOwner::Pod);
    let requests = shared.get("requests");
    for (resource, request) in requests.pairs() {
        let sum = containers::sum(spec, "requests", resource, scope.is_pod);
        if let Some(sum) = sum.filter(|sum| *sum > resources::amount(&request)) {
            errors.invalid_text(
                &request,
                &shown(&request),
                &format!("must be greater than or equal to aggregate container requests of {sum}"),
            );
        }
    }
    let limits = shared.get("limits");
    for (resource, limit) in limits.pairs() {
        let allowed = resources::amount(&limit);
        let sum = containers::sum(spec, "limits", resource, false);
        if let Some(sum) = sum.filter(|sum| resources::is_huge_page(resource) && *sum > allowed) {
            errors.invalid_text(
                &limit,
                &shown(&limit),
                &format!("must be greater than or equal to aggregate container limits of {sum}"),
            );
        }
        for (index, container) in spec.get("containers").entries().enumerate() {
            let own = container.get("resources");
            let own = own.get("limits");
            let own = own.key(resource);
            if own.is_set() && resources::amount(&own) > allowed {
                let at = shared.get("containers");
                let at = at.moved(index, &container);
                let at = at.key(resource);
                errors.invalid_text(
                    &at.get("limits"),
                    &shown(&own),
                    &format!("must be less than or equal to pod limits of {}", shown(&limit)),
                );
            }
        }
    }
}

/// In the host's network, a port of the host is the container's.
fn host_ports(errors: &mut Errors, spec: &Node<'_, '_>, scope: &Scope<'_>) {
    if !scope.host_network {
        return;
    }
    for container in spec.get("containers").entries() {
        for port in container.get("ports").entries() {
            let (host, own) = (port.get("hostPort").number(), port.get("containerPort").number());
            if host != 0 && host != own {
                errors
                    .invalid(&port.get("hostPort"), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns(errors: &mut Errors, spec: &Node<'_, '_>) {
    let config = spec.get("dnsConfig");
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").str() == "None" {
        if !config.is_set() {
            return errors.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            return errors
                .required(&servers, "must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.len() > 3 {
        errors.invalid(&servers, "must not have more than 3 nameservers");
    }
    for server in servers.entries() {
        ip::check(errors, &server, server.str());
    }
    if searches.len() > 32 {
        errors.invalid(&searches, "must not have more than 32 search paths");
    }
    let length = searches.texts().map(|search| search.len() + 1).sum::<usize>().saturating_sub(1);
    if length > 2_048 {
        errors.invalid(
            &searches,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    let is_relaxed = errors.has(Feature::RelaxedDnsSearchValidation);
    for search in searches.entries().filter(|search| !is_relaxed || search.str() != ".") {
        let name = search.str().strip_suffix('.').unwrap_or(search.str());
        let naming = if is_relaxed { text::subdomain_with_underscores } else { text::subdomain };
        errors.check_text(&search, name, naming);
    }
    for option in config.get("options").entries() {
        if option.get("name").is_empty() {
            errors.required(&option, "must not be empty");
        }
    }
}

fn gates(errors: &mut Errors, spec: &Node<'_, '_>) {
    for gate in spec.get("readinessGates").entries() {
        errors.check(&gate.get("conditionType"), text::qualified);
    }
    let mut seen = BTreeSet::new();
    for gate in spec.get("schedulingGates").entries() {
        let name = gate.get("name").str();
        errors.check_text(&gate, name, text::qualified);
        if !seen.insert(name) {
            errors.duplicate_text(&gate, name);
        }
    }
}

/// What a pod with users of its own cannot share with the host.
fn host_users(errors: &mut Errors, spec: &Node<'_, '_>, scope: &Scope<'_>) {
    if scope.host_users {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(field).is_true() {
            errors.forbidden(&spec.get(shown), "when `hostUsers` is false");
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.get(list).entries() {
            let devices = container.get("volumeDevices");
            if !devices.is_empty() {
                errors.forbidden(&devices, "when `hostUsers` is false");
            }
        }
    }
}

fn host_name(errors: &mut Errors, spec: &Node<'_, '_>) {
    let name = spec.get("hostnameOverride");
    if !name.is_set() {
        return;
    }
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.get(field).is_true() {
            errors.forbidden(&name, &format!("may not be specified when {field} is true"));
        }
    }
    errors.at_most_bytes(&name, 64);
    errors.check(&name, text::subdomain);
}

fn names(errors: &mut Errors, spec: &Node<'_, '_>, owner: Owner<'_>) {
    let account = spec.get("serviceAccountName");
    let deprecated = spec.get("serviceAccount");
    let name = if account.is_empty() { deprecated.str() } else { account.str() };
    if !name.is_empty() {
        errors.check_text(&account, name, text::subdomain);
    }
    errors.check_if_any(&spec.get("nodeName"), text::subdomain);
    errors.in_range_if_set(&spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    let names_hosts = matches!(owner, Owner::Template(template) if template.names_hosts);
    if !names_hosts {
        errors.check_if_any(&spec.get("hostname"), text::label);
        errors.check_if_any(&spec.get("subdomain"), text::label);
    }
    errors.check_if_any(&spec.get("priorityClassName"), text::subdomain);
    let runtime = spec.get("runtimeClassName");
    if runtime.is_set() {
        errors.check(&runtime, text::subdomain);
    }
}

fn aliases(errors: &mut Errors, aliases: &Node<'_, '_>) {
    for alias in aliases.entries() {
        ip::check(errors, &alias.get("ip"), alias.get("ip").str());
        for name in alias.get("hostnames").entries() {
            errors.check(&name, text::subdomain);
        }
    }
}
