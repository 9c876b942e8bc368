//! Kinds that administrators write: namespaces, nodes, classes, leases, API services, priority levels, requests.

use std::collections::BTreeSet;

use super::errors::{Errors, quoted};
use super::ip;
use super::meta::{self, Naming};
use super::node::Node;
use super::pod;
use super::resources;
use super::text;

/// The highest priority that is not the system's.
const MOST_PRIORITY: i64 = 1_000_000_000;
const SYSTEM_CLASSES: &[(&str, i64)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// A Namespace.
pub(crate) fn namespace(errors: &mut Errors, object: &Node<'_, '_>) {
    let metadata = object.get("metadata");
    let labels = metadata.get("labels");
    // Admission looks at these labels before anything is validated.
    let before = errors.len();
    for (key, value) in labels.pairs() {
        match key.strip_prefix(POD_SECURITY) {
            Some("enforce" | "audit" | "warn")
                if !["privileged", "baseline", "restricted"].contains(&value.str()) =>
            {
                errors.invalid(&value, "must be one of privileged, baseline, restricted");
            }
            Some("enforce-version" | "audit-version" | "warn-version")
                if !is_pod_security_version(value.str()) =>
            {
                errors.invalid(&value, "must be \"latest\" or \"v1.x\"");
            }
            _ => {}
        }
    }
    if errors.len() > before && !errors.is_lenient() {
        return;
    }
    meta::object(errors, object, Naming::LABEL);
    // The server adds the name as a label.
    errors.check_text(&labels, metadata.get("name").str(), text::label_value);
    let finalizers = object.get("spec");
    let finalizers = finalizers.get("finalizers");
    for finalizer in finalizers.texts() {
        errors.check_text(&finalizers, finalizer, text::qualified);
        meta::known_finalizer(errors, &finalizers, finalizer);
    }
}

fn is_pod_security_version(version: &str) -> bool {
    let minor = version.strip_prefix("v1.");
    version == "latest"
        || minor.is_some_and(|minor| {
            (minor == "0" || !minor.starts_with('0'))
                && !minor.is_empty()
                && minor.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// A `ServiceAccount`.
pub(crate) fn service_account(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
}

/// A Node. The server places errors of taints in the metadata.
pub(crate) fn node(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let taints = metadata.get("taints");
    let taints = taints.in_place_of(&spec.get("taints"));
    let mut seen = BTreeSet::new();
    for taint in taints.entries() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        errors.check(&key, text::qualified);
        let messages = text::label_value(value.str());
        if !messages.is_empty() {
            errors.invalid(&value, &messages.join(";"));
        }
        pod::taint_effect(errors, &effect);
        if !seen.insert((key.str(), effect.str())) {
            errors.duplicate(&taint);
        }
    }
    let (one, blocks) = (spec.get("podCIDR"), spec.get("podCIDRs"));
    // The server makes a list of the older field.
    let is_own = !blocks.is_empty() && (one.is_empty() || blocks.index(0).str() == one.str());
    if !is_own && !one.is_empty() {
        return ip::check_block(errors, &blocks.index(0), one.str());
    }
    for block in blocks.entries() {
        ip::check_block(errors, &block, block.str());
    }
    let families: Vec<bool> = blocks.texts().filter_map(ip::parse_block).map(ip::Block::is_v6).collect();
    if blocks.len() > 1 && (families.len() != 2 || families.first() == families.last()) {
        errors.invalid(&blocks, "may specify no more than one CIDR for each IP family");
    }
}

/// A `PriorityClass`.
pub(crate) fn priority_class(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let metadata = object.get("metadata");
    let (name, value) = (metadata.get("name"), object.get("value"));
    if name.str().starts_with("system-") {
        let problem = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name.str()) {
            None => Some(format!("{} is not a known system priority class", name.str())),
            Some((known, right)) if value.number() != *right => {
                Some(format!("value of {known} PriorityClass must be {right}"))
            }
            Some((known, _)) if object.get("globalDefault").is_true() => {
                Some(format!("globalDefault of {known} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            errors.forbidden(
                &name,
                &format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
                ),
            );
        }
    } else if value.number() > MOST_PRIORITY {
        errors.forbidden(
            &value,
            &format!("maximum allowed value of a user defined priority is {MOST_PRIORITY}"),
        );
    }
    errors.one_of(&object.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
}

/// A `RuntimeClass`.
pub(crate) fn runtime_class(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_any_finalizers());
    errors.needs_checked(&object.get("handler"), text::label);
    let overhead = object.get("overhead");
    let limits = overhead.get_as("limits", "podFixed");
    resources::overhead(errors, &overhead, &limits);
    let scheduling = object.get("scheduling");
    meta::labels(errors, &scheduling.get("nodeSelector"));
    let tolerations = scheduling.get("tolerations");
    pod::tolerations(errors, &tolerations);
    let mut seen = BTreeSet::new();
    for toleration in tolerations.entries() {
        let key = ["key", "operator", "value", "effect"].map(|field| toleration.get(field).str());
        if !seen.insert(key) {
            errors.duplicate(&toleration);
        }
    }
}

/// A Lease.
pub(crate) fn lease(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_any_finalizers());
    let spec = object.get("spec");
    let (duration, transitions) = (spec.get("leaseDurationSeconds"), spec.get("leaseTransitions"));
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&duration, "must be greater than 0");
    }
    errors.not_negative(&transitions);
    // A strategy and a preferred holder are behind a feature gate that is off: the server drops them.
}

