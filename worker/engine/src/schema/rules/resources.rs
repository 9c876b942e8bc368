//! Names and amounts of resources.

use std::collections::BTreeSet;

use super::claims::shown;
use super::errors::Errors;
use super::node::Node;
use super::text;
use crate::k8s::quantity::Quantity;

const CONTAINER_RESOURCES: &[&str] = &["cpu", "ephemeral-storage", "memory"];
const OBJECT_COUNTS: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const QUOTA_AMOUNTS: &[&str] = &[
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];

/// Whether a name is of the server's own, as opposed to a device plug-in's.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more may be promised than there is.
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && text::qualified(&format!("requests.{name}")).is_empty()
}

pub(crate) fn is_quota_resource(name: &str) -> bool {
    OBJECT_COUNTS.contains(&name)
        || QUOTA_AMOUNTS.contains(&name)
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-")
}

/// The name of any resource; whether it is right.
pub(crate) fn any_name(errors: &mut Errors, at: &Node<'_, '_>, name: &str) -> bool {
    let before = errors.len();
    errors.check_text(at, name, text::qualified);
    if errors.len() == before && !name.contains('/') && !is_quota_resource(name) && name != "storage" {
        errors.invalid_text(at, name, "must be a standard resource type or fully qualified");
    }
    errors.len() == before
}

/// The name of a container's resource.
pub(crate) fn container_name(errors: &mut Errors, at: &Node<'_, '_>, name: &str) {
    any_name(errors, at, name);
    if !name.contains('/') {
        if !CONTAINER_RESOURCES.contains(&name) && !is_huge_page(name) {
            errors.invalid_text(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_text(at, name, "doesn't follow extended resource name standard");
    }
}

/// The name of a resource that a whole pod shares.
fn pod_name(errors: &mut Errors, at: &Node<'_, '_>, name: &str) {
    if any_name(errors, at, name) && !["cpu", "memory"].contains(&name) && !is_huge_page(name) {
        errors.unsupported_text(at, name, &["cpu", "memory"]);
    }
}

/// The amount of a resource; 0 where there is none.
pub(crate) fn amount(quantity: &Node<'_, '_>) -> Quantity {
    quantity.value().and_then(Quantity::of).unwrap_or(Quantity::ZERO).rounded_to_milli()
}

/// An amount that is not negative, and whole where the resource is counted.
pub(crate) fn checked_amount(errors: &mut Errors, at: &Node<'_, '_>, name: &str) {
    let amount = amount(at);
    if amount.is_negative() {
        errors.invalid_text(at, &shown(at), "must be greater than or equal to 0");
    }
    if (OBJECT_COUNTS.contains(&name) || is_extended(name)) && !amount.is_whole() {
        errors.invalid_text(at, &shown(at), "must be an integer");
    }
}

/// Whose requirements they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A container of a template.
    Container,
    /// A container of a pod: what has only a limit requests as much.
    PodsContainer,
    /// A pod as a whole.
    Pod,
}

/// `resources` of a container or a pod; `claims` are the pod's devices.
pub(crate) fn requirements(
    errors: &mut Errors,
    resources: &Node<'_, '_>,
    claims: &BTreeSet<&str>,
    owner: Owner,
) {
    let name = if owner == Owner::Pod { pod_name } else { container_name };
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for (resource, limit) in limits.pairs() {
        name(errors, &limit, resource);
        checked_amount(errors, &limit, resource);
        huge_page(errors, &limit, resource);
    }
    for (resource, request) in requests.pairs() {
        name(errors, &request, resource);
        checked_amount(errors, &request, resource);
        compare(errors, (&requests, &request), &limits, resource);
        huge_page(errors, &request, resource);
    }
    if owner == Owner::PodsContainer {
        for (resource, limit) in limits.pairs().filter(|(resource, _)| !has(&requests, resource)) {
            let request = requests.key(resource);
            let request = request.in_place_of(&limit);
            name(errors, &request, resource);
            checked_amount(errors, &request, resource);
            huge_page(errors, &request, resource);
        }
    }
    let is_any = |wanted: fn(&str) -> bool| {
        [&limits, &requests].iter().any(|list| list.pairs().any(|(resource, _)| wanted(resource)))
    };
    if is_any(is_huge_page) && !is_any(|resource| ["cpu", "memory"].contains(&resource)) {
        errors.forbidden(resources, "HugePages require cpu or memory");
    }
    devices(errors, &resources.get("claims"), claims);
}

/// What running a pod costs besides its containers: limits alone, shown below `holder`.
pub(crate) fn overhead(errors: &mut Errors, holder: &Node<'_, '_>, limits: &Node<'_, '_>) {
    for (resource, limit) in limits.pairs() {
        container_name(errors, &limit, resource);
        checked_amount(errors, &limit, resource);
        huge_page(errors, &limit, resource);
    }
    let has = |wanted: fn(&str) -> bool| limits.pairs().any(|(resource, _)| wanted(resource));
    if has(is_huge_page) && !has(|resource| ["cpu", "memory"].contains(&resource)) {
        errors.forbidden(holder, "HugePages require cpu or memory");
    }
}

fn has(list: &Node<'_, '_>, resource: &str) -> bool {
    list.fields().is_some_and(|fields| fields.contains_key(resource))
}

fn compare(
    errors: &mut Errors,
    (requests, request): (&Node<'_, '_>, &Node<'_, '_>),
    limits: &Node<'_, '_>,
    resource: &str,
) {
    if !has(limits, resource) {
        if !may_overcommit(resource) {
            errors.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    }
    let limit = limits.key(resource);
    let (asked, allowed) = (amount(request), amount(&limit));
    let relation = if asked != allowed && !may_overcommit(resource) {
        "must be equal to"
    } else if asked > allowed {
        "must be less than or equal to"
    } else {
        return;
    };
    errors.invalid_text(
        requests,
        &shown(request),
        &format!("{relation} {resource} limit of {}", shown(&limit)),
    );
}

fn huge_page(errors: &mut Errors, at: &Node<'_, '_>, resource: &str) {
    let Some(size) = resource.strip_prefix("hugepages-") else { return };
    let size = Quantity::parse(size).ok().filter(|size| size.is_positive() && size.is_whole());
    if size.is_none_or(|size| amount(at).value() % size.value() != 0) {
        let written = shown(at);
        errors.invalid_text(
            at,
            &written,
            &format!("{written} is not positive integer multiple of {resource}"),
        );
    }
}

fn devices(errors: &mut Errors, devices: &Node<'_, '_>, claims: &BTreeSet<&str>) {
    let mut names: Vec<String> = Vec::new();
    for device in devices.entries() {
        let (name, request) = (device.get("name").str(), device.get("request"));
        if name.is_empty() {
            errors.required(&device, "");
            continue;
        }
        let known = |names: &[String], key: &str| names.iter().any(|known| known == key);
        if known(&names, name) {
            errors.duplicate_text(&device, name);
        } else {
            let mut key = name.to_owned();
            if !request.is_empty() {
                errors.check(&request, text::label);
                key = format!("{name}/{}", request.str());
            }
            let part = format!("{name}/");
            if known(&names, &key)
                || (request.is_empty() && names.iter().any(|known| known.starts_with(&part)))
            {
                errors.duplicate_text(&device, &key);
            }
            names.push(key);
        }
        if !claims.contains(name) {
            errors.not_found(&device, name);
        }
    }
}
