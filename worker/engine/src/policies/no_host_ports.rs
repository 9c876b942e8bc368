//! `no_host_ports`: no container takes a port of its node.
//!
//! # What it checks
//! `hostPort` of every container port, with whatever value but 0, which means none (built-in check `host-ports`; the control
//! *Host Ports* of the Pod Security Standards, *Baseline*).
//!
//! # Why
//! A host port is open on the node's own addresses, past Services and often past network policies, and allows one such
//! pod a node (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! The key is removed; the container port stays. A pod that shares the host's network publishes its ports on the node
//! whatever they say: the repair then carries the caution `host_network_keeps_ports`, since leaving that network is the
//! business of `no_host_network`.
//!
//! # Example
//! ```yaml
//! ports: [{containerPort: 80, hostPort: 80}]  # before
//! ports: [{containerPort: 80}]                # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::host_flag;
use super::scope::{Scope, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct NoHostPorts;

const CHECK: Check = Check {
    id: "host-ports",
    severity: Severity::Warning,
    remedy: "Remove hostPort; publish the port with a Service.",
};

/// The pointers of a container's host ports.
fn host_ports(container: &Container<'_>) -> Vec<Pointer> {
    let is_taken = |port: &Value| !port.is_null() && port.as_i64() != Some(0);
    let ports = container.maps("ports").filter(|(_, port)| port.get("hostPort").is_some_and(is_taken));
    ports.map(|(index, _)| container.pointer.child("ports").index(index).child("hostPort")).collect()
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| !host_ports(container).is_empty(),
    may: &[
        may("{container}/ports/*/hostPort", &[To::Gone]),
        may(
            "{container}/ports/*/hostIP",
            &[To::If("removed with the port", |site| {
                site.change.is.is_none()
                    && site.entry_after().is_some_and(|port| port.get("hostPort").is_none_or(Value::is_null))
            })],
        ),
    ],
    companion: None,
};

impl Policy for NoHostPorts {
    fn id(&self) -> PolicyId {
        PolicyId::NoHostPorts
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let ports = view.containers.iter().flat_map(host_ports);
        ports
            .map(|pointer| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: "container exposes hostPort".to_owned(),
                pointer,
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = vec![Caution::LosesHostPort];
        for container in &view.containers {
            for pointer in host_ports(container) {
                editor.remove(&pointer);
                let on_host = view.pod_of(container).is_some_and(|pod| host_flag::is_set(pod, "hostNetwork"));
                if on_host && let Some(number) = no_port(view.value, &pointer) {
                    return Fix::NeedsReview {
                        reason: format!(
                            "containerPort {number} is no port number, and becomes the hostPort on the network of the \
                             host; correct it first"
                        ),
                    };
                }
                if on_host {
                    cautions = vec![Caution::HostNetworkKeepsPorts];
                }
            }
        }
        Fix::of(editor, cautions)
    }
}

/// The `containerPort` beside a `hostPort`, where it is a number that no port has.
fn no_port(document: &Value, host_port: &Pointer) -> Option<i64> {
    let (port, _) = host_port.split_last()?;
    let number = port.child("containerPort").resolve(document)?.as_i64()?;
    (!(1..=65535).contains(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoHostPorts);
    }

    #[test]
    fn the_key_goes_and_the_port_stays() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [{containerPort: 80, hostPort: 80}]}]}",
        );
        assert_eq!(messages(&NoHostPorts, &document), ["container exposes hostPort"]);
        assert_eq!(
            fix_of(&NoHostPorts, &document),
            json!([{"op": "remove", "path": "/spec/containers/0/ports/0/hostPort"}])
        );
    }

    #[test]
    fn every_value_of_every_container_at_its_true_index() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [5, {hostPort: 2}, {hostPort: null}, {hostPort: '80'}, {hostPort: 0}]}], initContainers: [null, {name: b, ports: [{hostPort: 1}]}]}",
        );
        assert_eq!(messages(&NoHostPorts, &document).len(), 3);
        assert_eq!(
            fix_of(&NoHostPorts, &document),
            json!([
                {"op": "remove", "path": "/spec/containers/0/ports/1/hostPort"},
                {"op": "remove", "path": "/spec/containers/0/ports/3/hostPort"},
                {"op": "remove", "path": "/spec/initContainers/1/ports/0/hostPort"}
            ])
        );
    }

    #[test]
    fn a_number_that_no_port_has_is_for_a_person_on_the_hosts_network() {
        let of = |network: bool| {
            let document = document(&format!(
                "kind: Pod\nspec: {{hostNetwork: {network}, containers: [{{ports: [{{containerPort: 70000, hostPort: 80}}]}}]}}"
            ));
            NoHostPorts.fix(&View::new(&document, &Neighbours::Unknown), &RulesConfig::default())
        };
        assert!(matches!(of(true), Fix::NeedsReview { reason } if reason.contains("70000")));
        assert!(matches!(of(false), Fix::Repair { .. }));
    }

    #[test]
    fn the_hosts_network_is_named() {
        let document = document(
            "kind: Pod\nspec: {hostNetwork: true, containers: [{ports: [{containerPort: 1, hostPort: 1}]}]}",
        );
        let view = View::new(&document, &Neighbours::Unknown);
        let Fix::Repair { cautions, .. } = NoHostPorts.fix(&view, &RulesConfig::default()) else { panic!() };
        assert_eq!(cautions, [Caution::HostNetworkKeepsPorts]);
    }
}
