//! `no_host_ipc`: no pod shares the host's IPC namespace.
//!
//! # What it checks
//! `hostIPC` of every pod spec (kube-linter `host-ipc`).
//!
//! # Why
//! A pod in the host's IPC namespace reads and writes the shared memory and the semaphores of the node and of all other
//! pods that share it (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! The flag becomes false in the pod spec that sets it, wherever that stands: at `/spec/template/spec` of a Deployment,
//! not at its `/spec`, where nobody reads it.
//!
//! # Example
//! ```yaml
//! spec: {hostIPC: true}   # before
//! spec: {hostIPC: false}  # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::host_flag;
use super::scope::{Scope, To, any_container, may};
use crate::k8s::View;

pub(super) struct NoHostIpc;

const FLAG: &str = "hostIPC";
const MESSAGE: &str = "resource shares host's IPC namespace (via hostIPC=true).";
const CHECK: Check = Check {
    id: "host-ipc",
    severity: Severity::Warning,
    remedy: "Leave the host's IPC namespace; containers of one pod share one of their own.",
};

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may("{pod}/hostIPC", &[To::False, To::Gone])],
    companion: None,
};

impl Policy for NoHostIpc {
    fn id(&self) -> PolicyId {
        PolicyId::NoHostIpc
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
        host_flag::fix(view, FLAG, |_, _| {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoHostIpc);
    }

    #[test]
    fn the_flag_is_turned_off_where_it_stands() {
        for (text, path) in [
            ("kind: Pod\nspec: {hostIPC: true}", "/spec/hostIPC"),
            ("kind: Job\nspec: {template: {spec: {hostIPC: true}}}", "/spec/template/spec/hostIPC"),
        ] {
            let document = document(text);
            assert_eq!(messages(&NoHostIpc, &document), [MESSAGE]);
            assert_eq!(
                fix_of(&NoHostIpc, &document),
                json!([{"op": "replace", "path": path, "value": false}])
            );
        }
    }

    #[test]
    fn a_flag_of_the_controller_is_nothing() {
        let document =
            document("kind: Deployment\nspec: {hostIPC: true, template: {spec: {hostIPC: false}}}");
        assert_eq!(messages(&NoHostIpc, &document), [""; 0]);
    }
}
