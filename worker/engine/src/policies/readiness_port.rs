//! `readiness_port`: the readiness probe's port is exposed.
//!
//! # What it checks
//! That the port of a regular container's readiness probe (`httpGet` and `tcpSocket` by number or name, `grpc` by
//! number) is among the TCP ports that the container declares (kube-linter `readiness-port`). Init and ephemeral
//! containers are not checked.
//!
//! # Why
//! A readiness probe on the wrong port keeps a healthy pod out of its Services (Kubernetes documentation, *Configure
//! Liveness, Readiness and Startup Probes*); a declaration of the same port confirms that the number is intended.
//!
//! # Repair
//! The port is declared under the container's `ports`; the module `probe_ports` documents the repair of a port given by
//! name.
//!
//! # Example
//! ```yaml
//! readinessProbe: {httpGet: {port: 8080}}                                  # before
//! readinessProbe: {httpGet: {port: 8080}}, ports: [{containerPort: 8080}]  # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::probe_ports::{self, Probe, probe_scope};
use super::scope::{Scope, To, may};
use crate::k8s::View;

pub(super) struct ReadinessPort;

const PROBE: Probe = Probe {
    policy: PolicyId::ReadinessPort,
    check: Check {
        id: "readiness-port",
        severity: Severity::Warning,
        remedy: "Declare the port that the readiness probe asks among the container's ports.",
    },
    key: "readinessProbe",
};

const SCOPE: Scope = probe_scope!(PROBE, "readinessProbe");
const NEW_PORT: To = To::If("of a new entry for the port that the probe asks for", |site| {
    probe_ports::is_new_port(PROBE, site)
});

impl Policy for ReadinessPort {
    fn id(&self) -> PolicyId {
        PROBE.policy
    }

    fn checks(&self) -> &'static [Check] {
        &[PROBE.check]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    /// The program listens there already: to say so is none of the harm that low ports do.
    fn may_bring(&self) -> &'static [PolicyId] {
        &[PolicyId::PrivilegedPorts]
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        probe_ports::detect(PROBE, view)
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        probe_ports::fix(PROBE, view)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    #[test]
    fn fixtures() {
        fixture_holds(&ReadinessPort);
    }

    #[test]
    fn other_probes_are_ignored() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 2}}, startupProbe: {tcpSocket: {port: 3}}}]}",
        );
        assert_eq!(
            messages(&ReadinessPort, &document),
            [r#"container "a" does not expose port 2 for the TCPSocket"#]
        );
    }
    #[test]
    fn a_port_of_the_host_is_declared_by_one_container() {
        let pod = |network: &str, other: &str| {
            document(&format!(
                "kind: Pod\nspec: {{hostNetwork: {network}, containers: [{{name: a, readinessProbe: {{tcpSocket: {{port: 80}}}}}}, {{name: b, ports: [{other}]}}]}}"
            ))
        };
        let review = review_of(&ReadinessPort, &pod("true", "{containerPort: 80}"), &Neighbours::Unknown);
        assert!(review.contains("container \"b\" takes"), "{review}");
        for (network, other) in [
            ("false", "{containerPort: 80}"),
            ("true", "{containerPort: 80, protocol: UDP}"),
            ("true", "{containerPort: 80, hostIP: 127.0.0.1}"),
            ("true", "{containerPort: 81}"),
        ] {
            let added =
                json!([{"op": "add", "path": "/spec/containers/0/ports", "value": [{"containerPort": 80}]}]);
            assert_eq!(fix_of(&ReadinessPort, &pod(network, other)), added, "{network} {other}");
        }
    }
}
