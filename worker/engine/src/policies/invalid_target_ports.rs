//! `invalid_target_ports`: port names and targets are valid.
//!
//! # What it checks
//! Names of container ports and a Service's `targetPort` (kube-linter `invalid-target-ports`): a name has at most 15 of
//! `[a-z0-9-]`, at least one letter, no `--`, no `-` at either end; a number is 1 to 65535 (0 counts as unset).
//!
//! # Why
//! The API server refuses anything else (Kubernetes API reference, *`ContainerPort`*; RFC 6335, section 5.1).
//!
//! # Repair
//! A name becomes the nearest legal one, the same in every document, unique in its pod; probes and hooks of the container
//! that use the old name follow. A `targetPort` of digits becomes the number it spells. A number that is not a valid
//! port is left for the user to correct.
//!
//! # Example
//! ```yaml
//! ports: [{name: HTTP_Admin, containerPort: 80}]   # before
//! ports: [{name: http-admin, containerPort: 80}]   # after
//! ```

use std::collections::BTreeSet;

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View, names};

pub(super) struct InvalidTargetPorts;

const CHECK: Check = Check {
    id: "invalid-target-ports",
    severity: Severity::Warning,
    remedy: "Give the port a valid name or number.",
};

const LONGEST_NAME: usize = 15;

/// Parents of the field `port` where a container uses a port by its name.
const USES: [&[&str]; 10] = [
    &["livenessProbe", "httpGet"],
    &["livenessProbe", "tcpSocket"],
    &["readinessProbe", "httpGet"],
    &["readinessProbe", "tcpSocket"],
    &["startupProbe", "httpGet"],
    &["startupProbe", "tcpSocket"],
    &["lifecycle", "postStart", "httpGet"],
    &["lifecycle", "postStart", "tcpSocket"],
    &["lifecycle", "preStop", "httpGet"],
    &["lifecycle", "preStop", "tcpSocket"],
];

/// Rules that a port name breaks, in the words of the API server (`IsValidPortName`).
fn violations(name: &str) -> Vec<&'static str> {
    let charset = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let rules = [
        (name.len() > LONGEST_NAME, "must be no more than 15 characters"),
        (
            name.is_empty() || !name.chars().all(charset),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (!name.chars().any(|c| c.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (name.contains("--"), "must not contain consecutive hyphens"),
        (name.starts_with('-') || name.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, rule)| rule).collect()
}

/// The nearest legal port name; `None` when nothing of the text can be kept.
fn legal_name(text: &str) -> Option<String> {
    let label = names::to_dns_label(text)?;
    let label = if label.chars().any(|c| c.is_ascii_lowercase()) { label } else { format!("port-{label}") };
    Some(cut(&label, LONGEST_NAME))
}

fn cut(name: &str, length: usize) -> String {
    let kept: String = name.chars().take(length).collect();
    kept.trim_end_matches('-').to_owned()
}

/// `name` if it is not among `taken`, else `name` with the smallest number that is free.
fn unique(name: String, taken: &BTreeSet<String>) -> String {
    let numbered = (2..1000).map(|number| {
        let suffix = format!("-{number}");
        cut(&name, LONGEST_NAME - suffix.len()) + &suffix
    });
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or(name)
}

fn port_name(port: &Map<String, Value>) -> Option<&str> {
    port.get("name")?.as_str().filter(|name| !name.is_empty())
}

/// The ports of a Service with a target, by index.
fn targets<'a>(view: &View<'a>) -> Vec<(Pointer, &'a Value)> {
    let list = Pointer::of(["spec", "ports"]);
    let is_service = view.kind() == "Service";
    let ports = view.spec().filter(|_| is_service).and_then(|spec| spec.get("ports")?.as_array());
    let ports = ports.into_iter().flatten().enumerate();
    ports
        .filter_map(|(index, port)| Some((list.index(index).child("targetPort"), port.get("targetPort")?)))
        .collect()
}

fn target_violations(target: &Value) -> Vec<&'static str> {
    match target {
        Value::String(name) => violations(name),
        Value::Number(number) => match number.as_i64() {
            // The API server replaces 0 by the Service's `port`.
            Some(0..=65535) | None => Vec::new(),
            Some(_) => vec!["must be between 1 and 65535, inclusive"],
        },
        _ => Vec::new(),
    }
}

