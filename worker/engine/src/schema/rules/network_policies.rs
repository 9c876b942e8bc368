//! Network policies.

use super::errors::Errors;
use super::ip;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

/// A `NetworkPolicy`.
pub(crate) fn policy(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    meta::selector(errors, &spec.get("podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).entries() {
            for port in rule.get("ports").entries() {
                rule_port(errors, &port);
            }
            for peer in rule.get(peers).entries() {
                rule_peer(errors, &peer);
            }
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        return errors.invalid(&types, "may not specify more than two policyTypes");
    }
    for kind in types.entries() {
        if !["Ingress", "Egress"].contains(&kind.str()) {
            errors.unsupported_text(&kind, kind.str(), &["Ingress", "Egress"]);
        }
    }
}

fn rule_port(errors: &mut Errors, entry: &Node<'_, '_>) {
    errors.one_of(&entry.get("protocol"), &["TCP", "UDP", "SCTP"]);
    let (port, end) = (entry.get("port"), entry.get("endPort"));
    if !port.is_set() {
        if end.is_set() {
            errors.invalid(&end, "may not be specified when `port` is not specified");
        }
    } else if port.text().is_some() {
        if end.is_set() {
            errors.invalid(&end, "may not be specified when `port` is non-numeric");
        }
        errors.check(&port, text::port_name);
    } else {
        errors.port_number(&port);
        if end.is_set() {
            if end.number() < port.number() {
                errors.invalid(&end, "must be greater than or equal to `port`");
            }
            errors.port_number(&end);
        }
    }
}

fn rule_peer(errors: &mut Errors, peer: &Node<'_, '_>) {
    let (pods, namespaces, block) =
        (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    meta::selector(errors, &pods);
    meta::selector(errors, &namespaces);
    if block.is_set() {
        addresses(errors, &block);
    }
    let has_selector = pods.is_set() || namespaces.is_set();
    if !has_selector && !block.is_set() {
        errors.required(peer, "must specify a peer");
    } else if has_selector && block.is_set() {
        errors.forbidden(peer, "may not specify both ipBlock and another peer");
    }
}

fn addresses(errors: &mut Errors, block: &Node<'_, '_>) {
    let cidr = block.get("cidr");
    if !errors.needs(&cidr) {
        return;
    }
    ip::check_block(errors, &cidr, cidr.str());
    let Some(outer) = ip::parse_block(cidr.str()) else { return };
    for except in block.get("except").entries() {
        ip::check_block(errors, &except, except.str());
        let inner = ip::parse_block(except.str());
        if inner.is_some_and(|inner| !outer.strictly_contains(inner)) {
            errors.invalid(&except, "must be a strict subset of `cidr`");
        }
    }
}
