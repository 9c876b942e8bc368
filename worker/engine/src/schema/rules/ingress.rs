//! Ingresses and their classes.

use std::net::IpAddr;

use super::errors::Errors;
use super::ip;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const INVALID_PARTS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const INVALID_ENDS: &[&str] = &["/..", "/."];

/// An Ingress.
pub(crate) fn ingress(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    let (rules, default) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !default.is_set() {
        errors.invalid(&spec.in_place_of(&rules), "either `defaultBackend` or `rules` must be specified");
    }
    if default.is_set() {
        backend(errors, &default);
    }
    for rule in rules.entries() {
        host(errors, &rule.get("host"));
        let http = rule.get("http");
        if http.is_set() {
            errors.needs(&http.get("paths"));
            for path in http.get("paths").entries() {
                http_path(errors, &path);
            }
        }
    }
    for tls in spec.get("tls").entries() {
        for host in tls.get("hosts").entries() {
            host_name(errors, &host);
        }
        errors.check_if_any(&tls.get("secretName"), text::subdomain);
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        errors.check(&class, text::subdomain);
    }
    let metadata = object.get("metadata");
    let annotations = metadata.get("annotations");
    let annotation = annotations.key("kubernetes.io/ingress.class");
    if annotation.is_set() && class.is_set() && annotation.str() != class.str() {
        let at = object.get("annotations");
        errors.invalid_text(
            &at.get("kubernetes.io/ingress.class"),
            annotation.str(),
            "must match `ingressClassName` when both are specified",
        );
    }
}

fn host_name(errors: &mut Errors, host: &Node<'_, '_>) {
    errors.check(host, if host.str().contains('*') { text::wildcard_subdomain } else { text::subdomain });
}

fn host(errors: &mut Errors, host: &Node<'_, '_>) {
    if host.is_empty() {
        return;
    }
    let is_address: Option<IpAddr> = ip::parse(host.str());
    if is_address.is_some() {
        errors.invalid(host, "must be a DNS name, not an IP address");
    }
    host_name(errors, host);
}

fn http_path(errors: &mut Errors, entry: &Node<'_, '_>) {
    let (kind, path) = (entry.get("pathType"), entry.get("path"));
    let text = path.str();
    if !kind.is_set() {
        return errors.required(&kind, "pathType must be specified");
    }
    match kind.str() {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid_text(&path, text, "must be an absolute path");
            }
            for part in INVALID_PARTS.iter().filter(|part| text.contains(**part)) {
                errors.invalid(&path, &format!("must not contain '{part}'"));
            }
            for end in INVALID_ENDS.iter().filter(|end| text.ends_with(**end)) {
                errors.invalid(&path, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        _ => errors.unsupported(&kind, PATH_TYPES),
    }
    backend(errors, &entry.get("backend"));
}

fn backend(errors: &mut Errors, backend: &Node<'_, '_>) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => {
            errors.invalid_text(backend, "", "cannot set both resource and service backends");
        }
        (true, false) => meta::typed_reference(errors, &resource),
        (false, true) => {
            errors.needs_checked(&service.get("name"), text::label);
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            if !name.is_empty() && number.number() != 0 {
                errors.invalid_text(backend, "", "cannot set both port name & port number");
            } else if !name.is_empty() {
                errors.check(&name, text::port_name);
            } else if number.number() != 0 {
                errors.port_number(&number);
            } else {
                errors.required(backend, "port name or number is required");
            }
        }
        (false, false) => {
            errors.invalid_text(backend, "", "resource or service backend is required");
        }
    }
}

/// An `IngressClass`.
pub(crate) fn class(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    errors.at_most_bytes(&spec.get("controller"), 250);
    meta::domain_path(errors, &spec.get("controller"));
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    meta::typed_reference(errors, &parameters);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.text().unwrap_or("Cluster") {
        "Namespace" => {
            if namespace.is_set() {
                errors.check(&namespace, text::label);
            } else {
                errors.required(&namespace, "`parameters.scope` is set to 'Namespace'");
            }
        }
        "Cluster" => {
            errors.forbidden_if_set(&namespace, "`parameters.scope` is set to 'Cluster'");
        }
        _ => errors.unsupported(&scope, &["Cluster", "Namespace"]),
    }
}