fn repair_container(editor: &mut Editor, container: &Container<'_>, taken: &mut BTreeSet<String>) {
    for (index, port) in container.maps("ports") {
        let Some(name) = port_name(port).filter(|name| !violations(name).is_empty()) else { continue };
        let number = port.get("containerPort").and_then(Value::as_i64).filter(|number| *number > 0);
        let fallback = || number.map_or_else(|| "port".to_owned(), |number| format!("port-{number}"));
        let new = unique(legal_name(name).unwrap_or_else(fallback), taken);
        taken.insert(new.clone());
        editor.set(&container.pointer.child("ports").index(index).child("name"), json!(new));
        for place in USES {
            let place = container.pointer.join(place).child("port");
            if editor.value(&place).and_then(Value::as_str) == Some(name) {
                editor.set(&place, json!(new));
            }
        }
    }
}

/// The valid target that replaces an invalid one, or the reason why a person has to choose it.
fn repaired(target: &Value) -> Result<Value, String> {
    let needs_review =
        || format!("targetPort {target} is no port; set it to the port that the pods listen on");
    let Value::String(text) = target else { return Err(needs_review()) };
    let digits = text.trim();
    if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
        let number = digits.parse::<u16>().ok().filter(|number| *number > 0);
        return number.map(|number| json!(number)).ok_or_else(needs_review);
    }
    legal_name(text).map(Value::from).ok_or_else(needs_review)
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| {
        let names = container.maps("ports").filter_map(|(_, port)| port_name(port));
        names.into_iter().any(|name| !violations(name).is_empty())
    },
    may: &[
        may(
            "{container}/ports/*/name",
            &[To::If("a legal name in place of an illegal one", |site| {
                site.change.was.and_then(Value::as_str).is_some_and(|name| !violations(name).is_empty())
                    && site.text().is_some_and(|name| violations(name).is_empty())
            })],
        ),
        may("{container}/*/*/port", &[RENAMED]),
        may("{container}/lifecycle/*/*/port", &[RENAMED]),
        may(
            "/spec/ports/*/targetPort",
            &[To::If("a legal target in place of an illegal one", |site| {
                site.before.kind() == "Service"
                    && site.change.was.is_some_and(|target| !target_violations(target).is_empty())
                    && site.change.is.is_some_and(|target| target_violations(target).is_empty())
            })],
        ),
    ],
    companion: None,
};

const RENAMED: To = To::If("the new name of a port, where its old one stood", is_renamed);

/// Whether a probe or a hook follows a port of its container that was renamed.
fn is_renamed(site: &Site<'_, '_>) -> bool {
    let (Some([before, after]), Some(new)) = (site.containers, site.text()) else { return false };
    let old = site.change.was.and_then(Value::as_str);
    let mut renamed = before.maps("ports").zip(after.maps("ports"));
    renamed.any(|((_, was), (_, is))| old.is_some() && port_name(was) == old && port_name(is) == Some(new))
}