/// An `APIService`.
pub(crate) fn api_service(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::PATH.with_any_finalizers());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let (name, group, version) = (metadata.get("name"), spec.get("group"), spec.get("version"));
    let required = format!("{}.{}", version.str(), group.str());
    if text::path_segment(name.str()).is_empty() && !name.is_empty() && name.str() != required {
        errors.invalid(&name, &format!("must be `spec.version+\".\"+spec.group`: {}", quoted(&required)));
    }
    if group.is_empty() && version.str() != "v1" {
        errors.required(&group, "only v1 may have an empty group and it better be legacy kube");
    }
    errors.check_if_any(&group, text::subdomain);
    errors.check(&version, text::label_1035);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.get(field);
        if !(1..=most).contains(&priority.number()) {
            errors.invalid_as(
                &priority,
                priority.number(),
                &format!("must be positive and less than {most}"),
            );
        }
    }
    let (service, bundle) = (spec.get("service"), spec.get("caBundle"));
    let skips = spec.get("insecureSkipTLSVerify");
    if !service.is_set() {
        if !bundle.is_empty() {
            errors.invalid(&bundle, "local APIServices may not have a caBundle");
        }
        if skips.is_true() {
            errors.invalid(&skips, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    errors.needs(&service.get("namespace"));
    errors.needs(&service.get("name"));
    let port = service.get("port");
    if port.is_set() && !(1..=65_535).contains(&port.number()) {
        errors.invalid(&port, "port is not valid: must be between 1 and 65535, inclusive");
    }
    if skips.is_true() && !bundle.is_empty() {
        errors.invalid(&skips, "may not be true if caBundle is present");
    }
}

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A `CertificateSigningRequest`. Its name may be anything.
pub(crate) fn signing_request(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming { check: text::anything, ..Naming::SUBDOMAIN });
    let spec = object.get("spec");
    let request = spec.get("request");
    // The text is base64 of PEM: its first line says what it holds.
    if !request.str().trim_start().starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS") {
        errors.invalid(&request, "PEM block type must be CERTIFICATE REQUEST");
    }
    let usages = spec.get("usages");
    errors.needs(&usages);
    let mut seen = BTreeSet::new();
    for usage in usages.entries() {
        if !USAGES.contains(&usage.str()) {
            errors.unsupported(&usage, USAGES);
        }
        if !seen.insert(usage.str()) {
            errors.duplicate(&usage);
        }
    }
    let signer = spec.get("signerName");
    if signer.str() == "kubernetes.io/legacy-unknown" {
        errors.invalid(&signer, "the legacy signerName is not allowed via this API version");
    } else {
        meta::signer(errors, &signer);
    }
    let expiration = spec.get("expirationSeconds");
    if expiration.int().is_some_and(|seconds| seconds < 600) {
        errors.invalid(&expiration, "may not specify a duration less than 600 seconds (10 minutes)");
    }
}
