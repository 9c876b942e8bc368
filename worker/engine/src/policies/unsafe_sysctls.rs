//! `unsafe_sysctls`: no pod sets a kernel parameter that reaches beyond it.
//!
//! # What it checks
//! The names in `securityContext.sysctls` of every pod spec (kube-linter `unsafe-sysctls`): `kernel.msg…`, `kernel.sem…`,
//! `kernel.shm…`, `fs.mqueue.…`, `net.…`.
//!
//! # Why
//! Such a parameter can starve the node or other pods; most nodes refuse to start a pod that sets one
//! (Kubernetes documentation, *Using sysctls in a Kubernetes Cluster*).
//!
//! # Repair
//! The unsafe entries go, from the last to the first, and with them the list when no other entry is left. Entries that
//! the check does not name stay.
//!
//! # Example
//! ```yaml
//! sysctls: [{name: net.core.somaxconn, value: "1024"}, {name: kernel.ctrl-alt-del, value: "0"}]  # before
//! sysctls: [{name: kernel.ctrl-alt-del, value: "0"}]                                              # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, any_container, may};
use super::security::remove_entries;
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct UnsafeSysctls;

const CHECK: Check = Check {
    id: "unsafe-sysctls",
    severity: Severity::Warning,
    remedy: "Remove the kernel parameter, or set it on the node.",
};

const UNSAFE: [&str; 5] = ["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.", "net."];

fn list(pod: &Pod<'_>) -> Pointer {
    pod.pointer.join(&["securityContext", "sysctls"])
}

fn is_unsafe(entry: &Map<String, Value>) -> bool {
    let name = entry.get("name").and_then(Value::as_str);
    name.is_some_and(|name| UNSAFE.iter().any(|prefix| name.starts_with(prefix)))
}

/// The unsafe entries of a pod: index and name.
fn unsafe_entries<'a>(pod: &Pod<'a>) -> Vec<(usize, &'a str)> {
    let entries = pod.security_context().and_then(|context| context.get("sysctls")).and_then(Value::as_array);
    let names = entries.into_iter().flatten().enumerate();
    names
        .filter_map(|(index, entry)| Some((index, entry.get("name")?.as_str()?)))
        .filter(|(_, name)| UNSAFE.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "{pod}/securityContext/sysctls/*/**",
        &[To::If("an unsafe entry removed", |site| {
            site.change.is.is_none()
                && site.entry_after().is_none()
                && site.entry_before().is_some_and(is_unsafe)
        })],
    )],
    companion: None,
};

impl Policy for UnsafeSysctls {
    fn id(&self) -> PolicyId {
        PolicyId::UnsafeSysctls
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
            for (index, name) in unsafe_entries(pod) {
                findings.push(Finding {
                    policy: self.id(),
                    check: CHECK.id,
                    message: format!("resource specifies unsafe sysctl {}.", quoted(name)),
                    pointer: list(pod).index(index),
                });
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for pod in &view.pods {
            let indices: Vec<usize> = unsafe_entries(pod).into_iter().map(|(index, _)| index).collect();
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
        fixture_holds(&UnsafeSysctls);
    }

    #[test]
    fn a_list_of_unsafe_entries_goes_as_a_whole() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {sysctls: [{name: net.core.somaxconn, value: '1'}, {name: kernel.sem}]}}",
        );
        assert_eq!(
            messages(&UnsafeSysctls, &document),
            [
                r#"resource specifies unsafe sysctl "net.core.somaxconn"."#,
                r#"resource specifies unsafe sysctl "kernel.sem"."#
            ]
        );
        assert_eq!(
            fix_of(&UnsafeSysctls, &document),
            json!([{"op": "remove", "path": "/spec/securityContext/sysctls"}])
        );
    }

    #[test]
    fn what_is_safe_stays_and_indices_are_the_true_ones() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {sysctls: [null, {name: kernel.shmmax}, {name: vm.x}, {name: 5}, {name: fs.mqueue.a}]}}",
        );
        assert_eq!(
            fix_of(&UnsafeSysctls, &document),
            json!([
                {"op": "remove", "path": "/spec/securityContext/sysctls/4"},
                {"op": "remove", "path": "/spec/securityContext/sysctls/1"}
            ])
        );
    }
}
