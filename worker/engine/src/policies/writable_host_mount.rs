//! `writable_host_mount`: what is mounted from the node cannot be written.
//!
//! # What it checks
//! Mounts of a `hostPath` volume, in a container of a workload, without `readOnly: true` (kube-linter
//! `writable-host-mount`).
//!
//! # Why
//! Who writes to the node's files can own the node (Kubernetes documentation, *Volumes*, *hostPath*).
//!
//! # Repair
//! `readOnly: true` where every such mount is of a place that programs only read: certificates, the time zone, the identity
//! of the machine, the kernel's modules. What a program does with any other place, no manifest says.
//!
//! # Example
//! ```yaml
//! volumeMounts: [{name: time, mountPath: /etc/localtime}]                   # before
//! volumeMounts: [{name: time, mountPath: /etc/localtime, readOnly: true}]   # after
//! ```

use domain::config::RulesConfig;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::reviewed::findings;
use super::scope::{Scope, Site, To, any_container, may};
use super::security::checked;
use super::workload::{containers, pod_of};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct WritableHostMount;

const CHECK: Check = Check {
    id: "writable-host-mount",
    severity: Severity::Warning,
    remedy: "Mount the host's files with readOnly: true.",
};

/// Places of a node, with all below them, that its administrator writes and programs in containers only read (Filesystem
/// Hierarchy Standard 3.0, and the habits of distributions).
const ONLY_READ: [&str; 14] = [
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/os-release",
    "/etc/pki",
    "/etc/ssl",
    "/etc/timezone",
    "/lib/modules",
    "/usr/lib/modules",
    "/usr/lib/os-release",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/var/lib/dbus/machine-id",
];

/// A mount of the node that can be written.
struct Mount<'a> {
    at: Pointer,
    fields: &'a Map<String, Value>,
    container: &'a str,
    path: &'a str,
}

/// The path of the node that the volume of this name is; the last one of that name counts.
fn host_path<'a>(pod: &Pod<'a>, name: &str) -> Option<&'a str> {
    let named =
        pod.maps("volumes").filter(|(_, volume)| volume.get("name").and_then(Value::as_str) == Some(name));
    let paths = named.filter_map(|(_, volume)| volume.get("hostPath")?.as_object());
    paths.last().map(|host| host.get("path").and_then(Value::as_str).unwrap_or_default())
}

fn writable<'a>(view: &View<'a>) -> Vec<Mount<'a>> {
    let Some(pod) = pod_of(view).filter(|pod| pod.spec.contains_key("volumes")) else { return Vec::new() };
    let of_host = |(at, fields, container): (Pointer, &'a Map<String, Value>, &'a str)| {
        let path = host_path(pod, fields.get("name").and_then(Value::as_str)?)?;
        let is_writable = fields.get("readOnly") != Some(&Value::Bool(true));
        is_writable.then_some(Mount { at, fields, container, path })
    };
    let mounts = containers(view).flat_map(|container| {
        let place = container.pointer.child("volumeMounts");
        let mounts = container.maps("volumeMounts");
        mounts.map(move |(index, fields)| (place.index(index), fields, container.name))
    });
    mounts.filter_map(of_host).collect()
}

/// Whether programs only read what is mounted, and the mount may be made so.
fn is_only_read(mount: &Mount<'_>) -> bool {
    let path = mount.path.trim_end_matches('/');
    let is_above = path.split('/').any(|part| part == "..");
    let is_below =
        |place: &&str| path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !is_above && ONLY_READ.iter().any(is_below) && !mount.fields.contains_key("mountPropagation")
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "{container}/volumeMounts/*/readOnly",
        &[To::If("`true`, of a place of the node that programs only read", is_right)],
    )],
    companion: None,
};

fn is_right(site: &Site<'_, '_>) -> bool {
    let mounts = writable(site.before);
    let mount = mounts.iter().find(|mount| Some(mount.fields) == site.entry_before());
    site.change.is == Some(&Value::Bool(true)) && mount.is_some_and(is_only_read)
}

impl Policy for WritableHostMount {
    fn id(&self) -> PolicyId {
        PolicyId::WritableHostMount
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = writable(view).into_iter().map(|mount| {
            let Mount { at, container, path, .. } = mount;
            (at, format!("container {container} mounts path {path} on the host as writable"))
        });
        findings(self.id(), &CHECK, view, found)
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mounts = writable(view);
        if let Some(mount) = mounts.iter().find(|mount| !is_only_read(mount)) {
            return Fix::NeedsReview {
                reason: format!(
                    "say whether {} writes to {} of its node: if not, set readOnly to true on its mount",
                    mount.container, mount.path
                ),
            };
        }
        let mut editor = Editor::new(view.value);
        for mount in &mounts {
            editor.set(&mount.at.child("readOnly"), json!(true));
        }
        checked(self, view, rules, editor, [])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: WritableHostMount = WritableHostMount;

    fn pod(path: &str, mount: &str) -> Document {
        document(&format!(
            "kind: Pod\nspec: {{containers: [{{name: a, volumeMounts: [{{name: v, mountPath: /x{mount}}}, {{name: w, mountPath: /w}}]}}], volumes: [{{name: v, hostPath: {{path: {path}}}}}, {{name: w, emptyDir: {{}}}}]}}"
        ))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn what_programs_only_read_is_mounted_so() {
        let op = |op: &str| json!([{"op": op, "path": "/spec/containers/0/volumeMounts/0/readOnly", "value": true}]);
        for path in ["/etc/localtime", "/etc/ssl/certs/", "/lib/modules"] {
            assert_eq!(fix_of(&POLICY, &pod(path, "")), op("add"), "{path}");
            assert_eq!(fix_of(&POLICY, &pod(path, ", readOnly: false")), op("replace"), "{path}");
            assert_eq!(messages(&POLICY, &pod(path, ", readOnly: true")), Vec::<String>::new());
        }
    }

    #[test]
    fn other_places_are_for_a_person() {
        for (path, mount) in [
            ("/var/log", ""),
            ("/etc", ""),
            ("/etc/sslx", ""),
            ("/etc/ssl/../shadow", ""),
            ("/etc/ssl", ", mountPropagation: Bidirectional"),
        ] {
            let pod = pod(path, mount);
            assert_eq!(
                messages(&POLICY, &pod),
                [format!("container a mounts path {path} on the host as writable")]
            );
            assert!(review_of(&POLICY, &pod, &Neighbours::Unknown).contains("readOnly"), "{path}");
        }
    }
}
