//! Recognises agents of a node: pods whose purpose is the node they run on, such as network and storage plugins, collectors
//! of logs and metrics, and the control plane itself.
//!
//! What a repair would take from such a pod (the folders of its node, its namespaces, privileged mode) is what it is for.

use serde_json::{Map, Value};

use super::view::{Pod, View};

/// A path of the node, at or below which an agent works, and what for.
const PLACES: [(&str, &str); 37] = [
    ("/boot", "the kernel"),
    ("/dev", "devices"),
    ("/etc/calico", "the pod network"),
    ("/etc/cni", "the pod network"),
    ("/etc/kubernetes", "the control plane"),
    ("/etc/machine-id", "metrics"),
    ("/lib/modules", "the kernel"),
    ("/opt/cni", "the pod network"),
    ("/proc", "metrics"),
    ("/run/calico", "the pod network"),
    ("/run/cni", "the pod network"),
    ("/run/containerd", "the container runtime"),
    ("/run/crio", "the container runtime"),
    ("/run/flannel", "the pod network"),
    ("/run/log", "logs"),
    ("/run/openvswitch", "the pod network"),
    ("/run/systemd", "the system's services"),
    ("/run/udev", "devices"),
    ("/run/xtables.lock", "the pod network"),
    ("/sys", "metrics"),
    ("/usr/lib/modules", "the kernel"),
    ("/usr/libexec/kubernetes", "storage"),
    ("/usr/src", "the kernel"),
    ("/var/lib/calico", "the pod network"),
    ("/var/lib/cni", "the pod network"),
    ("/var/lib/containerd", "the container runtime"),
    ("/var/lib/docker", "the container runtime"),
    ("/var/lib/etcd", "the control plane"),
    ("/var/lib/kubelet", "storage and devices"),
    ("/var/log", "logs"),
    ("/var/run/calico", "the pod network"),
    ("/var/run/cni", "the pod network"),
    ("/var/run/containerd", "the container runtime"),
    ("/var/run/crio", "the container runtime"),
    ("/var/run/docker", "the container runtime"),
    ("/var/run/docker.sock", "the container runtime"),
    ("/var/run/openvswitch", "the pod network"),
];

/// Why the first pod of the object is an agent of its node, in words that follow *because it*; `None` where it is none.
///
/// An agent runs on every node (a `DaemonSet`), or belongs to the node (a pod of `kube-system` in the network of its host,
/// or with the priority of a node). It is one where it works on a place of the node that agents work on, or holds the whole
/// node: by its root folder, or in privileged mode with any folder of it. A folder of an application does not make one.
pub fn purpose(view: &View<'_>) -> Option<String> {
    let pod = view.pods.first()?;
    let is_on_every_node = view.kind() == "DaemonSet";
    if !is_on_every_node && !belongs_to_node(view, pod) {
        return None;
    }
    let paths: Vec<&str> = host_paths(pod).collect();
    let place = paths.iter().find_map(|path| {
        let known = PLACES.iter().find(|(place, _)| is_at_or_below(path, place));
        known.map(|(_, what)| format!("works on {path} of its node ({what})"))
    });
    let whole = || {
        let root = paths.iter().any(|path| path.trim_end_matches('/').is_empty() && path.starts_with('/'));
        root.then(|| "works on the whole file system of its node".to_owned())
    };
    let privileged = || {
        let path = paths.first().filter(|_| is_privileged(view))?;
        Some(format!("works in privileged mode on {path} of its node"))
    };
    let critical = || {
        let shares = ["hostNetwork", "hostPID"].into_iter().find(|flag| is_set(pod.spec, flag))?;
        (priority(pod) == Some(NODE_CRITICAL)).then(|| format!("is critical for its node and has {shares}"))
    };
    place.or_else(whole).or_else(privileged).or_else(critical)
}

const NODE_CRITICAL: &str = "system-node-critical";

