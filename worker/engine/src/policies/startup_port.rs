//! `startup_port`: the startup probe's port is exposed.
//!
//! # What it checks
//! That the port which the startup probe of a regular container asks (`httpGet`, `tcpSocket` by number or name, `grpc` by
//! number) is among the TCP ports that the container declares (kube-linter `startup-port`).
//!
//! # Why
//! A startup probe that asks the wrong port kills a container that has started well
//! (Kubernetes documentation, *Configure Liveness, Readiness and Startup Probes*); a declared port shows
//! that the number is meant.
//!
//! # Repair
//! The port is declared; see the probe ports' shared module for names.
//!
//! # Example
//! ```yaml
//! startupProbe: {httpGet: {port: 8080}}                                  # before
//! startupProbe: {httpGet: {port: 8080}}, ports: [{containerPort: 8080}]  # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::probe_ports::{self, Probe, probe_scope};
use super::scope::{Scope, To, may};
use crate::k8s::View;

pub(super) struct StartupPort;

const PROBE: Probe = Probe {
    policy: PolicyId::StartupPort,
    check: Check {
        id: "startup-port",
        severity: Severity::Warning,
        remedy: "Declare the port that the startup probe asks among the container's ports.",
    },
    key: "startupProbe",
};

const SCOPE: Scope = probe_scope!(PROBE, "startupProbe");
const NEW_PORT: To = To::If("of a new entry for the port that the probe asks for", |site| {
    probe_ports::is_new_port(PROBE, site)
});

impl Policy for StartupPort {
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
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&StartupPort);
    }

    #[test]
    fn other_probes_are_not_its_business() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 2}}, startupProbe: {tcpSocket: {port: 3}}}]}",
        );
        assert_eq!(
            messages(&StartupPort, &document),
            [r#"container "a" does not expose port 3 for the TCPSocket"#]
        );
    }
}
