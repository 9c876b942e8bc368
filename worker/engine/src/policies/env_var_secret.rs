//! `env_var_secret`: secrets are not literal environment values.
//!
//! # What it checks
//! Environment variables whose name contains *secret*, upper or lower case, and whose literal value is not empty
//! (kube-linter `env-var-secret`), in every container.
//!
//! # Why
//! Every user with read access to a workload can read its literal values; a Secret has its own access rules and can be
//! encrypted and rotated (Kubernetes documentation, *Good practices for Kubernetes Secrets*).
//!
//! # Repair
//! The literals of a document move into one new companion Secret, each under the name of its variable, and the
//! variables refer to it: the container gets the same values, and no existing Secret is referenced. Variables that hold
//! only the name or path of a secret (`TLS_SECRET_NAME`) are reported too and move likewise; their values do not
//! change. A value that refers to other variables (`$(NAME)`) would not be expanded in a Secret: the document needs
//! review.
//!
//! # Example
//! ```yaml
//! env: [{name: JWT_SECRET, value: hunter2}]                                                             # before
//! env: [{name: JWT_SECRET, valueFrom: {secretKeyRef: {name: web-deployment-env, key: JWT_SECRET}}}]    # after
//! ```

use std::collections::BTreeMap;

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Companion, Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View, names};

pub(super) struct EnvVarSecret;

const CHECK: Check = Check {
    id: "env-var-secret",
    severity: Severity::Warning,
    remedy: "Keep the value in a Secret and refer to it with valueFrom.secretKeyRef.",
};

/// The longest key of a Secret (the API server's limit).
const LONGEST_KEY: usize = 253;

/// Characters of a key that are left for `_` and a number.
const NUMBER_CHARS: usize = 9;

/// An environment variable that the check reports.
struct Literal<'a> {
    at: Pointer,
    entry: &'a Map<String, Value>,
    name: &'a str,
    value: &'a str,
    container: &'a str,
}

fn literals<'a>(container: &Container<'a>) -> impl Iterator<Item = Literal<'a>> {
    let list = container.pointer.child("env");
    let container_name = container.name;
    container.maps("env").filter_map(move |(index, entry)| {
        let (name, value) = secret_of(entry)?;
        Some(Literal { at: list.index(index), entry, name, value, container: container_name })
    })
}

/// The name and the literal value of a variable that the check reports.
fn secret_of(entry: &Map<String, Value>) -> Option<(&str, &str)> {
    let name = entry.get("name")?.as_str()?;
    let value = entry.get("value")?.as_str()?;
    // kube-linter's pattern for the value is `.+`, which does not match a newline.
    let is_secret = name.to_lowercase().contains("secret") && value.chars().any(|c| c != '\n');
    is_secret.then_some((name, value))
}

/// The value that the container gets for a literal: Kubernetes replaces the escape `$$` by `$` (Kubernetes
/// documentation, *Define Dependent Environment Variables*). `None` when the literal refers to another variable.
fn unescaped(value: &str) -> Option<String> {
    let mut unescaped = String::with_capacity(value.len());
    let mut rest = value;
    // What stands behind the last parenthesis refers to nothing.
    let behind = value.rfind(')').map_or(value.len(), |last| value.len() - last);
    while let Some(at) = rest.find('$') {
        unescaped.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if rest.starts_with('(') && rest.len() >= behind {
            return None;
        }
        unescaped.push('$');
    }
    unescaped.push_str(rest);
    Some(unescaped)
}

/// The name of the companion Secret: `{object}-{kind}-env`, without the kind if the object's name ends with it. The
/// kind keeps objects of the same name apart. A number is appended when the document already contains that name as a
/// value.
fn secret_name(view: &View<'_>) -> String {
    let kind = view.kind().to_ascii_lowercase();
    let generated = || view.metadata()?.get("generateName")?.as_str();
    let own = Some(view.identity.name.as_str()).filter(|name| !name.is_empty()).or_else(generated);
    let own = own.and_then(names::to_dns_label).unwrap_or_else(|| kind.clone());
    let own = if own.ends_with(&kind) { own } else { format!("{own}-{kind}") };
    // With the longest suffix, `-env-99`, a DNS label of 63 characters.
    let own: String = own.chars().take(56).collect();
    let own = own.trim_end_matches('-');
    let candidates = std::iter::once(format!("{own}-env")).chain((2..100).map(|n| format!("{own}-env-{n}")));
    let mut free = candidates.filter(|name| !mentions(view.value, name));
    free.next().unwrap_or_else(|| format!("{own}-env"))
}

/// Whether a string anywhere in `value` equals `text`.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(map) => map.values().any(|item| mentions(item, text)),
        _ => false,
    }
}

/// The values of the companion Secret, by key.
#[derive(Default)]
struct Values {
    by_key: BTreeMap<String, String>,
    /// The key of each value that has one, by base and value.
    known: BTreeMap<(String, String), String>,
    /// How many keys each base has.
    numbers: BTreeMap<String, usize>,
}

