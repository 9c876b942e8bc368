//! `env_value_from`: what environment variables are read from exists.
//!
//! # What it checks
//! That the `Secret` or `ConfigMap` that an environment variable of a workload is read from, and its key, exist in the
//! namespace; not where the reference says `optional: true` (kube-linter `env-value-from`). A document that stands alone
//! has nothing beside it.
//!
//! # Why
//! The kubelet does not start a container whose environment it cannot make (Kubernetes documentation, *Define Environment
//! Variables for a Container*).
//!
//! # Repair
//! None: the value is known outside of the manifests at best. Secrets are often made by an operator or by hand.
//!
//! # Example
//! ```yaml
//! valueFrom: {secretKeyRef: {name: db, key: password}}                   # found, where there is no Secret db
//! valueFrom: {secretKeyRef: {name: db, key: password, optional: true}}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::Reference;
use serde_json::{Map, Value};

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use super::workload::containers;
use crate::k8s::View;
use crate::k8s::neighbours::value_sources;

pub(super) struct EnvValueFrom;

/// The kind and the name of an object, in kube-linter's words.
fn shown(kind: &str, name: &str) -> String {
    format!("{} {}", if kind == "Secret" { "secret" } else { "config map" }, quoted(name))
}

/// Why a reference of a container cannot be followed.
fn trouble(view: &View<'_>, container: &str, kind: &str, source: &Map<String, Value>) -> Option<String> {
    if source.get("optional") == Some(&Value::Bool(true)) {
        return None;
    }
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    let (wanted, key) = (text("name"), text("key"));
    let keys = view.references().find_map(|reference| match reference {
        Reference::Values { kind: of, name, keys, .. } if of == kind && name == wanted => Some(keys),
        _ => None,
    });
    let (container, object) = (quoted(container), shown(kind, wanted));
    match keys {
        None => Some(format!("The container {container} is referring to an unknown {object}")),
        Some(keys) if !keys.contains(key) => {
            let key = quoted(key);
            Some(format!("The container {container} is referring to an unknown key {key} in {object}"))
        }
        Some(_) => None,
    }
}

impl Reviewed for EnvValueFrom {
    const ID: PolicyId = PolicyId::EnvValueFrom;

    const CHECK: &'static Check = &Check {
        id: "env-value-from",
        severity: Severity::Error,
        remedy: "Make the object and the key that the variable is read from.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let found = containers(view).flat_map(|container| {
            let place = container.pointer.child("env");
            container.maps("env").flat_map(move |(index, variable)| {
                let place = place.index(index).child("valueFrom");
                value_sources(variable).filter_map(move |(kind, source)| {
                    Some((place.clone(), trouble(view, container.name, kind, source)?))
                })
            })
        });
        found.collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "make what is missing in namespace {:?}, name what exists, or say optional: true where the program does without: {}",
            view.identity.effective_namespace(),
            self.violations(view).into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Policy as _;
    use super::*;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&EnvValueFrom);
    }

    #[test]
    fn objects_and_keys_must_exist() {
        let secret = document("kind: Secret\nmetadata: {name: s}\nstringData: {a: b}\ndata: {c: ZA==}");
        let map = document("kind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}");
        let elsewhere = document("kind: Secret\nmetadata: {name: x, namespace: other}\ndata: {a: b}");
        let index =
            Index::new([&secret, &map, &elsewhere].into_iter().filter_map(reference)).with_references();
        for (source, expected) in [
            ("secretKeyRef: {name: s, key: a}", None),
            ("secretKeyRef: {name: s, key: c}", None),
            ("configMapKeyRef: {name: m, key: a}", None),
            ("fieldRef: {fieldPath: metadata.name}", None),
            ("secretKeyRef: {name: t, key: a, optional: true}", None),
            ("secretKeyRef: {name: s, key: z}", Some("an unknown key \"z\" in secret \"s\"")),
            ("secretKeyRef: {name: m, key: a}", Some("an unknown secret \"m\"")),
            ("secretKeyRef: {name: x, key: a}", Some("an unknown secret \"x\"")),
            ("configMapKeyRef: {name: s, key: a}", Some("an unknown config map \"s\"")),
        ] {
            let text = format!(
                "kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: a, env: [{{name: A, valueFrom: {{{source}}}}}]}}]}}"
            );
            let pod = document(&text);
            let neighbours = index.related(&pod);
            let found = EnvValueFrom.detect(&View::new(&pod, &neighbours));
            let found: Vec<String> = found.into_iter().map(|found| found.message).collect();
            let expected: Vec<String> =
                expected.iter().map(|what| format!("The container \"a\" is referring to {what}")).collect();
            assert_eq!(found, expected, "{source}");
        }
        assert_eq!(messages(&EnvValueFrom, &secret), Vec::<String>::new());
    }
}
