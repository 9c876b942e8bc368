//! `default_account_binding`: no role is given to a namespace's default service account.
//!
//! # What it checks
//! The subjects of `RoleBindings` and `ClusterRoleBindings` (own check `default-account-binding`): none is the service account
//! `default`.
//!
//! # Why
//! Every pod that names no account runs as `default`: what it is given, all of them have, those to come included
//! (CIS Kubernetes Benchmark 5.1.5).
//!
//! # Repair
//! None by rule: the program that needs the role gets an account of its own, in its workload and here, both at once. Which
//! workload that is, is not in the binding.
//!
//! # Example
//! ```yaml
//! subjects: [{kind: ServiceAccount, name: default, namespace: shop}]   # before
//! subjects: [{kind: ServiceAccount, name: indexer, namespace: shop}]   # with an account of the workload's own
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::rbac::subjects;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct DefaultAccountBinding;

const CHECK: Check = Check {
    id: "default-account-binding",
    severity: Severity::Warning,
    remedy: "Give the workload a service account of its own, and bind the role to that.",
};

impl Reviewed for DefaultAccountBinding {
    const ID: PolicyId = PolicyId::DefaultAccountBinding;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let (subjects, role) = subjects(view);
        let default = subjects
            .into_iter()
            .filter(|subject| subject.kind == "ServiceAccount" && subject.name == "default");
        let message = format!("every pod without an account of its own gets the role {}", quoted(role));
        default.map(|subject| (subject.at, message.clone())).collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "make an account for the workload that needs the role, name it in the workload's serviceAccountName, and bind the role \
         to it"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, findings, fixture_holds};

    #[test]
    fn fixtures() {
        fixture_holds(&DefaultAccountBinding);
    }

    #[test]
    fn an_account_of_that_name_counts_and_a_user_does_not() {
        let binding = document(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nroleRef: {name: admin}\nsubjects: [{kind: User, name: default}, null, {kind: ServiceAccount, name: default, namespace: a}, {kind: ServiceAccount, name: own}]",
        );
        let found = findings(&DefaultAccountBinding, &binding);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pointer.as_str(), "/subjects/2");
        assert!(found[0].message.contains("\"admin\""));
        let other = document("kind: Deployment\nsubjects: [{kind: ServiceAccount, name: default}]");
        assert!(findings(&DefaultAccountBinding, &other).is_empty());
    }
}
