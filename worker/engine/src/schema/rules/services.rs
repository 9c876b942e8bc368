//! Services.

use std::collections::BTreeSet;

use super::errors::Errors;
use super::features::Feature;
use super::ip;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// A Service.
pub(crate) fn service(errors: &mut Errors, object: &Node<'_, '_>) {
    let spec = object.get("spec");
    let kind = spec.get("type").str_or("ClusterIP");
    let metadata = object.get("metadata");
    let annotations = metadata.get("annotations");
    let before = errors.len();
    if kind != "ExternalName" {
        allocation(errors, &spec, kind);
    }
    if errors.len() > before && !errors.is_lenient() {
        return;
    }
    let naming =
        if errors.has(Feature::RelaxedServiceNameValidation) { Naming::LABEL } else { Naming::LABEL_1035 };
    meta::object(errors, object, naming);
    topology(errors, &annotations);
    let is_headless = address(&spec) == "None";
    if spec.get("ports").is_empty() && !is_headless && kind != "ExternalName" {
        errors.required(&spec.get("ports"), "");
    }
    by_type(errors, &spec, kind, is_headless);
    ports(errors, &spec, kind);
    meta::labels(errors, &spec.get("selector"));
    affinity(errors, &spec);
    external_addresses(errors, &spec);
    errors.one_of_or_default(&spec.get("type"), TYPES);
    source_ranges(errors, &spec, kind, &annotations);
    if kind != "LoadBalancer" {
        errors.forbidden_if_set(&spec.get("allocateLoadBalancerNodePorts"), ONLY_LOAD_BALANCER);
        errors.forbidden_if_set(&spec.get("loadBalancerClass"), ONLY_LOAD_BALANCER);
    } else if spec.get("loadBalancerClass").is_set() {
        errors.check(&spec.get("loadBalancerClass"), text::qualified);
    }
    traffic(errors, &spec, kind);
}

fn topology(errors: &mut Errors, annotations: &Node<'_, '_>) {
    let hints = annotations.key("service.kubernetes.io/topology-aware-hints");
    let mode = annotations.key("service.kubernetes.io/topology-mode");
    if hints.is_set() && mode.is_set() && hints.str() != mode.str() {
        errors.invalid(
            &mode,
            "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified",
        );
    }
}

/// The first cluster IP.
fn address<'v>(spec: &Node<'_, 'v>) -> &'v str {
    let own = spec.get("clusterIP").str();
    if own.is_empty() { spec.get("clusterIPs").index(0).str() } else { own }
}

