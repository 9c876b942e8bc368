//! `read_only_root_fs`: containers cannot write to their root file system.
//!
//! # What it checks
//! `securityContext.readOnlyRootFilesystem` of every container (kube-linter `no-read-only-root-fs`): it must be true.
//!
//! # Why
//! Who breaks into a container with a read-only root cannot replace programs or leave tools behind
//! (CIS Kubernetes Benchmark, *Pod Security Standards*).
//!
//! # Repair
//! That one field, in every container that lacks it. A container that mounts no writable volume carries the caution
//! `writes_may_fail`: which directories the program writes to stands nowhere in the manifest. Windows has no such field.
//!
//! # Example
//! ```yaml
//! securityContext: {runAsUser: 1000}                                # before
//! securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use super::security::{checked, is_true, on_windows, windows_only};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

pub(super) struct ReadOnlyRootFs;

const KEY: &str = "readOnlyRootFilesystem";
const CHECK: Check = Check {
    id: "no-read-only-root-fs",
    severity: Severity::Warning,
    remedy: "Set readOnlyRootFilesystem to true and mount an emptyDir where the program must write.",
};

fn message(container: &Container<'_>) -> String {
    format!("container {} does not have a read-only root file system", quoted(container.name))
}

/// Whether the container mounts a volume that it can write to.
fn has_writable_volume(view: &View<'_>, container: &Container<'_>) -> bool {
    let read_only_source = |volume: &Map<String, Value>| {
        ["configMap", "secret", "projected", "downwardAPI", "image"]
            .iter()
            .any(|key| volume.contains_key(*key))
    };
    container.maps("volumeMounts").any(|(_, mount)| {
        let name = mount.get("name");
        let pod = view.pod_of(container);
        // A mount whose volume is not in the pod is a claim of a StatefulSet.
        let volume = pod.and_then(|pod| pod.maps("volumes").find(|(_, volume)| volume.get("name") == name));
        mount.get("readOnly") != Some(&Value::Bool(true))
            && !volume.is_some_and(|(_, volume)| read_only_source(volume))
    })
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| !on_windows(view, container) && !is_true(container, KEY),
    may: &[
        may("{container}/securityContext/readOnlyRootFilesystem", &[To::True]),
        may("{pod}/volumes/*/name", &[NEW_VOLUME]),
        may("{pod}/volumes/*/emptyDir", &[NEW_VOLUME]),
        may("{pod}/volumes/*/emptyDir/sizeLimit", &[NEW_VOLUME]),
        may("{container}/volumeMounts/*/name", &[NEW_MOUNT]),
        may("{container}/volumeMounts/*/mountPath", &[NEW_MOUNT]),
    ],
    companion: None,
};

const NEW_VOLUME: To = To::If("of a new volume that is an `emptyDir`", |site| {
    site.is_new_entry(2) && site.entry_after().is_some_and(is_scratch)
});
const NEW_MOUNT: To =
    To::If("of a new mount of such a volume where programs keep scratch files", is_new_mount);

/// Where programs keep files that they can do without (Filesystem Hierarchy Standard 3.0).
const SCRATCH: [&str; 6] = ["/tmp", "/var/tmp", "/run", "/var/run", "/var/cache", "/var/log"];

fn is_scratch(volume: &Map<String, Value>) -> bool {
    let is_empty_dir = volume.get("emptyDir").is_some_and(Value::is_object);
    is_empty_dir && volume.keys().all(|key| matches!(key.as_str(), "name" | "emptyDir"))
}

fn is_new_mount(site: &Site<'_, '_>) -> bool {
    let (Some([before, after]), Some(mount)) = (site.pods, site.entry_after()) else { return false };
    let named = |pod: &Pod<'_>, name: &str| {
        pod.maps("volumes").any(|(_, volume)| volume.get("name").and_then(Value::as_str) == Some(name))
    };
    let name = mount.get("name").and_then(Value::as_str);
    let is_new = name.is_some_and(|name| named(after, name) && !named(before, name));
    let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
    let below =
        |place: &&str| path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_above = path.split('/').any(|part| part == "..");
    is_new && !is_above && SCRATCH.iter().any(below) && site.change.was.is_none()
}

