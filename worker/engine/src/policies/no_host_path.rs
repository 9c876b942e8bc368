//! `no_host_path`: no volume is a directory of the node.
//!
//! # What it checks
//! Two checks of kube-linter about volumes that a container mounts: `sensitive-host-mounts` (the host's `/`, `/boot`,
//! `/dev`, `/etc`, `/lib`, `/proc`, `/sys`, `/usr`) and `docker-sock` (a path that ends in `docker.sock`); and the
//! built-in `hostpath-volume`: any `hostPath` volume, mounted or not.
//!
//! # Why
//! Who writes to the node's files owns the node; the container runtime's socket starts privileged containers
//! (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! An `emptyDir` takes the place of every `hostPath` outside the config's allowlist (`rules.host_path_allowlist`), so
//! that the mounts still find their volume; with the caution `loses_host_access`. Paths in the allowlist stay. Where a
//! container mounts a socket of the node, such as the container runtime's, its program does nothing without it: a person
//! must decide.
//!
//! # Example
//! ```yaml
//! volumes: [{name: logs, hostPath: {path: /var/log}}]  # before
//! volumes: [{name: logs, emptyDir: {}}]                # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

pub(super) struct NoHostPath;

const SENSITIVE: Check = Check {
    id: "sensitive-host-mounts",
    severity: Severity::Error,
    remedy: "Do not mount the host's system directories.",
};
const DOCKER_SOCK: Check = Check {
    id: "docker-sock",
    severity: Severity::Error,
    remedy: "Do not mount the container runtime's socket.",
};
const ANY: Check = Check {
    id: "hostpath-volume",
    severity: Severity::Warning,
    remedy: "Use an emptyDir or a persistent volume.",
};

const DIRECTORIES: [&str; 8] = ["/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"];

/// A volume of the host.
struct HostVolume<'a> {
    at: Pointer,
    fields: &'a Map<String, Value>,
    /// Empty when the volume names none.
    path: &'a str,
}

fn host_volumes<'a>(pod: &Pod<'a>) -> Vec<HostVolume<'a>> {
    let volumes = pod.pointer.child("volumes");
    let of_host = |(index, fields): (usize, &'a Map<String, Value>)| {
        let host_path = fields.get("hostPath")?.as_object()?;
        let path = host_path.get("path").and_then(Value::as_str).unwrap_or_default();
        Some(HostVolume { at: volumes.index(index), fields, path })
    };
    pod.maps("volumes").filter_map(of_host).collect()
}

/// The checks that a mounted path fails.
fn mount_checks(path: &str) -> impl Iterator<Item = &'static str> {
    let sensitive = DIRECTORIES.contains(&path).then_some(SENSITIVE.id);
    // The pattern is `docker.sock$`, whose dot stands for any character.
    let tail: Vec<char> = path.chars().rev().take("docker.sock".len()).collect();
    let is_socket = tail.len() == "docker.sock".len()
        && tail
            .iter()
            .rev()
            .zip("docker.sock".chars())
            .all(|(c, expected)| expected == '.' || *c == expected);
    sensitive.into_iter().chain(is_socket.then_some(DOCKER_SOCK.id))
}

/// Where a container mounts the volume.
fn mounts<'a>(
    container: &'a Container<'_>,
    volume: &'a HostVolume<'_>,
) -> impl Iterator<Item = Pointer> + 'a {
    let name = volume.fields.get("name").and_then(Value::as_str);
    let here = container
        .maps("volumeMounts")
        .filter(move |(_, mount)| name.is_some() && mount.get("name").and_then(Value::as_str) == name);
    here.map(|(index, _)| container.pointer.child("volumeMounts").index(index))
}

fn is_allowed(path: &str, rules: &RulesConfig) -> bool {
    let plain = |path: &str| path.trim().trim_end_matches('/').to_owned();
    !plain(path).is_empty() && rules.host_path_allowlist.iter().any(|allowed| plain(allowed) == plain(path))
}

/// The volumes of the host that a repair must replace.
fn refused<'a>(pod: &Pod<'a>, rules: &RulesConfig) -> Vec<HostVolume<'a>> {
    host_volumes(pod).into_iter().filter(|volume| !is_allowed(volume.path, rules)).collect()
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may(
            "{pod}/volumes/*/hostPath/**",
            &[To::If("removed where the path is not allowed", |site| {
                site.change.is.is_none() && replaces_host_path(site)
            })],
        ),
        may("{pod}/volumes/*/emptyDir", &[IN_ITS_PLACE]),
        may("{pod}/volumes/*/emptyDir/sizeLimit", &[IN_ITS_PLACE]),
    ],
    companion: None,
};

const IN_ITS_PLACE: To =
    To::If("added in its place", |site| site.change.is.is_some() && replaces_host_path(site));

/// Whether the volume was a refused one of the host and is none any more.
fn replaces_host_path(site: &Site<'_, '_>) -> bool {
    let was = site.entry_before().and_then(|volume| volume.get("hostPath")).and_then(Value::as_object);
    let path = was.map(|host| host.get("path").and_then(Value::as_str).unwrap_or_default());
    let stays =
        site.entry_after().is_none_or(|volume| volume.get("hostPath").is_some_and(|host| !host.is_null()));
    path.is_some_and(|path| !is_allowed(path, site.rules)) && !stays
}

impl Policy for NoHostPath {
    fn id(&self) -> PolicyId {
        PolicyId::NoHostPath
    }

