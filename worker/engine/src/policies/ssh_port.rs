//! `ssh_port`: no container exposes SSH.
//!
//! # What it checks
//! `containerPort: 22` with protocol TCP, or none, in every container (kube-linter `ssh-port`).
//!
//! # Why
//! A shell server in a container is one more way in, with accounts and keys that the cluster knows nothing of; `kubectl
//! exec` asks the API server first (CIS Docker Benchmark, *Do not run ssh within containers*).
//!
//! # Repair
//! The port entries go, in every container, from the last to the first, and the list with them when nothing else is in
//! it. With the caution `port_removed`: Services may name the port. Where a probe or a hook of the container uses it, a
//! person must decide: then the container does serve SSH.
//!
//! # Example
//! ```yaml
//! ports: [{containerPort: 80}, {containerPort: 22}]  # before
//! ports: [{containerPort: 80}]                       # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, To, may};
use super::security::remove_entries;
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct SshPort;

const CHECK: Check =
    Check { id: "ssh-port", severity: Severity::Warning, remedy: "Do not expose SSH; use kubectl exec." };
const PORT: i64 = 22;

/// Where a container may use a port of its own.
const USERS: [(&str, &[&str]); 5] = [
    ("livenessProbe", &[]),
    ("readinessProbe", &[]),
    ("startupProbe", &[]),
    ("postStart hook", &["lifecycle", "postStart"]),
    ("preStop hook", &["lifecycle", "preStop"]),
];

fn is_ssh(port: &Map<String, Value>) -> bool {
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or_default();
    port.get("containerPort").and_then(Value::as_i64) == Some(PORT) && matches!(protocol, "" | "TCP")
}

/// The SSH entries of the container's ports.
fn entries<'a>(container: &Container<'a>) -> Vec<(usize, &'a Map<String, Value>)> {
    container.maps("ports").filter(|(_, port)| is_ssh(port)).collect()
}

/// What in the container uses one of the entries, by name or by number.
fn user(container: &Container<'_>, entries: &[(usize, &Map<String, Value>)]) -> Option<&'static str> {
    let is_meant = |port: &Value| {
        port.as_i64() == Some(PORT)
            || port.as_str().is_some_and(|name| {
                name == "22"
                    || entries
                        .iter()
                        .any(|(_, entry)| entry.get("name").and_then(Value::as_str) == Some(name))
            })
    };
    let uses = |(what, keys): &(&'static str, &[&str])| {
        let keys = if keys.is_empty() { std::slice::from_ref(what) } else { *keys };
        let (first, rest) = keys.split_first()?;
        let handler = rest.iter().try_fold(container.fields.get(*first)?, |node, key| node.get(*key))?;
        let mut ports =
            ["httpGet", "tcpSocket", "grpc"].iter().filter_map(|action| handler.get(*action)?.get("port"));
        ports.any(is_meant).then_some(*what)
    };
    USERS.iter().find_map(uses)
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| !entries(container).is_empty(),
    may: &[may(
        "{container}/ports/*/**",
        &[To::If("an entry of SSH removed", |site| {
            site.entry_after().is_none() && site.entry_before().is_some_and(is_ssh)
        })],
    )],
    companion: None,
};

impl Policy for SshPort {
    fn id(&self) -> PolicyId {
        PolicyId::SshPort
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for container in &view.containers {
            for (index, _) in entries(container) {
                findings.push(Finding {
                    policy: self.id(),
                    check: CHECK.id,
                    message: format!(
                        "port 22 and protocol TCP in container {} found",
                        quoted(container.name)
                    ),
                    pointer: container.pointer.child("ports").index(index),
                });
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = vec![Caution::PortRemoved];
        for container in &view.containers {
            let entries = entries(container);
            if entries.is_empty() {
                continue;
            }
            if let Some(user) = user(container, &entries) {
                let name = quoted(container.name);
                return Fix::NeedsReview {
                    reason: format!(
                        "the {user} of container {name} uses port 22: if the container serves SSH, leave that out of \
                         it; if not, point the {user} at the port it serves"
                    ),
                };
            }
            if entries.iter().any(|(_, port)| port.get("hostPort").is_some_and(|port| !port.is_null())) {
                cautions.push(Caution::LosesHostPort);
            }
            let indices: Vec<usize> = entries.into_iter().map(|(index, _)| index).collect();
            remove_entries(&mut editor, &container.pointer.child("ports"), &indices);
        }
        Fix::of(editor, cautions)
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
        fixture_holds(&SshPort);
    }

    #[test]
    fn the_entry_goes_and_the_others_stay() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [{containerPort: 80}, {containerPort: 22}]}]}",
        );
        assert_eq!(messages(&SshPort, &document), [r#"port 22 and protocol TCP in container "a" found"#]);
        assert_eq!(
            fix_of(&SshPort, &document),
            json!([{"op": "remove", "path": "/spec/containers/0/ports/1"}])
        );
    }

    #[test]
    fn every_entry_of_every_container_and_only_tcp() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [{containerPort: 22, protocol: TCP}, {containerPort: 22, protocol: UDP}, null, {containerPort: 22, name: ssh}]}, {name: b, ports: [{containerPort: 2222}]}], initContainers: [{name: c, ports: [{containerPort: 22}]}]}",
        );
        assert_eq!(
            fix_of(&SshPort, &document),
            json!([
                {"op": "remove", "path": "/spec/containers/0/ports/3"},
                {"op": "remove", "path": "/spec/containers/0/ports/0"},
                {"op": "remove", "path": "/spec/initContainers/0/ports"}
            ])
        );
    }

    #[test]
    fn a_port_in_use_is_a_persons_business() {
        for user in [
            "livenessProbe: {tcpSocket: {port: ssh}}",
            "readinessProbe: {tcpSocket: {port: 22}}",
            "startupProbe: {grpc: {port: 22}}",
            "lifecycle: {preStop: {httpGet: {port: ssh}}}",
        ] {
            let text = format!(
                "kind: Pod\nspec: {{containers: [{{ports: [{{containerPort: 22, name: ssh}}], {user}}}]}}"
            );
            let reason = review_of(&SshPort, &document(&text), &Neighbours::Unknown);
            assert!(reason.contains("uses port 22"), "{user}: {reason}");
        }
        let other = "kind: Pod\nspec: {containers: [{ports: [{containerPort: 22}, {containerPort: 80, name: http}], livenessProbe: {httpGet: {port: http}}}]}";
        fix_of(&SshPort, &document(other));
    }
}
