//! Endpoints and endpoint slices.

use std::collections::BTreeSet;

use super::errors::Errors;
use super::ip;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// `Endpoints`.
pub(crate) fn endpoints(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    for subset in object.get("subsets").entries() {
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| subset.get(list).is_empty()) {
            errors.required(&subset, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in lists {
            for address in subset.get(list).entries() {
                let ip = address.get("ip");
                ip::check(errors, &ip, ip.str());
                errors.check_if_any(&address.get("hostname"), text::label);
                let node = address.get("nodeName");
                if node.is_set() {
                    errors.check(&node, text::subdomain);
                }
                ip::check_endpoint(errors, &ip, ip.str());
            }
        }
        let ports = subset.get("ports");
        for port in ports.entries() {
            let name = port.get("name");
            if ports.len() > 1 || !name.is_empty() {
                errors.needs_checked(&name, text::label);
            }
            errors.port_number(&port.get("port"));
            errors.one_of_or_default(&port.get("protocol"), PROTOCOLS);
            let application = port.get("appProtocol");
            if application.is_set() {
                errors.check(&application, text::qualified);
            }
        }
    }
}

/// An `EndpointSlice`.
pub(crate) fn slice(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let family = object.get("addressType");
    if errors.needs(&family) {
        errors.one_of(&family, &["FQDN", "IPv4", "IPv6"]);
    }
    slice_ports(errors, &object.get("ports"));
    let endpoints = object.get("endpoints");
    if errors.at_most_entries(&endpoints, 1_000) {
        return;
    }
    for endpoint in endpoints.entries() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            errors.required(&addresses, "must contain at least 1 address");
        }
        errors.at_most_entries(&addresses, 100);
        for address in addresses.entries() {
            slice_address(errors, &addresses, &address, family.str());
        }
        for (field, check) in
            [("nodeName", text::subdomain as fn(&str) -> text::Messages), ("hostname", text::label)]
        {
            let field = endpoint.get(field);
            if field.is_set() {
                errors.check(&field, check);
            }
        }
        hints(errors, &endpoint.get("hints"));
    }
}

fn slice_address(errors: &mut Errors, list: &Node<'_, '_>, address: &Node<'_, '_>, family: &str) {
    let text = address.str();
    match family {
        "IPv4" if ip::check(errors, address, text) => {
            if ip::is_v6(text) {
                errors.invalid_text(list, text, "must be an IPv4 address");
            }
            ip::check_endpoint(errors, address, text);
        }
        "IPv6" if ip::check_canonical(errors, address, text) => {
            if !ip::is_v6(text) {
                errors.invalid_text(list, text, "must be an IPv6 address");
            }
            ip::check_endpoint(errors, address, text);
        }
        "FQDN" => {
            let name = text.strip_suffix('.').unwrap_or(text);
            if !errors.needs(address) {
                return;
            }
            let messages = text::subdomain(name);
            if !messages.is_empty() {
                errors.invalid_text(address, name, &messages.join(","));
            } else if !name.contains('.') {
                errors.invalid_text(
                    address,
                    name,
                    "should be a domain with at least two segments separated by dots",
                );
            } else if let Some(label) = name.split('.').find(|label| label.len() > 63) {
                errors.invalid_text(address, label, &text::label(label).join(","));
            }
        }
        _ => {}
    }
}

fn slice_ports(errors: &mut Errors, ports: &Node<'_, '_>) {
    if errors.at_most_entries(ports, 20_000) {
        return;
    }
    let mut names = BTreeSet::new();
    for port in ports.entries() {
        let name = port.get("name");
        errors.check_if_any(&name, text::label);
        if !names.insert(name.str()) {
            errors.duplicate_text(&name, name.str());
        }
        errors.one_of(&port.get("protocol"), PROTOCOLS);
        let application = port.get("appProtocol");
        if application.is_set() {
            errors.check(&application, text::qualified);
        }
    }
}

fn hints(errors: &mut Errors, hints: &Node<'_, '_>) {
    for (list, check) in
        [("forZones", text::label_value as fn(&str) -> text::Messages), ("forNodes", text::subdomain)]
    {
        let list = hints.get(list);
        if errors.at_most_entries(&list, 8) {
            return;
        }
        let mut names = BTreeSet::new();
        for hint in list.entries() {
            let name = hint.get("name");
            if !names.insert(name.str()) {
                errors.duplicate_text(&name, name.str());
            }
            errors.check(&name, check);
        }
    }
}
