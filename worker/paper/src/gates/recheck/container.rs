//! Re-checks of one container.

use serde_json::{Map, Value};

use crate::gates::walk::{self, flag, map, maps, texts};

type Fields = Map<String, Value>;

/// The capabilities that the run's rules dropped.
const DANGEROUS: [&str; 6] = ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_CHROOT"];

fn context(container: &Fields) -> Option<&Fields> {
    map(container, "securityContext")
}

fn unless(holds: bool, text: &str) -> Option<String> {
    (!holds).then(|| text.to_owned())
}

fn is_other_user(context: &Fields) -> bool {
    context.get("runAsUser").is_some_and(|user| {
        user.as_i64().is_some_and(|user| user != 0) || user.as_u64().is_some_and(|user| user != 0)
    })
}

pub(super) fn latest_tag(container: &Fields) -> Option<String> {
    let latest =
        container.get("image").and_then(Value::as_str).is_some_and(|image| image.ends_with(":latest"));
    unless(!latest, "container image still uses :latest")
}

pub(super) fn privileged(container: &Fields) -> Option<String> {
    let privileged = context(container).is_some_and(|context| flag(context, "privileged", true));
    unless(!privileged, "container remains privileged")
}

pub(super) fn read_only_root_fs(container: &Fields) -> Option<String> {
    let Some(context) = context(container) else {
        return Some("securityContext missing for container".to_owned());
    };
    unless(flag(context, "readOnlyRootFilesystem", true), "readOnlyRootFilesystem not enforced")
}

pub(super) fn run_as_non_root(container: &Fields) -> Option<String> {
    let holds = context(container)
        .is_some_and(|context| flag(context, "runAsNonRoot", true) || is_other_user(context));
    unless(holds, "container still permitted to run as root")
}

pub(super) fn run_as_user(container: &Fields) -> Option<String> {
    unless(context(container).is_some_and(is_other_user), "runAsUser missing or still root")
}

pub(super) fn seccomp(container: &Fields) -> Option<String> {
    let profile = context(container).and_then(|context| map(context, "seccompProfile"));
    let kind = profile.and_then(|profile| profile.get("type")).and_then(Value::as_str);
    unless(kind == Some("RuntimeDefault"), "seccompProfile.type not RuntimeDefault")
}

pub(super) fn privilege_escalation(container: &Fields) -> Option<String> {
    let holds = context(container).is_some_and(|context| flag(context, "allowPrivilegeEscalation", false));
    unless(holds, "allowPrivilegeEscalation must be false")
}

pub(super) fn requests_limits(container: &Fields) -> Vec<String> {
    let Some(resources) = map(container, "resources") else {
        return vec!["resources block missing for container".to_owned()];
    };
    let mut errors = Vec::new();
    for block in ["requests", "limits"] {
        let Some(amounts) = map(resources, block) else {
            errors.push(format!("{block} missing for container"));
            continue;
        };
        let missing = ["cpu", "memory"].into_iter().filter(|key| walk::text(amounts, key).is_none());
        errors.extend(missing.map(|key| format!("{block}.{key} missing or empty")));
    }
    errors
}

pub(super) fn capabilities(container: &Fields) -> Vec<String> {
    let Some(capabilities) = context(container).and_then(|context| map(context, "capabilities")) else {
        return vec!["capabilities not defined".to_owned()];
    };
    let mut errors = Vec::new();
    let upper = |key| {
        texts(capabilities, key).map(|list| list.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>())
    };
    match upper("drop") {
        None => errors.push("capabilities.drop missing".to_owned()),
        Some(dropped) => {
            let missing: Vec<&str> =
                DANGEROUS.into_iter().filter(|name| !dropped.iter().any(|have| have == name)).collect();
            if !missing.is_empty() {
                errors.push(format!("capabilities.drop missing {}", missing.join(", ")));
            }
        }
    }
    let mut added: Vec<String> = upper("add").unwrap_or_default();
    added.retain(|name| DANGEROUS.contains(&name.as_str()));
    added.sort_unstable();
    added.dedup();
    if !added.is_empty() {
        errors.push(format!("capabilities.add still contains {}", added.join(", ")));
    }
    errors.extend(privilege_escalation(container));
    errors
}

pub(super) fn sys_admin(container: &Fields) -> Vec<String> {
    let Some(capabilities) = context(container).and_then(|context| map(context, "capabilities")) else {
        return vec!["capabilities not defined".to_owned()];
    };
    let holds = |list: &[&str], names: &[&str]| {
        list.iter().any(|have| names.iter().any(|name| have.trim().eq_ignore_ascii_case(name)))
    };
    let mut errors = Vec::new();
    match texts(capabilities, "drop") {
        None => errors.push("capabilities.drop missing".to_owned()),
        Some(dropped) if !holds(&dropped, &["ALL", "SYS_ADMIN"]) => {
            errors.push("capabilities.drop missing SYS_ADMIN".to_owned());
        }
        Some(_) => {}
    }
    if texts(capabilities, "add").is_some_and(|added| holds(&added, &["SYS_ADMIN"])) {
        errors.push("capabilities.add must not include SYS_ADMIN".to_owned());
    }
    errors.extend(privilege_escalation(container));
    errors
}

pub(super) fn host_ports(container: &Fields) -> Vec<String> {
    let sets = |port: &&Fields| match port.get("hostPort") {
        Some(Value::Number(number)) => (number.is_i64() || number.is_u64()) && number.as_i64() != Some(0),
        Some(Value::String(text)) => !text.is_empty() && text != "0",
        _ => false,
    };
    maps(container, "ports").filter(sets).map(|_| "container port still sets hostPort".to_owned()).collect()
}

pub(super) fn env_secrets(container: &Fields) -> Vec<String> {
    let needs_secret = |entry: &&Fields| {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let source = map(entry, "valueFrom").and_then(|source| map(source, "secretKeyRef"));
        (name.contains("secret") || name.contains("password")) && source.is_none()
    };
    maps(container, "env")
        .filter(needs_secret)
        .filter_map(|entry| entry.get("name").and_then(Value::as_str))
        .map(|name| format!("environment variable {name} must use secretKeyRef"))
        .collect()
}