    fn checks(&self) -> &'static [Check] {
        &[SENSITIVE, DOCKER_SOCK, ANY]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, pod) in view.pods.iter().enumerate() {
            for volume in host_volumes(pod) {
                let finding =
                    |check, message, pointer| Finding { policy: self.id(), check, message, pointer };
                for check in mount_checks(volume.path) {
                    for container in view.containers.iter().filter(|container| container.pod == index) {
                        let (path, name) = (quoted(volume.path), quoted(container.name));
                        let message = format!("host system directory {path} is mounted on container {name}");
                        findings
                            .extend(mounts(container, &volume).map(|at| finding(check, message.clone(), at)));
                    }
                }
                let pointer = volume.at.child("hostPath");
                findings.push(finding(ANY.id, "volume uses hostPath".to_owned(), pointer));
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if !self.detect(view).is_empty() && self.cleared(view, rules).is_empty() {
            return Fix::NotApplicable { reason: "every host path is in the allowlist".to_owned() };
        }
        let mut editor = Editor::new(view.value);
        for volume in view.pods.iter().flat_map(|pod| refused(pod, rules)) {
            editor.remove(&volume.at.child("hostPath"));
            let has_source = volume
                .fields
                .iter()
                .any(|(key, value)| !matches!(key.as_str(), "name" | "hostPath") && value.is_object());
            if !has_source {
                editor.set(&volume.at.child("emptyDir"), json!({}));
            }
        }
        Fix::of(editor, [Caution::LosesHostAccess])
    }

    /// No volume of the host outside the allowlist.
    fn cleared(&self, view: &View<'_>, rules: &RulesConfig) -> Vec<String> {
        let refused = view.pods.iter().flat_map(|pod| refused(pod, rules));
        refused
            .map(|volume| match volume.path.trim() {
                "" => format!("{}: hostPath without a path", volume.at),
                path => format!("{}: hostPath {} is not in the allowlist", volume.at, quoted(path)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages};

    fn pod(path: &str, mounts: &str) -> crate::document::Document {
        document(&format!(
            "kind: Pod\nspec: {{containers: [{{name: a, volumeMounts: [{mounts}]}}], volumes: [{{name: v, hostPath: {{path: {path}}}}}]}}"
        ))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&NoHostPath);
    }

    #[test]
    fn the_checks_about_mounts_are_about_what_is_mounted() {
        let mount = "{name: v, mountPath: /h}";
        let mounted = |path: &str| format!("host system directory {path:?} is mounted on container \"a\"");
        let any = || "volume uses hostPath".to_owned();
        for (path, mounts, expected) in [
            ("/etc", mount, vec![mounted("/etc"), any()]),
            ("/etc", "", vec![any()]),
            ("/etc", "{name: v}, {name: w}, {name: v}", vec![mounted("/etc"), mounted("/etc"), any()]),
            ("/etc/", mount, vec![any()]),
            ("/run/docker.sock", mount, vec![mounted("/run/docker.sock"), any()]),
            ("/run/docker-sock", mount, vec![mounted("/run/docker-sock"), any()]),
            ("/run/docker.sock.d", mount, vec![any()]),
            ("/var/log", mount, vec![any()]),
        ] {
            assert_eq!(messages(&NoHostPath, &pod(path, mounts)), expected, "{path} {mounts}");
        }
        let found = findings(&NoHostPath, &pod("/etc", mount));
        assert_eq!(found[0].pointer.as_str(), "/spec/containers/0/volumeMounts/0");
        assert_eq!((found[0].check, found[1].check), ("sensitive-host-mounts", "hostpath-volume"));
        assert_eq!(findings(&NoHostPath, &pod("/docker.sock", mount))[0].check, "docker-sock");
    }

    #[test]
    fn an_empty_directory_takes_its_place() {
        assert_eq!(
            fix_of(&NoHostPath, &pod("/var/lib/x", "")),
            json!([
                {"op": "remove", "path": "/spec/volumes/0/hostPath"},
                {"op": "add", "path": "/spec/volumes/0/emptyDir", "value": {}}
            ])
        );
    }

    #[test]
    fn the_allowlist_is_respected_by_repair_and_re_check() {
        let document = document(
            "kind: Pod\nspec: {volumes: [null, {name: certs, hostPath: {path: /etc/ssl/certs/}}, {name: both, hostPath: {}, emptyDir: {}}, {name: x, hostPath: /x}]}",
        );
        assert_eq!(
            fix_of(&NoHostPath, &document),
            json!([{"op": "remove", "path": "/spec/volumes/2/hostPath"}])
        );

        let certs = pod("/etc/ssl/certs", "");
        let view = View::new(&certs, &Neighbours::Unknown);
        assert!(matches!(NoHostPath.fix(&view, &RulesConfig::default()), Fix::NotApplicable { .. }));
        let none = RulesConfig { host_path_allowlist: vec!["/".into()], ..RulesConfig::default() };
        assert!(matches!(NoHostPath.fix(&view, &none), Fix::Repair { .. }));
        assert_eq!(
            NoHostPath.cleared(&view, &none),
            ["/spec/volumes/0: hostPath \"/etc/ssl/certs\" is not in the allowlist"]
        );
    }

    #[test]
    fn a_cron_job_of_the_pruned_shape_is_patched_once() {
        let document = document(
            "kind: CronJob\nspec: {jobTemplate: {template: {spec: {volumes: [{name: v, hostPath: {path: /x}}]}}}}",
        );
        assert_eq!(fix_of(&NoHostPath, &document).as_array().unwrap().len(), 2);
    }
}