impl Policy for InvalidTargetPorts {
    fn id(&self) -> PolicyId {
        PolicyId::InvalidTargetPorts
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |message, pointer| Finding { policy: self.id(), check: CHECK.id, message, pointer };
        let mut findings = Vec::new();
        for container in &view.containers {
            for (index, port) in container.maps("ports") {
                let Some(name) = port_name(port) else { continue };
                let pointer = container.pointer.child("ports").index(index).child("name");
                findings.extend(violations(name).into_iter().map(|rule| {
                    let message =
                        format!("port name {} in container {} {rule}", quoted(name), quoted(container.name));
                    finding(message, pointer.clone())
                }));
            }
        }
        for (pointer, target) in targets(view) {
            let text = target.as_str().map_or_else(|| target.to_string(), str::to_owned);
            findings.extend(target_violations(target).into_iter().map(|rule| {
                let service = quoted(&view.identity.name);
                finding(
                    format!("port targetPort {} in service {service} {rule}", quoted(&text)),
                    pointer.clone(),
                )
            }));
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut renamed = false;
        for index in 0..view.pods.len() {
            let of_pod = || view.containers.iter().filter(|container| container.pod == index);
            let names = of_pod()
                .flat_map(|container| container.maps("ports").filter_map(|(_, port)| port_name(port)));
            let mut taken: BTreeSet<String> =
                names.filter(|name| violations(name).is_empty()).map(str::to_owned).collect();
            of_pod().for_each(|container| repair_container(&mut editor, container, &mut taken));
        }
        // Every edit up to here is a rename.
        renamed |= !editor.clone().finish().is_empty();
        for (pointer, target) in targets(view) {
            if target_violations(target).is_empty() {
                continue;
            }
            match repaired(target) {
                Ok(value) => {
                    renamed |= value.is_string();
                    editor.set(&pointer, value);
                }
                Err(reason) => return Fix::NeedsReview { reason },
            }
        }
        Fix::of(editor, renamed.then_some(Caution::PortRenamed))
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: InvalidTargetPorts = InvalidTargetPorts;

    fn service(target: &str) -> Document {
        document(&format!(
            "kind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: 80, targetPort: {target}}}]}}"
        ))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn names_become_the_nearest_legal_one() {
        for (name, legal) in [
            ("80", Some("port-80")),
            ("HTTP_Admin", Some("http-admin")),
            ("a--b-", Some("a-b")),
            ("a-very-long-port-name", Some("a-very-long-por")),
            ("a-fifteen-char-x", Some("a-fifteen-char")),
            ("http", Some("http")),
            ("__", None),
            ("123456789012345", Some("port-1234567890")),
        ] {
            let found = legal_name(name);
            assert_eq!(found.as_deref(), legal, "{name}");
            assert!(found.is_none_or(|name| names::is_port_name(&name)));
        }
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [{name: '80'}, {name: ok}, {name: -A--}, {}]}]}",
        );
        assert_eq!(
            messages(&POLICY, &document),
            [
                r#"port name "80" in container "a" must contain at least one letter (a-z)"#,
                r#"port name "-A--" in container "a" must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"#,
                r#"port name "-A--" in container "a" must contain at least one letter (a-z)"#,
                r#"port name "-A--" in container "a" must not contain consecutive hyphens"#,
                r#"port name "-A--" in container "a" must not begin or end with a hyphen"#,
            ]
        );
        assert_eq!(
            messages(&POLICY, &service("70000")),
            [r#"port targetPort "70000" in service "web" must be between 1 and 65535, inclusive"#]
        );
        assert_eq!(messages(&POLICY, &service("0")), Vec::<String>::new());
    }

    #[test]
    fn probes_follow_and_names_stay_unique() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, ports: [{name: WEB}, {name: web}, {name: '__', containerPort: 9}], livenessProbe: {httpGet: {port: WEB}}, readinessProbe: {tcpSocket: {port: web}}}, {name: b, ports: [{name: Web}], lifecycle: {preStop: {httpGet: {port: Web}}}}]}",
        );
        assert_eq!(
            fix_of(&POLICY, &document),
            json!([
                {"op": "replace", "path": "/spec/containers/0/ports/0/name", "value": "web-2"},
                {"op": "replace", "path": "/spec/containers/0/livenessProbe/httpGet/port", "value": "web-2"},
                {"op": "replace", "path": "/spec/containers/0/ports/2/name", "value": "port-9"},
                {"op": "replace", "path": "/spec/containers/1/ports/0/name", "value": "web-3"},
                {"op": "replace", "path": "/spec/containers/1/lifecycle/preStop/httpGet/port", "value": "web-3"}
            ])
        );
    }

    #[test]
    fn a_target_of_digits_becomes_a_number_and_a_name_legal() {
        let value = |target: &str| fix_of(&POLICY, &service(target))[0]["value"].clone();
        assert_eq!(value("'8080'"), json!(8080));
        assert_eq!(value("HTTP_Admin"), json!("http-admin"));
        for target in ["'70000'", "-1", "'__'"] {
            assert!(
                review_of(&POLICY, &service(target), &Neighbours::Unknown).contains("is no port"),
                "{target}"
            );
        }
    }

    #[test]
    fn only_a_rename_needs_a_caution() {
        let cautions = |document: &Document| match POLICY
            .fix(&View::new(document, &Neighbours::Unknown), &RulesConfig::default())
        {
            Fix::Repair { cautions, .. } => cautions,
            other => panic!("no repair: {other:?}"),
        };
        assert_eq!(cautions(&service("'80'")), []);
        assert_eq!(cautions(&service("A")), [Caution::PortRenamed]);
        assert_eq!(
            cautions(&document("kind: Pod\nspec: {containers: [{name: a, ports: [{name: A}]}]}")),
            [Caution::PortRenamed]
        );
    }
}
