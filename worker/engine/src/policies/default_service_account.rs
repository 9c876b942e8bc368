//! `default_service_account`: pods have an identity of their own.
//!
//! # What it checks
//! A workload whose pods run as the service account `default` of their namespace, named or for want of a name, and get its
//! token (kube-linter `default-service-account`). Pods that mount no token (`automountServiceAccountToken: false`) are
//! none of its concern.
//!
//! # Why
//! What is granted to the default account is granted to every pod that names no other (CIS Kubernetes Benchmark 5.1.5;
//! *Kubernetes Hardening Guide*, *Protecting Pod service account tokens*).
//!
//! # Repair
//! None: whether the program calls the API server, and with which rights, no manifest says. Without that, a new account or
//! a missing token can stop it.
//!
//! # Example
//! ```yaml
//! spec: {containers: [{name: web}]}                                        # found
//! spec: {automountServiceAccountToken: false, containers: [{name: web}]}   # not
//! spec: {serviceAccountName: web, containers: [{name: web}]}               # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use super::workload::{pod_of, pod_text};
use crate::k8s::{Pod, View};

pub(super) struct DefaultServiceAccount;

/// The name of the service account as kube-linter reads it: that of the deprecated field where the other is empty.
fn account<'a>(pod: &Pod<'a>) -> &'a str {
    let name = pod_text(pod, "serviceAccountName");
    if name.is_empty() { pod_text(pod, "serviceAccount") } else { name }
}

impl Reviewed for DefaultServiceAccount {
    const ID: PolicyId = PolicyId::DefaultServiceAccount;

    const CHECK: &'static Check = &Check {
        id: "default-service-account",
        severity: Severity::Warning,
        remedy: "Give the pods a service account of their own, or no token.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let Some(pod) = pod_of(view) else { return Vec::new() };
        let has_no_token = pod.spec.get("automountServiceAccountToken") == Some(&Value::Bool(false));
        if has_no_token || !matches!(account(pod), "" | "default") {
            return Vec::new();
        }
        let message = format!("found matching serviceAccount ({})", quoted(account(pod)));
        vec![(pod.pointer.child("serviceAccountName"), message)]
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say whether the program calls the API server: if it does, name a service account that may do what it does; if not, set \
         automountServiceAccountToken to false"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&DefaultServiceAccount);
    }

    #[test]
    fn a_token_of_the_default_account_is_found() {
        for (fields, expected) in [
            ("", Some("\"\"")),
            ("serviceAccountName: default,", Some("\"default\"")),
            ("serviceAccount: default,", Some("\"default\"")),
            ("serviceAccountName: web, serviceAccount: default,", None),
            ("serviceAccount: web,", None),
            ("automountServiceAccountToken: false,", None),
            ("automountServiceAccountToken: true,", Some("\"\"")),
        ] {
            let pod = document(&format!("kind: Pod\nspec: {{{fields} containers: [{{name: a}}]}}"));
            let expected: Vec<String> =
                expected.iter().map(|name| format!("found matching serviceAccount ({name})")).collect();
            assert_eq!(messages(&DefaultServiceAccount, &pod), expected, "{fields}");
        }
    }
}