impl Values {
    /// Adds a value and returns its key: the variable's name, with a number if that key already holds another value.
    fn add(&mut self, name: &str, value: String) -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        // The rest is left for `_` and a number.
        let base: String = name.chars().map(legal).take(LONGEST_KEY - NUMBER_CHARS).collect();
        let pair = (base, value);
        if let Some(key) = self.known.get(&pair) {
            return key.clone();
        }
        let number = self.numbers.entry(pair.0.clone()).or_default();
        let key = loop {
            *number += 1;
            let key = if *number == 1 { pair.0.clone() } else { format!("{}_{number}", pair.0) };
            // A variable may itself be called `NAME_2`.
            if self.by_key.get(&key).is_none_or(|present| *present == pair.1) {
                break key;
            }
        };
        self.by_key.insert(key.clone(), pair.1.clone());
        self.known.insert(pair, key.clone());
        key
    }

    fn into_secret(self, view: &View<'_>, name: &str) -> Value {
        secret_object(view, name, &json!(self.by_key))
    }
}

fn secret_object(view: &View<'_>, name: &str, values: &Value) -> Value {
    let mut metadata = json!({"name": name});
    if !view.identity.namespace.is_empty() {
        metadata["namespace"] = json!(view.identity.namespace);
    }
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values})
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| literals(container).next().is_some(),
    may: &[
        may(
            "{container}/env/*/value",
            &[To::If("removed from a secret variable", |site| site.change.is.is_none() && is_moved(site))],
        ),
        may("{container}/env/*/valueFrom/secretKeyRef/name", &[REFERENCE]),
        may("{container}/env/*/valueFrom/secretKeyRef/key", &[REFERENCE]),
    ],
    companion: Some(Companion {
        words: "an opaque Secret with the removed values, under the keys that the variables refer to",
        is_needed: is_secret_of_literals,
    }),
};

const REFERENCE: To =
    To::If("a text in place of a secret variable's value", |site| site.text().is_some() && is_moved(site));

/// Whether the variable held a literal secret and now refers to one.
fn is_moved(site: &Site<'_, '_>) -> bool {
    let gone = site.entry_after().is_some_and(|entry| entry.get("value").is_none_or(Value::is_null));
    site.entry_before().is_some_and(|entry| secret_of(entry).is_some()) && gone
}

/// Whether an object is a Secret that holds nothing but literals of the document before, where the document after looks
/// for them.
fn is_secret_of_literals(before: &View<'_>, after: &View<'_>, companion: &Value) -> bool {
    let Some(name) = companion.pointer("/metadata/name").and_then(Value::as_str) else { return false };
    let Some(held) = companion.get("stringData").and_then(Value::as_object) else { return false };
    let mut wanted = Values::default();
    for (old, new) in before.containers.iter().zip(&after.containers) {
        for ((_, was), (_, is)) in old.maps("env").zip(new.maps("env")) {
            let reference = is.get("valueFrom").and_then(|source| source.get("secretKeyRef"));
            let text = |key| reference.and_then(|reference| reference.get(key)?.as_str());
            let value = secret_of(was).and_then(|(_, value)| unescaped(value));
            if let (Some(key), Some(value)) = (text("key").filter(|_| text("name") == Some(name)), value) {
                wanted.by_key.insert(key.to_owned(), value);
            }
        }
    }
    let is_wanted =
        |(key, value): (&String, &Value)| wanted.by_key.get(key).is_some_and(|wanted| value == wanted);
    !mentions(before.value, name)
        && held.iter().all(is_wanted)
        && *companion == secret_object(before, name, &Value::Object(held.clone()))
}

