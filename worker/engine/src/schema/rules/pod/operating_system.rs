//! What a pod may not say because of its operating system, and Windows options.

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use super::shared::containers;

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
const POD_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const CONTAINER_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `os`, and what goes with it.
pub(super) fn check(errors: &mut Errors, spec: &Node<'_, '_>) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    match os.get("name").str() {
        "" => errors.required(&os.get("name"), ""),
        "linux" => not_windows(errors, spec),
        "windows" => windows(errors, spec),
        other => errors.unsupported_text(&os, other, &["linux", "windows"]),
    }
}

fn not_windows(errors: &mut Errors, spec: &Node<'_, '_>) {
    const NOT_ON_LINUX: &str = "windows options cannot be set for a linux pod";
    let own = spec.get("securityContext");
    errors.forbidden_if_set(&own.get("windowsOptions"), NOT_ON_LINUX);
    for container in containers(spec) {
        let (list, node) = (spec.get(container.list()), container.node());
        let at = list.moved(container.position(), &node);
        let context = at.get("securityContext");
        errors.forbidden_if_set(&context.get("windowsOptions"), NOT_ON_LINUX);
    }
}

fn windows(errors: &mut Errors, spec: &Node<'_, '_>) {
    let own = spec.get("securityContext");
    for field in POD_FIELDS {
        let field = own.get(field);
        if field.is_set() && (!field.is_empty() || field.value().is_some_and(|value| !value.is_array())) {
            errors.forbidden(&field, NOT_ON_WINDOWS);
        }
    }
    errors.forbidden_if_set(&spec.get("hostUsers"), NOT_ON_WINDOWS);
    for field in ["hostPID", "hostIPC"] {
        if spec.get(field).is_true() {
            errors.forbidden(&spec.get(field), NOT_ON_WINDOWS);
        }
    }
    errors.forbidden_if_set(&spec.get("shareProcessNamespace"), NOT_ON_WINDOWS);
    for container in containers(spec) {
        let (list, node) = (spec.get(container.list()), container.node());
        let at = list.moved(container.position(), &node);
        let context = at.get("securityContext");
        for field in CONTAINER_FIELDS {
            errors.forbidden_if_set(&context.get(field), NOT_ON_WINDOWS);
        }
    }
}

/// Containers that are processes of a Windows host: all of a pod's, or none.
pub(super) fn host_processes(errors: &mut Errors, spec: &Node<'_, '_>) {
    fn flag(context: &Node<'_, '_>) -> Option<bool> {
        context.get("windowsOptions").get("hostProcess").flag()
    }
    let of_pod = flag(&spec.get("securityContext"));
    let (mut count, mut on_host) = (0, 0);
    for container in containers(spec) {
        let (list, node) = (spec.get(container.list()), container.node());
        let at = list.moved(container.position(), &node);
        let context = at.get("securityContext");
        let own = flag(&context);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            errors.invalid(
                &context.get("windowsOptions").get("hostProcess"),
                &format!("pod hostProcess value must be identical if both are specified, was {of_pod}"),
            );
        }
        count += 1;
        on_host += usize::from(own.or(of_pod) == Some(true));
    }
    if on_host == 0 {
        return;
    }
    if on_host != count {
        errors.invalid_text(
            spec,
            "",
            "If pod contains any hostProcess containers then all containers must be HostProcess containers",
        );
    }
    let network = spec.get("hostNetwork");
    if !network.is_true() {
        errors.invalid_as(
            &network,
            false,
            "hostNetwork must be true if pod contains any hostProcess containers",
        );
    }
}

/// `windowsOptions`.
pub(super) fn options(errors: &mut Errors, options: &Node<'_, '_>) {
    let name = options.get("gmsaCredentialSpecName");
    if name.is_set() {
        errors.check(&name, text::subdomain);
    }
    let credential = options.get("gmsaCredentialSpec");
    if credential.text() == Some("") {
        errors.invalid(&credential, "gmsaCredentialSpec cannot be an empty string");
    } else if credential.str().len() > 64 << 10 {
        errors.invalid(&credential, "gmsaCredentialSpec size must be under 64 KiB");
    }
    let user = options.get("runAsUserName");
    if user.is_set() {
        for message in user_name(user.str()) {
            errors.invalid(&user, message);
        }
    }
}

/// `USER` or `DOMAIN\USER`.
fn user_name(text: &str) -> text::Messages {
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let (domain, user) = match text.split_once('\\') {
        None => (None, text),
        Some((_, user)) if user.contains('\\') => {
            return vec!["runAsUserName cannot contain more than one backslash"];
        }
        Some((domain, user)) => (Some(domain), user),
    };
    let mut messages = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            messages.push("runAsUserName's Domain length must be under 256 characters");
        }
        if !is_netbios(domain) && !is_dns(domain) {
            messages.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        messages.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        messages.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.bytes().all(|byte| b". ".contains(&byte)) {
        messages.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        messages.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    messages
}

fn is_netbios(domain: &str) -> bool {
    let is_banned = |c: char| ['\\', '/', ':', '*', '?', '"', '<', '>', '|'].contains(&c);
    (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && !domain.contains(is_banned)
}

fn is_dns(domain: &str) -> bool {
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && text::label(&label.to_ascii_lowercase()).is_empty();
    domain.split('.').all(is_label)
}
