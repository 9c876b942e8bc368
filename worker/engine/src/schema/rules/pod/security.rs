//! Security contexts of pods and containers, and their forbidden combinations.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use super::operating_system;

const MAX_ID: i64 = i32::MAX as i64;
const MAX_APP_ARMOR_PROFILE: usize = 4_095;

/// Kernel parameters of a pod's own network, and of its own shared memory.
const NETWORK_SYSCTLS: &[&str] = &["net."];
const IPC_SYSCTLS: &[&str] = &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

/// `securityContext` of a pod.
pub(super) fn pod(errors: &mut Errors, spec: &Node<'_, '_>) {
    let context = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.in_range_if_set(&context.get(field), 0, MAX_ID);
    }
    for group in context.get("supplementalGroups").entries() {
        errors.in_range(&group, 0, MAX_ID);
    }
    sysctls(errors, &context.get("sysctls"), spec);
    errors.one_of(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    profiles(errors, &context);
    errors.one_of(&context.get("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    errors.one_of(&context.get("seLinuxChangePolicy"), &["MountOption", "Recursive"]);
}

/// `securityContext` of a container.
pub(super) fn container(errors: &mut Errors, context: &Node<'_, '_>, host_users: bool) {
    if !context.is_set() {
        return;
    }
    for field in ["runAsUser", "runAsGroup"] {
        errors.in_range_if_set(&context.get(field), 0, MAX_ID);
    }
    let mount = context.get("procMount");
    errors.one_of(&mount, &["Default", "Unmasked"]);
    if host_users && mount.str() == "Unmasked" {
        errors.invalid(&mount, "`hostUsers` must be false to use `Unmasked`");
    }
    if context.get("allowPrivilegeEscalation").flag() == Some(false) {
        if context.get("privileged").is_true() {
            errors
                .invalid(context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let capabilities = context.get("capabilities");
        for capability in capabilities.get("add").texts() {
            if capability == "CAP_SYS_ADMIN" {
                errors.invalid(
                    context,
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
                );
            }
        }
    }
    profiles(errors, context);
}

fn profiles(errors: &mut Errors, context: &Node<'_, '_>) {
    seccomp(errors, &context.get("seccompProfile"));
    operating_system::options(errors, &context.get("windowsOptions"));
    app_armor(errors, &context.get("appArmorProfile"));
}

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(errors: &mut Errors, profile: &Node<'_, '_>) {
    if !profile.is_set() {
        return;
    }
    let (kind, path) = (profile.get("type"), profile.get("localhostProfile"));
    if kind.is_empty() {
        errors.required(&kind, "type is required when seccompProfile is set");
    }
    errors.one_of_or_default(&kind, PROFILE_TYPES);
    if kind.str() == "Localhost" {
        if path.is_set() {
            errors.check(&path, text::descending_path);
        } else {
            errors.required(&path, "must be set when seccomp type is Localhost");
        }
    } else if path.is_set() {
        errors.invalid(&path.in_place_of(profile), "can only be set when seccomp type is Localhost");
    }
}

fn app_armor(errors: &mut Errors, profile: &Node<'_, '_>) {
    const MUST_BE_SET: &str = "must be set when AppArmor type is Localhost";
    if !profile.is_set() {
        return;
    }
    let (kind, name) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.str() {
        "" => errors.required(&kind, "type is required when appArmorProfile is set"),
        "Localhost" => {
            if name.str().trim() != name.str() {
                errors.invalid(&name, "must not be padded with whitespace");
            } else if name.is_empty() {
                errors.required(&name, MUST_BE_SET);
            }
            errors.at_most_bytes(&name, MAX_APP_ARMOR_PROFILE);
        }
        "RuntimeDefault" | "Unconfined" if name.is_set() => {
            errors.invalid(&name, "can only be set when AppArmor type is Localhost");
        }
        _ => errors.one_of(&kind, PROFILE_TYPES),
    }
}

fn sysctls(errors: &mut Errors, sysctls: &Node<'_, '_>, spec: &Node<'_, '_>) {
    let mut names = BTreeSet::new();
    for sysctl in sysctls.entries() {
        let name = sysctl.get("name");
        if errors.needs(&name) {
            let messages = text::sysctl(name.str());
            if messages.is_empty() && names.contains(name.str()) {
                errors.duplicate(&name);
            }
            for message in messages {
                errors.invalid(&name, message);
            }
        }
        names.insert(name.str());
        let dotted = dotted(name.str());
        let is_in = |prefixes: &[&str]| prefixes.iter().any(|prefix| dotted.starts_with(prefix));
        if spec.get("hostNetwork").is_true() && is_in(NETWORK_SYSCTLS) {
            errors.invalid(&name, "may not be specified when 'hostNetwork' is true");
        } else if spec.get("hostIPC").is_true() && is_in(IPC_SYSCTLS) {
            errors.invalid(&name, "may not be specified when 'hostIPC' is true");
        }
    }
}

/// `net/ipv4/ip_forward` → `net.ipv4.ip_forward`: the first separator says which is which.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'/') => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}