impl Policy for EnvVarSecret {
    fn id(&self) -> PolicyId {
        PolicyId::EnvVarSecret
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    /// What was written in the open is read from a Secret, and from its file by who changes the program. It may be one that the
    /// pod uses already and no manifest shows.
    fn may_bring(&self) -> &'static [PolicyId] {
        &[PolicyId::ReadSecretFromEnvVar, PolicyId::EnvValueFrom]
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = view.containers.iter().flat_map(literals).map(|literal| Finding {
            policy: self.id(),
            check: CHECK.id,
            message: format!(
                "environment variable {} in container {} found",
                literal.name,
                quoted(literal.container)
            ),
            pointer: literal.at.child("value"),
        });
        found.collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut values = Values::default();
        let secret = secret_name(view);
        for literal in view.containers.iter().flat_map(literals) {
            let place =
                format!("environment variable {} of container {}", literal.name, quoted(literal.container));
            if literal.entry.get("valueFrom").is_some_and(|source| !source.is_null()) {
                return Fix::NeedsReview {
                    reason: format!("{place} has both value and valueFrom; keep one of them"),
                };
            }
            let Some(value) = unescaped(literal.value) else {
                return Fix::NeedsReview {
                    reason: format!(
                        "{place} refers to other variables, which a Secret does not expand; put its secret part into a variable of its own"
                    ),
                };
            };
            let key = values.add(literal.name, value);
            let mut entry = literal.entry.clone();
            entry.shift_remove("value");
            entry.insert("valueFrom".to_owned(), json!({"secretKeyRef": {"name": secret, "key": key}}));
            editor.set(&literal.at, Value::Object(entry));
        }
        let companions =
            if values.by_key.is_empty() { Vec::new() } else { vec![values.into_secret(view, &secret)] };
        Fix::with_companions(editor, companions, [Caution::SecretInManifest, Caution::NeedsCompanion])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    fn pod(env: &str) -> Document {
        document(&format!(
            "kind: Pod\nmetadata: {{name: api}}\nspec: {{containers: [{{name: a, env: {env}}}]}}"
        ))
    }

    fn companions(document: &Document) -> Vec<Value> {
        match EnvVarSecret.fix(&View::new(document, &Neighbours::Unknown), &RulesConfig::default()) {
            Fix::Repair { companions, .. } => companions,
            other => panic!("no repair: {other:?}"),
        }
    }

    fn cleared(document: &Document, patch: &Value) -> Vec<String> {
        let patch = serde_json::from_value(patch.clone()).unwrap();
        let patched = Document::from_value(crate::verify::apply(&document.value, &patch).unwrap()).unwrap();
        EnvVarSecret.cleared(&View::new(&patched, &Neighbours::Unknown), &RulesConfig::default())
    }

    #[test]
    fn fixtures() {
        fixture_holds(&EnvVarSecret);
    }

    #[test]
    fn names_with_secret_and_a_value_are_found() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, env: [{name: DB_SECRET, value: x}, {name: PASSWORD, value: x}, {name: S_SECRET, value: ''}, {name: R_SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}]}], initContainers: [{name: i, env: [null, {name: awsSecretKey, value: z}]}]}",
        );
        assert_eq!(
            messages(&EnvVarSecret, &document),
            [
                r#"environment variable DB_SECRET in container "a" found"#,
                r#"environment variable awsSecretKey in container "i" found"#,
            ]
        );
    }

    #[test]
    fn the_literal_moves_into_a_new_secret() {
        let document = pod("[{name: TLS_SECRET_NAME, value: web-tls}, {name: X, value: pod-y}]");
        let patch = fix_of(&EnvVarSecret, &document);
        assert_eq!(
            patch,
            json!([{"op": "replace", "path": "/spec/containers/0/env/0", "value":
                {"name": "TLS_SECRET_NAME", "valueFrom": {"secretKeyRef": {"name": "api-pod-env", "key": "TLS_SECRET_NAME"}}}}])
        );
        assert_eq!(
            companions(&document),
            [
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-pod-env"}, "type": "Opaque",
                "stringData": {"TLS_SECRET_NAME": "web-tls"}})
            ]
        );
        assert_eq!(cleared(&document, &patch), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_the_document_mentions_is_not_taken() {
        let document = pod(
            "[{name: A_SECRET, value: x}, {name: B, valueFrom: {secretKeyRef: {name: api-pod-env, key: k}}}]",
        );
        assert_eq!(companions(&document)[0]["metadata"]["name"], "api-pod-env-2");
    }

    #[test]
    fn one_name_with_two_values_has_two_keys() {
        let document = document(
            "kind: Pod\nmetadata: {generateName: 'Job_', namespace: nn}\nspec: {containers: [{name: a, env: [{name: A_SECRET, value: x}]}, {name: b, env: [{name: A_SECRET, value: z}]}, {name: c, env: [{name: A_SECRET, value: x}]}]}",
        );
        let secret = &companions(&document)[0];
        assert_eq!(secret["metadata"], json!({"name": "job-pod-env", "namespace": "nn"}));
        assert_eq!(secret["stringData"], json!({"A_SECRET": "x", "A_SECRET_2": "z"}));
    }

    #[test]
    fn a_secret_has_the_value_that_the_container_got() {
        assert_eq!(unescaped("a$$(B)$$c$d${E}"), Some("a$(B)$c$d${E}".to_owned()));
        assert_eq!(unescaped("$$$(B)"), None);
        assert_eq!(unescaped("$(B"), Some("$(B".to_owned()));
        let document = pod("[{name: U_SECRET, value: 'x:$(PASS)'}]");
        assert!(
            review_of(&EnvVarSecret, &document, &Neighbours::Unknown).contains("refers to other variables")
        );
        let both = pod("[{name: U_SECRET, value: x, valueFrom: {fieldRef: {fieldPath: y}}}]");
        assert!(review_of(&EnvVarSecret, &both, &Neighbours::Unknown).contains("keep one of them"));
    }
}