fn priority<'a>(pod: &Pod<'a>) -> Option<&'a str> {
    pod.spec.get("priorityClassName")?.as_str()
}

fn is_set(spec: &Map<String, Value>, flag: &str) -> bool {
    spec.get(flag) == Some(&Value::Bool(true))
}

/// Whether a pod that stands alone is a static one of its node (Kubernetes documentation, *Static Pods*), or as critical.
fn belongs_to_node(view: &View<'_>, pod: &Pod<'_>) -> bool {
    let is_static = view.identity.namespace == "kube-system" && is_set(pod.spec, "hostNetwork");
    view.kind() == "Pod" && (is_static || priority(pod) == Some(NODE_CRITICAL))
}

fn host_paths<'a>(pod: &Pod<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    pod.maps("volumes").filter_map(|(_, volume)| volume.get("hostPath")?.get("path")?.as_str())
}

fn is_privileged(view: &View<'_>) -> bool {
    let flag = |context: &Map<String, Value>| context.get("privileged") == Some(&Value::Bool(true));
    view.containers.iter().any(|container| container.security_context().is_some_and(flag))
}

fn is_at_or_below(path: &str, place: &str) -> bool {
    path.trim_end_matches('/')
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    fn of(kind: &str, metadata: &str, spec: &str) -> Option<String> {
        let pod = format!("{{containers: [{{name: a, image: 'a:1'}}], {spec}}}");
        let spec = if kind == "Pod" { pod } else { format!("{{template: {{spec: {pod}}}}}") };
        let document = document(&format!("kind: {kind}\nmetadata: {{name: a, {metadata}}}\nspec: {spec}"));
        purpose(&View::new(&document, &Neighbours::Unknown))
    }

    #[test]
    fn agents_are_known_by_what_they_work_on() {
        for (path, what) in [
            ("/opt/cni/bin", "the pod network"),
            ("/etc/cni/net.d/", "the pod network"),
            ("/var/lib/kubelet/plugins/csi.example.com", "storage"),
            ("/var/log", "logs"),
            ("/var/log/pods", "logs"),
            ("/proc", "metrics"),
            ("/dev", "devices"),
            ("/var/run/docker.sock", "the container runtime"),
            ("/", "whole file system"),
        ] {
            let volume = format!("volumes: [{{name: v, hostPath: {{path: {path}}}}}]");
            let found = of("DaemonSet", "", &volume).unwrap_or_default();
            assert!(found.contains(what), "{path}: {found}");
            assert_eq!(of("Deployment", "", &volume), None, "{path}: an application");
            assert_eq!(of("Pod", "", &volume), None, "{path}: an application");
            let with_network = format!("hostNetwork: true, {volume}");
            assert!(of("Pod", "namespace: kube-system", &with_network).is_some(), "{path}: a static pod");
        }
    }

    #[test]
    fn an_application_is_none() {
        for spec in [
            "volumes: []",
            "hostNetwork: true",
            "volumes: [{name: v, hostPath: {path: /data}}]",
            "volumes: [{name: v, hostPath: {path: /variable/log}}]",
            "volumes: [{name: v, hostPath: {path: /devices}}]",
            "volumes: [{name: v, emptyDir: {}}]",
        ] {
            assert_eq!(of("DaemonSet", "", spec), None, "{spec}");
            assert_eq!(of("Pod", "namespace: kube-system", spec), None, "{spec}");
        }
        let priority = "priorityClassName: system-node-critical, hostNetwork: true";
        assert!(of("DaemonSet", "", priority).is_some());
        assert!(of("Pod", "", priority).is_some());
        assert_eq!(of("Deployment", "", priority), None);
        let privileged = "initContainers: [{name: b, securityContext: {privileged: true}}]";
        assert_eq!(of("DaemonSet", "", privileged), None);
        assert!(
            of("DaemonSet", "", &format!("{privileged}, volumes: [{{name: v, hostPath: {{path: /data}}}}]"))
                .is_some()
        );
    }
}