impl Policy for ReadOnlyRootFs {
    fn id(&self) -> PolicyId {
        PolicyId::ReadOnlyRootFs
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let writable = view.containers.iter().filter(|container| !is_true(container, KEY));
        writable
            .map(|container| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: message(container),
                pointer: view.nearest(container.security_pointer(&[KEY])),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, KEY) {
            return fix;
        }
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in &view.containers {
            if is_true(container, KEY) || on_windows(view, container) {
                continue;
            }
            editor.set(&container.security_pointer(&[KEY]), json!(true));
            if !has_writable_volume(view, container) {
                cautions.push(Caution::WritesMayFail);
            }
        }
        checked(self, view, rules, editor, cautions)
    }

    /// What the detector says, Windows apart.
    fn cleared(&self, view: &View<'_>, _rules: &RulesConfig) -> Vec<String> {
        let linux = view.containers.iter().filter(|container| !on_windows(view, container));
        linux.filter(|container| !is_true(container, KEY)).map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    fn cautions(yaml: &str) -> Vec<Caution> {
        let document = document(yaml);
        let view = View::new(&document, &Neighbours::Unknown);
        match ReadOnlyRootFs.fix(&view, &RulesConfig::default()) {
            Fix::Repair { cautions, .. } => cautions,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fixtures() {
        fixture_holds(&ReadOnlyRootFs);
    }

    #[test]
    fn one_field_and_nothing_else() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}, {name: b, securityContext: {readOnlyRootFilesystem: false, privileged: true}}, {name: c, securityContext: {readOnlyRootFilesystem: true}}], initContainers: [{name: d, securityContext: null}]}",
        );
        assert_eq!(
            messages(&ReadOnlyRootFs, &document),
            ["a", "b", "d"]
                .map(|name| format!("container {name:?} does not have a read-only root file system"))
        );
        assert_eq!(
            fix_of(&ReadOnlyRootFs, &document),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"readOnlyRootFilesystem": true}},
                {"op": "replace", "path": "/spec/containers/1/securityContext/readOnlyRootFilesystem", "value": true},
                {"op": "replace", "path": "/spec/initContainers/0/securityContext", "value": {"readOnlyRootFilesystem": true}}
            ])
        );
    }

    #[test]
    fn a_writable_volume_calms_the_caution() {
        let pod = |mounts: &str, volumes: &str| {
            format!("kind: Pod\nspec: {{containers: [{{volumeMounts: [{mounts}]}}], volumes: [{volumes}]}}")
        };
        let may_fail = [Caution::WritesMayFail];
        assert_eq!(cautions(&pod("", "")), may_fail);
        assert_eq!(cautions(&pod("{name: t, mountPath: /tmp}", "{name: t, emptyDir: {}}")), []);
        assert_eq!(cautions(&pod("{name: data, mountPath: /data}", "")), []);
        assert_eq!(
            cautions(&pod("{name: t, mountPath: /tmp, readOnly: true}", "{name: t, emptyDir: {}}")),
            may_fail
        );
        assert_eq!(
            cautions(&pod("{name: c, mountPath: /etc/c}", "{name: c, configMap: {name: c}}")),
            may_fail
        );
    }

    #[test]
    fn windows_has_no_such_field() {
        let document =
            document("kind: Pod\nspec: {nodeSelector: {kubernetes.io/os: windows}, containers: [{name: a}]}");
        let view = View::new(&document, &Neighbours::Unknown);
        let fix = ReadOnlyRootFs.fix(&view, &RulesConfig::default());
        let Fix::NotApplicable { reason } = fix else { panic!("{fix:?}") };
        assert_eq!(reason, "the pod runs on Windows, where readOnlyRootFilesystem must not be set");
        assert_eq!(ReadOnlyRootFs.cleared(&view, &RulesConfig::default()), [""; 0]);
    }

    #[test]
    fn a_security_context_of_a_wrong_type_is_a_persons_business() {
        let document = document("kind: Pod\nspec: {containers: [{name: a, securityContext: locked}]}");
        let reason = review_of(&ReadOnlyRootFs, &document, &Neighbours::Unknown);
        assert!(reason.contains("type"), "{reason}");
    }
}
