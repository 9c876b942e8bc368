//! `liveness_port`: the liveness probe's port is exposed.
//!
//! # What it checks
//! That the port which the liveness probe of a regular container asks (`httpGet`, `tcpSocket` by number or name, `grpc` by
//! number) is among the TCP ports that the container declares (kube-linter `liveness-port`).
//!
//! # Why
//! A liveness probe that asks the wrong port restarts a healthy container again and again
//! (Kubernetes documentation, *Configure Liveness, Readiness and Startup Probes*); a declared port shows
//! that the number is meant.
//!
//! # Repair
//! The port is declared; see the probe ports' shared module for names.
//!
//! # Example
//! ```yaml
//! livenessProbe: {httpGet: {port: 8080}}                                  # before
//! livenessProbe: {httpGet: {port: 8080}}, ports: [{containerPort: 8080}]  # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::probe_ports::{self, Probe, probe_scope};
use super::scope::{Scope, To, may};
use crate::k8s::View;

pub(super) struct LivenessPort;

const PROBE: Probe = Probe {
    policy: PolicyId::LivenessPort,
    check: Check {
        id: "liveness-port",
        severity: Severity::Warning,
        remedy: "Declare the port that the liveness probe asks among the container's ports.",
    },
    key: "livenessProbe",
};

const SCOPE: Scope = probe_scope!(PROBE, "livenessProbe");
const NEW_PORT: To = To::If("of a new entry for the port that the probe asks for", |site| {
    probe_ports::is_new_port(PROBE, site)
});

