//! `no_probe_host`: a probe or hook asks its own pod and nothing else.
//!
//! # What it checks
//! `host` of `httpGet` and `tcpSocket` in the liveness, readiness and startup probe and in the hooks `postStart` and
//! `preStop` of every container (own check `probe-host`; the control *Host Probes / Lifecycle Hooks* of the Pod Security
//! Standards, *Baseline*, since Kubernetes 1.34): it is empty.
//!
//! # Why
//! The kubelet makes the request, from the node: the author of the host reaches what only nodes may reach.
//!
//! # Repair
//! None by rule: without the field the pod's own address is asked, and whether the program listens there, or why another
//! host was asked, is not in the manifest. A probe that fails from then on restarts its container for ever.
//!
//! # Example
//! ```yaml
//! livenessProbe: {tcpSocket: {host: 127.0.0.1, port: 80}}  # before
//! livenessProbe: {tcpSocket: {port: 80}}                   # where the program listens on the pod's address
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use crate::k8s::{Container, View};

pub(super) struct NoProbeHost;

const CHECK: Check = Check {
    id: "probe-host",
    severity: Severity::Error,
    remedy: "Leave host out: a probe asks the address of its pod.",
};

const HANDLERS: [&[&str]; 5] = [
    &["livenessProbe"],
    &["readinessProbe"],
    &["startupProbe"],
    &["lifecycle", "postStart"],
    &["lifecycle", "preStop"],
];

/// The hosts that a container's probes and hooks name, and where.
fn hosts<'a>(container: &Container<'a>) -> Vec<(Pointer, &'a str)> {
    let mut found = Vec::new();
    for handler in HANDLERS {
        let mut steps = handler.iter();
        let first = steps.next().and_then(|key| container.fields.get(*key));
        let Some(fields) = steps.try_fold(first, |at, key| at.map(|at| at.get(*key))).flatten() else {
            continue;
        };
        for action in ["httpGet", "tcpSocket"] {
            let host = fields.get(action).and_then(|action| action.get("host")?.as_str());
            if let Some(host) = host.filter(|host| !host.is_empty()) {
                found.push((container.pointer.join(handler).join(&[action, "host"]), host));
            }
        }
    }
    found
}

impl Reviewed for NoProbeHost {
    const ID: PolicyId = PolicyId::NoProbeHost;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let mut found = Vec::new();
        for container in &view.containers {
            found.extend(hosts(container).into_iter().map(|(at, host)| {
                let (name, host) = (quoted(container.name), quoted(host));
                (at, format!("container {name} has a probe or hook that asks the host {host}"))
            }));
        }
        found
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "remove the host where the program listens on the address of its pod, else let it listen there, or ask it by a command \
         in the container"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, findings, fixture_holds};

    #[test]
    fn fixtures() {
        fixture_holds(&NoProbeHost);
    }

    #[test]
    fn probes_and_hooks_of_all_containers() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, livenessProbe: {httpGet: {host: h, port: 1}, tcpSocket: {host: ''}}, lifecycle: {preStop: {tcpSocket: {host: i, port: 1}}, postStart: {httpGet: {port: 1, httpHeaders: [{name: Host, value: x}]}}}}], initContainers: [{name: b, startupProbe: {tcpSocket: {host: 127.0.0.1}}, readinessProbe: {grpc: {port: 1}}, lifecycle: x}]}",
        );
        let found: Vec<String> = findings(&NoProbeHost, &document)
            .into_iter()
            .map(|finding| finding.pointer.to_string())
            .collect();
        assert_eq!(
            found,
            [
                "/spec/containers/0/livenessProbe/httpGet/host",
                "/spec/containers/0/lifecycle/preStop/tcpSocket/host",
                "/spec/initContainers/0/startupProbe/tcpSocket/host"
            ]
        );
    }
}
