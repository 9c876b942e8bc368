//! `read_secret_from_env_var`: secrets are read from files.
//!
//! # What it checks
//! Environment variables of a workload's containers that are read from a Secret by `secretKeyRef` (kube-linter
//! `read-secret-from-env-var`).
//!
//! # Why
//! A process hands its environment to what it starts, and crash reports show it; a file is read where it is needed, and
//! follows the Secret (CIS Kubernetes Benchmark 5.4.1).
//!
//! # Repair
//! None: the program has to read a file in place of a variable.
//!
//! # Example
//! ```yaml
//! env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: web, key: token}}}]   # found
//! volumeMounts: [{name: web, mountPath: /run/secrets/web, readOnly: true}]   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use super::workload::containers;
use crate::k8s::View;

pub(super) struct ReadSecretFromEnvVar;

/// The variables that are read from a Secret: where, their name, and the name of their container.
fn variables<'a>(view: &View<'a>) -> impl Iterator<Item = (Pointer, &'a str, &'a str)> {
    containers(view).flat_map(|container| {
        let place = container.pointer.child("env");
        container.maps("env").filter_map(move |(index, variable)| {
            variable.get("valueFrom")?.get("secretKeyRef")?.as_object()?;
            let name = variable.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            Some((place.index(index).join(&["valueFrom", "secretKeyRef"]), name, container.name))
        })
    })
}

impl Reviewed for ReadSecretFromEnvVar {
    const ID: PolicyId = PolicyId::ReadSecretFromEnvVar;

    const CHECK: &'static Check = &Check {
        id: "read-secret-from-env-var",
        severity: Severity::Warning,
        remedy: "Mount the Secret as a file.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = |variable, container| {
            format!(
                "environment variable {} in container {} uses SecretKeyRef",
                quoted(variable),
                quoted(container)
            )
        };
        variables(view).map(|(place, variable, container)| (place, message(variable, container))).collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let names: Vec<String> =
            variables(view).map(|(_, variable, container)| format!("{variable} of {container}")).collect();
        format!("let the program read a file: mount the Secret, and take away {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&ReadSecretFromEnvVar);
    }

    #[test]
    fn references_to_secrets_are_found() {
        let pod = document(
            "kind: Pod\nspec: {containers: [{name: a, env: [{name: A, value: x}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: C, valueFrom: {configMapKeyRef: {name: s, key: k}}}, {name: D, valueFrom: {secretKeyRef: null}}]}]}",
        );
        assert_eq!(
            messages(&ReadSecretFromEnvVar, &pod),
            ["environment variable \"B\" in container \"a\" uses SecretKeyRef"]
        );
    }
}