impl Policy for LivenessPort {
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
    use domain::outcome::Caution;
    use domain::record::Neighbours;
    use serde_json::{Value, json};

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};

    fn pod(container: &str) -> Document {
        document(&format!("kind: Pod\nspec: {{containers: [{{name: a, {container}}}]}}"))
    }

    fn fix(container: &str) -> Value {
        fix_of(&LivenessPort, &pod(container))
    }

    fn review(container: &str) -> String {
        review_of(&LivenessPort, &pod(container), &Neighbours::Unknown)
    }

    fn added(port: &Value) -> Value {
        json!([{"op": "add", "path": "/spec/containers/0/ports/-", "value": port}])
    }

    #[test]
    fn fixtures() {
        fixture_holds(&LivenessPort);
    }

    #[test]
    fn regular_containers_are_found_with_the_first_unknown_port() {
        let document = document(
            "kind: Pod\nspec: {initContainers: [{name: i, livenessProbe: {tcpSocket: {port: 1}}}], containers: [{name: a, livenessProbe: {httpGet: {port: http}, tcpSocket: {port: 2}}}, {name: b, ports: [{containerPort: 5}], livenessProbe: {tcpSocket: {port: '5'}}}, {name: c, livenessProbe: {grpc: {port: 7}}}, {name: d, ports: [{name: x, containerPort: 7}], livenessProbe: {grpc: {port: 7}, httpGet: {port: x}}}]}",
        );
        assert_eq!(
            messages(&LivenessPort, &document),
            [
                r#"container "a" does not expose port http for the HTTPGet"#,
                r#"container "b" does not expose port 5 for the TCPSocket"#,
                r#"container "c" does not expose port 7 for the GRPC check"#,
            ]
        );
        assert_eq!(
            findings(&LivenessPort, &document)[0].pointer.as_str(),
            "/spec/containers/0/livenessProbe/httpGet/port"
        );
    }

    #[test]
    fn a_port_named_by_a_number_has_no_name() {
        let odd = pod("ports: [{containerPort: 22, name: 8080}], livenessProbe: {httpGet: {port: 8080}}");
        assert_eq!(messages(&LivenessPort, &odd).len(), 1);
    }

    #[test]
    fn ports_of_a_wrong_type_are_asked() {
        for ports in ["x", "{a: b}"] {
            let odd = format!("ports: {ports}, livenessProbe: {{httpGet: {{port: '8080'}}}}");
            assert!(review(&odd).contains("have a type"), "{ports}");
        }
        assert!(
            review("ports: [true], livenessProbe: {tcpSocket: {port: web}, grpc: {port: 80}}")
                .contains("have a type")
        );
    }

    #[test]
    fn a_number_is_exposed() {
        assert_eq!(
            fix("livenessProbe: {httpGet: {port: 8080}}"),
            json!([{"op": "add", "path": "/spec/containers/0/ports", "value": [{"containerPort": 8080}]}])
        );
        assert_eq!(
            fix("ports: [{containerPort: 80}], livenessProbe: {tcpSocket: {port: 81}}"),
            added(&json!({"containerPort": 81}))
        );
        assert_eq!(
            fix("ports: [{containerPort: 53, protocol: UDP}], livenessProbe: {tcpSocket: {port: 53}}"),
            added(&json!({"containerPort": 53, "protocol": "TCP"}))
        );
        assert_eq!(
            fix("ports: [{containerPort: 53}], livenessProbe: {tcpSocket: {port: '53'}}"),
            json!([{"op": "replace", "path": "/spec/containers/0/livenessProbe/tcpSocket/port", "value": 53}])
        );
    }

    #[test]
    fn two_handlers_on_one_port_need_it_once() {
        let ops = fix("livenessProbe: {httpGet: {port: 8080}, tcpSocket: {port: 8080}}");
        assert_eq!(ops.as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_name_is_resolved_where_its_number_is_known() {
        let port = "/spec/containers/0/livenessProbe/httpGet/port";
        assert_eq!(
            fix("ports: [{name: http, containerPort: 8080}], livenessProbe: {httpGet: {port: HTTP}}"),
            json!([{"op": "replace", "path": port, "value": "http"}])
        );
        assert_eq!(
            fix(
                "ports: [{name: http, containerPort: 8024}, {name: grpc, containerPort: 8124}], livenessProbe: {httpGet: {port: gui, path: /info}}, readinessProbe: {httpGet: {port: http, path: /info}}"
            ),
            json!([{"op": "replace", "path": port, "value": "http"}])
        );
        assert_eq!(
            fix(
                "ports: [{containerPort: 8080}, {containerPort: 53, protocol: UDP}], livenessProbe: {httpGet: {port: web}}"
            ),
            json!([{"op": "add", "path": "/spec/containers/0/ports/0/name", "value": "web"}])
        );
        assert_eq!(
            fix("livenessProbe: {httpGet: {port: metrics}}"),
            json!([{"op": "add", "path": "/spec/containers/0/ports", "value": [{"name": "metrics", "containerPort": 9090}]}])
        );
        let guess = pod("livenessProbe: {httpGet: {port: http}}");
        let Fix::Repair { cautions, .. } =
            LivenessPort.fix(&View::new(&guess, &Neighbours::Unknown), &RulesConfig::default())
        else {
            panic!("a repair")
        };
        assert_eq!(cautions, [Caution::PortGuessed]);
    }

    #[test]
    fn a_name_that_may_hide_a_typo_is_asked() {
        assert!(
            review("ports: [{name: http, containerPort: 80}], livenessProbe: {httpGet: {port: htpp}}")
                .contains("declared names: http")
        );
        assert!(review("livenessProbe: {httpGet: {port: gui}}").contains("declared names: none"));
        assert!(
            review("ports: [{name: web, containerPort: 80}], livenessProbe: {httpGet: {port: http}}")
                .contains("web")
        );
        assert!(
            review("ports: [{name: dns, containerPort: 53, protocol: UDP}], livenessProbe: {tcpSocket: {port: dns}}")
                .contains("dns")
        );
        assert!(
            review("ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: not_legal}}")
                .contains("not_legal")
        );
    }

    #[test]
    fn a_number_that_cannot_be_exposed_is_asked() {
        assert!(review("livenessProbe: {httpGet: {port: 140179}}").contains("no port number"));
        assert!(review("livenessProbe: {tcpSocket: {port: 22}}").contains("SSH"));
    }
}