fn by_type(errors: &mut Errors, spec: &Node<'_, '_>, kind: &str, is_headless: bool) {
    let addresses = spec.get("clusterIPs");
    match kind {
        "LoadBalancer" | "NodePort" if is_headless => {
            errors.invalid_text(
                &addresses.index(0),
                "None",
                &format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => {
            if !address(spec).is_empty() {
                errors.forbidden(&addresses, "may not be set for ExternalName services");
            }
            if !spec.get("ipFamilies").is_empty() {
                errors.forbidden(&spec.get("ipFamilies"), "may not be set for ExternalName services");
            }
            errors.forbidden_if_set(&spec.get("ipFamilyPolicy"), "may not be set for ExternalName services");
            let name = spec.get("externalName");
            let host = name.str().strip_suffix('.').unwrap_or(name.str());
            if host.is_empty() {
                errors.required(&name, "");
            } else {
                errors.check_text(&name, host, text::subdomain);
            }
        }
        _ => {}
    }
}

fn ports(errors: &mut Errors, spec: &Node<'_, '_>, kind: &str) {
    let ports = spec.get("ports");
    let mut names = BTreeSet::new();
    let (mut node_ports, mut own_ports) = (BTreeSet::new(), BTreeSet::new());
    for port in ports.entries() {
        let name = port.get("name");
        if ports.len() > 1 && name.is_empty() {
            errors.required(&name, "");
        } else if !name.is_empty() {
            errors.check(&name, text::label);
            if !names.insert(name.str()) {
                errors.duplicate(&name);
            }
        }
        errors.port_number(&port.get("port"));
        errors.one_of_or_default(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        target(errors, &port);
        let application = port.get("appProtocol");
        if application.is_set() {
            errors.check(&application, text::qualified);
        }
        let node_port = port.get("nodePort");
        let protocol = port.get("protocol").str_or("TCP");
        if node_port.number() != 0 {
            if kind == "ClusterIP" {
                errors.forbidden(&node_port, "may not be used when `type` is 'ClusterIP'");
            }
            if !node_ports.insert((protocol, node_port.number())) {
                errors.duplicate(&node_port);
            }
        }
        if !own_ports.insert((protocol, port.get("port").number())) {
            errors.duplicate(&port);
        }
    }
}

/// The target defaults to the port itself.
fn target(errors: &mut Errors, port: &Node<'_, '_>) {
    let target = port.get("targetPort");
    if target.text() == Some("") || target.text().is_none() && target.number() == 0 {
        let own = port.get("port");
        errors.port_number(&target.in_place_of(&own));
    } else {
        meta::port(errors, &target);
    }
}

fn affinity(errors: &mut Errors, spec: &Node<'_, '_>) {
    errors.one_of_or_default(&spec.get("sessionAffinity"), &["ClientIP", "None"]);
    if spec.get("sessionAffinity").str() == "ClientIP" {
        let config = spec.get("sessionAffinityConfig");
        let client = config.get("clientIP");
        let timeout = client.get("timeoutSeconds");
        if timeout.int().is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
            errors.invalid(&timeout, "must be greater than 0 and less than 86400");
        }
    }
}

/// Addresses and ports are allocated before anything is validated: what that refuses hides the rest.
fn allocation(errors: &mut Errors, spec: &Node<'_, '_>, kind: &str) {
    let before = errors.len();
    addresses(errors, spec);
    if errors.len() == before {
        families_fit(errors, spec);
    }
    if errors.len() > before || !["LoadBalancer", "NodePort"].contains(&kind) {
        return;
    }
    let mut taken = BTreeSet::new();
    for port in spec.get("ports").entries() {
        let node_port = port.get("nodePort");
        if node_port.number() != 0 && !taken.insert((port.get("protocol").str_or("TCP"), node_port.number()))
        {
            return errors.invalid(&node_port, "provided port is already allocated");
        }
    }
}

/// Cluster IPs and families.
fn addresses(errors: &mut Errors, spec: &Node<'_, '_>) {
    let (own, list) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    // The server copies one to the other where only one is given.
    if own.is_empty() && !list.is_empty() {
        errors.invalid(&list, "must be empty when `clusterIP` is not specified");
    } else if !list.is_empty() && list.index(0).str() != own.str() {
        errors.invalid(&list, "first value must match `clusterIP`");
    }
    let families = spec.get("ipFamilies");
    let mut seen = BTreeSet::new();
    for family in families.entries() {
        if !["IPv4", "IPv6"].contains(&family.str()) {
            errors.unsupported(&family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family.str()) {
            errors.duplicate(&family);
        }
    }
    errors.one_of(&spec.get("ipFamilyPolicy"), &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let given: Vec<&str> = if list.is_empty() {
        Vec::from_iter(own.text().filter(|text| !text.is_empty()))
    } else {
        list.texts().collect()
    };
    let mut is_wrong = false;
    for (index, text) in given.iter().enumerate() {
        if index > 0 || *text != "None" {
            is_wrong |= !ip::check(errors, &list.index(index), text);
        } else if given.len() > 1 {
            errors.invalid(&list, "'None' must be the first and only value");
            is_wrong = true;
        }
    }
    if is_wrong {
        return;
    }
    if given.len() > 2 {
        errors.invalid(&list, "may only hold up to 2 values");
    }
    if given.len() > 1 && given.iter().filter(|text| ip::is_v6(text)).count() != 1 {
        errors.invalid(&list, "may specify no more than one IP for each IP family");
    }
    if given.first() == Some(&"None") {
        return;
    }
    for (index, (text, family)) in given.iter().zip(families.texts()).enumerate() {
        let expected = match (family, ip::is_v6(text)) {
            ("IPv4", true) => "IPv4",
            ("IPv6", false) => "IPv6",
            _ => continue,
        };
        errors.invalid_text(
            &list.index(index),
            text,
            &format!("expected an {expected} value as indicated by `ipFamilies[{index}]`"),
        );
    }
}

/// One family alone, or two where both are asked for.
fn families_fit(errors: &mut Errors, spec: &Node<'_, '_>) {
    let policy = spec.get("ipFamilyPolicy");
    let is_free = address(spec) == "None" && spec.get("selector").is_empty() && !policy.is_set();
    if policy.str_or("SingleStack") != "SingleStack" || is_free {
        return;
    }
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if spec.get(field).len() == 2 {
            errors.invalid_text(
                &policy,
                "SingleStack",
                &format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                ),
            );
        }
    }
}

fn external_addresses(errors: &mut Errors, spec: &Node<'_, '_>) {
    for external in spec.get("externalIPs").entries() {
        if ip::check(errors, &external, external.str()) {
            ip::check_endpoint(errors, &external, external.str());
        }
    }
}

fn source_ranges(errors: &mut Errors, spec: &Node<'_, '_>, kind: &str, annotations: &Node<'_, '_>) {
    let ranges = spec.get_as("LoadBalancerSourceRanges", "loadBalancerSourceRanges");
    if !ranges.is_empty() {
        if kind != "LoadBalancer" {
            errors.forbidden(&ranges, ONLY_LOAD_BALANCER);
        }
        for range in ranges.entries() {
            ip::check_block(errors, &range, range.str().trim());
        }
        return;
    }
    let annotation = annotations.key(SOURCE_RANGES);
    if annotation.is_set() {
        if kind != "LoadBalancer" {
            errors.forbidden(&annotation, ONLY_LOAD_BALANCER);
        }
        let text = annotation.str().trim();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            ip::check_block(errors, &annotation, range.trim());
        }
    }
}

fn traffic(errors: &mut Errors, spec: &Node<'_, '_>, kind: &str) {
    const EXTERNALLY: &str = "may only be set for externally-accessible services";
    let is_external = ["LoadBalancer", "NodePort"].contains(&kind)
        || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    let external = spec.get("externalTrafficPolicy");
    if is_external {
        errors.one_of_or_default(&external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        errors.invalid(&external, EXTERNALLY);
    }
    let health = spec.get("healthCheckNodePort");
    if kind == "LoadBalancer" && external.str() == "Local" {
        // The server chooses one if there is none.
        if health.number() != 0 {
            errors.port_number(&health);
        }
    } else if health.number() != 0 {
        errors.invalid(
            &health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    errors.one_of(&spec.get("internalTrafficPolicy"), &["Cluster", "Local"]);
    let distributions: &[&str] = if errors.has(Feature::PreferSameTrafficDistribution) {
        &["PreferClose", "PreferSameZone", "PreferSameNode"]
    } else {
        &["PreferClose"]
    };
    errors.one_of(&spec.get("trafficDistribution"), distributions);
}
