//! `windows_os_name`: a pod for Windows nodes names its operating system.
//!
//! # What it checks
//! Pods that only a node selector sends to Windows, without `os.name: windows` (own check `windows-os-name`; the controls
//! *Privilege Escalation*, *Seccomp* and *Capabilities* of the Pod Security Standards, *Restricted*). Where such a pod does
//! not set what those controls ask of Linux, the admission refuses it, because it exempts by `os.name` alone.
//!
//! # Why
//! The fields that it asks for mean nothing on Windows; with the name, the API server knows, and the pod is admitted.
//!
//! # Repair
//! `os: {name: windows}`, where the pod sets no field that exists on Linux only: the API server refuses those beside the name.
//!
//! # Example
//! ```yaml
//! nodeSelector: {kubernetes.io/os: windows}                          # before
//! {os: {name: windows}, nodeSelector: {kubernetes.io/os: windows}}   # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::pod_security::{field, profile_type};
use super::restricted_capabilities::drops_all;
use super::scope::{Scope, To, any_container, may};
use super::security::{effective, is_false};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

pub(super) struct WindowsOsName;

const CHECK: Check =
    Check { id: "windows-os-name", severity: Severity::Warning, remedy: "Set os.name to windows." };

/// Fields of a security context that the API server refuses in a pod for Windows.
const LINUX_ONLY: [&str; 16] = [
    "allowPrivilegeEscalation",
    "appArmorProfile",
    "capabilities",
    "fsGroup",
    "fsGroupChangePolicy",
    "privileged",
    "procMount",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsUser",
    "seLinuxChangePolicy",
    "seLinuxOptions",
    "seccompProfile",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "sysctls",
];
const LINUX_ONLY_OF_PODS: [&str; 4] = ["hostIPC", "hostPID", "hostUsers", "shareProcessNamespace"];

/// Whether the pod names its operating system.
fn names_one(pod: &Pod<'_>) -> bool {
    let name = pod.spec.get("os").and_then(|os| os.get("name"));
    name.is_some_and(|name| !name.is_null())
}

/// Whether the container does what the admission asks of Linux.
fn is_fit_for_linux(view: &View<'_>, container: &Container<'_>) -> bool {
    let seccomp = effective(view, container, "seccompProfile").map(profile_type);
    is_false(container, "allowPrivilegeEscalation")
        && drops_all(container)
        && matches!(seccomp, Some("RuntimeDefault" | "Localhost"))
}

fn violates(view: &View<'_>, at: usize, pod: &Pod<'_>) -> bool {
    let mut own = view.containers.iter().filter(|container| container.pod == at);
    pod.is_windows() && !names_one(pod) && own.any(|container| !is_fit_for_linux(view, container))
}

fn violating<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Pod<'a>> {
    view.pods.iter().enumerate().filter(|(at, pod)| violates(view, *at, pod)).map(|(_, pod)| pod)
}

/// A field of the pod or of its containers that exists on Linux only.
fn linux_only(view: &View<'_>) -> Option<&'static str> {
    let set = |context: &Map<String, Value>| LINUX_ONLY.into_iter().find(|key| field(context, key).is_some());
    let pods = view.pods.iter().filter_map(Pod::security_context);
    let containers = view.containers.iter().filter_map(Container::security_context);
    pods.chain(containers).find_map(set).or_else(|| {
        let mut keys = LINUX_ONLY_OF_PODS.into_iter();
        keys.find(|key| view.pods.iter().any(|pod| field(pod.spec, key).is_some()))
    })
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may("{pod}/os/name", &[To::Text(&["windows"])])],
    companion: None,
};

impl Policy for WindowsOsName {
    fn id(&self) -> PolicyId {
        PolicyId::WindowsOsName
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        violating(view)
            .map(|pod| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: "the pod is for Windows nodes and does not name its operating system".to_owned(),
                pointer: view.nearest(pod.pointer.child("nodeSelector")),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for pod in violating(view) {
            if let Some(key) = linux_only(view) {
                let reason = format!(
                    "the pod is for Windows nodes and sets {key}, which exists on Linux only and which the API server refuses \
                     beside os.name: windows: take it out, then set the name"
                );
                return Fix::NeedsReview { reason };
            }
            editor.set(&pod.pointer.join(&["os", "name"]), json!("windows"));
        }
        Fix::of(editor, [])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::schema::{Report, Structural};
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    #[test]
    fn fixtures() {
        fixture_holds(&WindowsOsName);
    }

    #[test]
    fn a_selector_alone_does_not_exempt() {
        let selected = |rest: &str| {
            document(&format!("kind: Pod\nspec: {{nodeSelector: {{kubernetes.io/os: windows}}, {rest}}}"))
        };
        let bare = selected("containers: [{name: a}]");
        assert_eq!(
            fix_of(&WindowsOsName, &bare),
            json!([{"op": "add", "path": "/spec/os", "value": {"name": "windows"}}])
        );
        let fit = "containers: [{name: a, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]";
        for fine in [fit, "os: {name: windows}, containers: [{name: a}]", "containers: []"] {
            assert_eq!(messages(&WindowsOsName, &selected(fine)), [""; 0], "{fine}");
        }
        let mixed = selected("containers: [{name: a, securityContext: {readOnlyRootFilesystem: true}}]");
        let reason = review_of(&WindowsOsName, &mixed, &Neighbours::Unknown);
        assert!(reason.contains("readOnlyRootFilesystem"), "{reason}");
        let linux = document("kind: Pod\nspec: {containers: [{name: a}]}");
        assert_eq!(messages(&WindowsOsName, &linux), [""; 0]);
    }

    #[test]
    fn the_api_server_refuses_each_of_the_fields() {
        let refused = |spec: Value| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec});
            match Structural::newest().validate(&pod, &[]) {
                Report::Invalid(errors) => {
                    errors.iter().any(|error| error.to_string().contains("cannot be set for a windows pod"))
                }
                _ => false,
            }
        };
        let spec = || json!({"os": {"name": "windows"}, "containers": [{"name": "a", "image": "a:1"}]});
        assert!(!refused(spec()));
        for key in LINUX_ONLY_OF_PODS {
            let mut spec = spec();
            spec[key] = json!(true);
            assert!(refused(spec), "{key}");
        }
        for key in LINUX_ONLY {
            let values = [
                json!(1),
                json!(true),
                json!({}),
                json!("Default"),
                json!([1]),
                json!([{"name": "a", "value": "b"}]),
                json!({"type": "RuntimeDefault"}),
                json!("Always"),
                json!("Strict"),
                json!("Recursive"),
            ];
            let is_refused = values.into_iter().any(|value| {
                let (mut pod, mut container) = (spec(), spec());
                pod["securityContext"] = json!({key: value});
                container["containers"][0]["securityContext"] = json!({key: value});
                refused(pod) || refused(container)
            });
            assert!(is_refused, "{key}");
        }
    }
}
