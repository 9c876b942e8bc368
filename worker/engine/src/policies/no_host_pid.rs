//! `no_host_pid`: no pod shares the host's process namespace.
//!
//! # What it checks
//! `hostPID` of every pod spec (kube-linter `host-pid`).
//!
//! # Why
//! A pod in the host's process namespace sees every process of its node, with command lines and environments, and can signal
//! those of its own user (Kubernetes Pod Security Standards, *Baseline*).
//!
//! # Repair
//! The flag becomes false in the pod spec that sets it, wherever that stands: at `/spec/template/spec` of a Deployment,
//! not at its `/spec`, where nobody reads it.
//!
//! # Example
//! ```yaml
//! spec: {hostPID: true}   # before
//! spec: {hostPID: false}  # after
//! ```

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::host_flag;
use super::scope::{Scope, To, any_container, may};
use crate::k8s::View;

pub(super) struct NoHostPid;

const FLAG: &str = "hostPID";
const MESSAGE: &str = "object shares the host's process namespace (via hostPID=true).";
const CHECK: Check =
    Check { id: "host-pid", severity: Severity::Warning, remedy: "Leave the host's process namespace." };

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may("{pod}/hostPID", &[To::False, To::Gone])],
    companion: None,
};

impl Policy for NoHostPid {
    fn id(&self) -> PolicyId {
        PolicyId::NoHostPid
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
        fixture_holds(&NoHostPid);
    }

    #[test]
    fn the_flag_is_turned_off_where_it_stands() {
        for (text, path) in [
            ("kind: Pod\nspec: {hostPID: true}", "/spec/hostPID"),
            ("kind: Job\nspec: {template: {spec: {hostPID: true}}}", "/spec/template/spec/hostPID"),
        ] {
            let document = document(text);
            assert_eq!(messages(&NoHostPid, &document), [MESSAGE]);
            assert_eq!(
                fix_of(&NoHostPid, &document),
                json!([{"op": "replace", "path": path, "value": false}])
            );
        }
    }

    #[test]
    fn a_flag_of_the_controller_is_nothing() {
        let document =
            document("kind: Deployment\nspec: {hostPID: true, template: {spec: {hostPID: false}}}");
        assert_eq!(messages(&NoHostPid, &document), [""; 0]);
    }
}
