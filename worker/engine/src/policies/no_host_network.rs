//! `no_host_network`: no pod shares the host's network namespace.
//!
//! # What it checks
//! `hostNetwork` of every pod spec (kube-linter `host-network`).
//!
//! # Why
//! A pod in the host's network sees the traffic of its node, reaches what listens on the node's loopback address and is
//! bound by no network policy (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! The flag becomes false in the pod spec that sets it, wherever that stands: at `/spec/template/spec` of a Deployment,
//! not at its `/spec`, where nobody reads it. `dnsPolicy: ClusterFirstWithHostNet` becomes `ClusterFirst`. Host ports
//! that the containers publish stay published; that is the business of `no_host_ports`. Where a container is a process of its
//! Windows node, which needs the flag, a person decides.
//!
//! # Example
//! ```yaml
//! spec: {hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet}  # before
//! spec: {hostNetwork: false, dnsPolicy: ClusterFirst}            # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::host_flag;
use super::no_host_process;
use super::scope::{Scope, To, any_container, may};
use crate::k8s::View;

pub(super) struct NoHostNetwork;

const FLAG: &str = "hostNetwork";
const MESSAGE: &str = "resource shares host's network namespace (via hostNetwork=true).";
const CHECK: Check = Check {
    id: "host-network",
    severity: Severity::Warning,
    remedy: "Leave the host's network; publish what must be reached with a Service.",
};

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may("{pod}/hostNetwork", &[To::False, To::Gone]),
        may(
            "{pod}/dnsPolicy",
            &[To::If("`ClusterFirst` or nothing in place of `ClusterFirstWithHostNet`", |site| {
                let was = site.change.was.and_then(Value::as_str) == Some("ClusterFirstWithHostNet");
                was && (site.change.is.is_none() || site.text() == Some("ClusterFirst"))
            })],
        ),
    ],
    companion: None,
};

impl Policy for NoHostNetwork {
    fn id(&self) -> PolicyId {
        PolicyId::NoHostNetwork
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        host_flag::detect(self, view, FLAG, &CHECK, MESSAGE)
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let is_found = view.pods.iter().any(|pod| host_flag::is_set(pod, FLAG));
        if is_found && no_host_process::is_on_host(view) {
            // Kubernetes documentation, *Create a Windows HostProcess Pod*: the API server refuses one without the flag.
            let reason = "a container is a process of its Windows node, which needs the network of the node: replace it by one that \
                          runs in a container first, or except the finding";
            return Fix::NeedsReview { reason: reason.to_owned() };
        }
        host_flag::fix(view, FLAG, |editor, pod| {
            if pod.spec.get("dnsPolicy").and_then(Value::as_str) == Some("ClusterFirstWithHostNet") {
                editor.set(&pod.pointer.child("dnsPolicy"), json!("ClusterFirst"));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoHostNetwork);
    }

    #[test]
    fn a_process_of_a_windows_node_keeps_the_network_of_its_node() {
        let document = document(
            "kind: Pod\nspec: {hostNetwork: true, containers: [{name: a, securityContext: {windowsOptions: {hostProcess: true}}}]}",
        );
        let fix = NoHostNetwork.fix(&View::new(&document, &Neighbours::Unknown), &RulesConfig::default());
        assert!(matches!(fix, Fix::NeedsReview { .. }), "{fix:?}");
    }

    #[test]
    fn a_pod_is_repaired_at_its_spec() {
        let document = document("kind: Pod\nspec: {hostNetwork: true, containers: [{name: a}]}");
        assert_eq!(messages(&NoHostNetwork, &document), [MESSAGE]);
        assert_eq!(
            fix_of(&NoHostNetwork, &document),
            json!([{"op": "replace", "path": "/spec/hostNetwork", "value": false}])
        );
    }

    #[test]
    fn a_controller_is_repaired_at_its_pod_spec() {
        let cron = "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {hostNetwork: true}}}}}";
        assert_eq!(
            fix_of(&NoHostNetwork, &document(cron)),
            json!([{"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/hostNetwork", "value": false}])
        );
    }

    #[test]
    fn a_flag_at_the_wrong_place_or_of_the_wrong_type_is_nothing() {
        for text in [
            "kind: Deployment\nspec: {hostNetwork: true, template: {spec: {containers: []}}}",
            "kind: Pod\nspec: {hostNetwork: 'true'}",
            "kind: Pod\nspec: {hostNetwork: false, dnsPolicy: ClusterFirstWithHostNet}",
            "kind: PersistentVolume\nspec: {hostNetwork: true}",
        ] {
            let document = document(text);
            assert_eq!(messages(&NoHostNetwork, &document), [""; 0], "{text}");
            let view = View::new(&document, &domain::record::Neighbours::Unknown);
            let fix = NoHostNetwork.fix(&view, &RulesConfig::default());
            assert!(matches!(fix, Fix::NotApplicable { .. }), "{text}");
        }
    }
}
