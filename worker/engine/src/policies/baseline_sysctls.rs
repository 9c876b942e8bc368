//! `baseline_sysctls`: a pod sets no kernel parameter but those that reach no further than itself.
//!
//! # What it checks
//! The names in `securityContext.sysctls` of every pod (own check `baseline-sysctls`; the control *Sysctls* of the Pod
//! Security Standards, *Baseline*, as of Kubernetes 1.37): each is on the list of safe ones. `unsafe_sysctls` names what is
//! unsafe instead, and knows neither the exceptions nor what else there is.
//!
//! # Why
//! A kernel parameter outside the list changes its node, or can starve other pods.
//!
//! # Repair
//! What is not on the list goes, from the last to the first, and with it the list when nothing is left, with the caution
//! `sysctl_removed`.
//!
//! # Example
//! ```yaml
//! sysctls: [{name: kernel.msgmax, value: "1"}, {name: net.ipv4.tcp_syncookies, value: "1"}]  # before
//! sysctls: [{name: net.ipv4.tcp_syncookies, value: "1"}]                                     # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::pod_security::text;
use super::scope::{Scope, To, any_container, may};
use super::security::remove_entries;
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct BaselineSysctls;

const CHECK: Check = Check {
    id: "baseline-sysctls",
    severity: Severity::Error,
    remedy: "Remove the kernel parameter, or set it on the node.",
};

const SAFE: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

fn list(pod: &Pod<'_>) -> Pointer {
    pod.pointer.join(&["securityContext", "sysctls"])
}

fn is_refused(entry: &Map<String, Value>) -> bool {
    !SAFE.contains(&text(entry, "name"))
}

/// The refused entries of a pod: index and name.
fn refused<'a>(pod: &Pod<'a>) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    let entries = pod.security_context().and_then(|context| context.get("sysctls")).and_then(Value::as_array);
    entries.into_iter().flatten().enumerate().filter_map(|(index, entry)| {
        let entry = entry.as_object().filter(|entry| is_refused(entry))?;
        Some((index, text(entry, "name")))
    })
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "{pod}/securityContext/sysctls/*/**",
        &[To::If("an entry removed that is not on the list of safe ones", |site| {
            site.change.is.is_none()
                && site.entry_after().is_none()
                && site.entry_before().is_some_and(is_refused)
        })],
    )],
    companion: None,
};

impl Policy for BaselineSysctls {
    fn id(&self) -> PolicyId {
        PolicyId::BaselineSysctls
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for pod in &view.pods {
            findings.extend(refused(pod).map(|(index, name)| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!(
                    "the pod sets the sysctl {}, which is not among the safe ones",
                    quoted(name)
                ),
                pointer: list(pod).index(index),
            }));
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for pod in &view.pods {
            let indices: Vec<usize> = refused(pod).map(|(index, _)| index).collect();
            remove_entries(&mut editor, &list(pod), &indices);
        }
        Fix::of(editor, [Caution::SysctlRemoved])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineSysctls);
    }

    #[test]
    fn the_list_decides_and_not_a_prefix() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}, {name: vm.swappiness, value: '1'}, null, {name: kernel.shm_rmid_forced, value: '1'}, {name: net/ipv4/tcp_syncookies, value: '1'}]}, containers: [{name: a}]}",
        );
        assert_eq!(
            messages(&BaselineSysctls, &document),
            [
                r#"the pod sets the sysctl "vm.swappiness", which is not among the safe ones"#,
                r#"the pod sets the sysctl "net/ipv4/tcp_syncookies", which is not among the safe ones"#
            ]
        );
        assert_eq!(
            fix_of(&BaselineSysctls, &document),
            json!([
                {"op": "remove", "path": "/spec/securityContext/sysctls/4"},
                {"op": "remove", "path": "/spec/securityContext/sysctls/1"}
            ])
        );
    }
}
