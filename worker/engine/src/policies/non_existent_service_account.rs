//! `non_existent_service_account`: the service account exists.
//!
//! # What it checks
//! That the account a pod runs under (`serviceAccountName`, or the older `serviceAccount`) is among the accounts of
//! its namespace in the input (kube-linter `non-existent-service-account`); `default` always is. A document that stands
//! alone knows of no account.
//!
//! # Why
//! The API server refuses pods whose account does not exist, so that a controller never gets one running (Kubernetes
//! documentation, *Configure Service Accounts for Pods*).
//!
//! # Repair
//! The missing account is created beside the document, as a companion: the reference stays as it is. Falling back to
//! `default` would take the permissions away that the account is there for. The companion has no permissions of its own;
//! bindings that name the account apply to it.
//!
//! # Example
//! ```yaml
//! spec: {serviceAccountName: runner}   # the document stays; beside it:
//! {apiVersion: v1, kind: ServiceAccount, metadata: {name: runner}}
//! ```

use std::collections::BTreeSet;

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::Neighbour;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Companion, Scope, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::{View, names};

pub(super) struct NonExistentServiceAccount;

const CHECK: Check = Check {
    id: "non-existent-service-account",
    severity: Severity::Error,
    remedy: "Create the service account, or use one that exists.",
};

/// The accounts that are used and missing, each with the field that names it.
fn missing<'a>(view: &View<'a>) -> Vec<(&'a str, Pointer)> {
    let used = view.pods.iter().filter_map(|pod| {
        ["serviceAccountName", "serviceAccount"].into_iter().find_map(|key| {
            let name = pod.spec.get(key)?.as_str().filter(|name| !name.is_empty())?;
            Some((name, pod.pointer.child(key)))
        })
    });
    used.filter(|(used, _)| {
        let exists = |neighbour: &Neighbour| {
            matches!(neighbour, Neighbour::ServiceAccount { name, .. } if name == used)
        };
        *used != "default" && !view.neighbours_here().any(exists)
    })
    .collect()
}

fn service_account(view: &View<'_>, name: &str) -> Value {
    let mut metadata = json!({"name": name});
    if !view.identity.namespace.is_empty() {
        metadata["namespace"] = json!(view.identity.namespace);
    }
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may("{pod}/serviceAccountName", &[TO_DEFAULT]), may("{pod}/serviceAccount", &[TO_DEFAULT])],
    companion: Some(Companion {
        words: "the missing ServiceAccount, with a name and a namespace and nothing else",
        is_needed: |before, _, companion| {
            missing(before).iter().any(|(name, _)| *companion == service_account(before, name))
        },
    }),
};

const TO_DEFAULT: To = To::If("`default` or nothing in place of a missing account", |site| {
    let is_default = site.change.is.is_none() || site.text() == Some("default");
    is_default && missing(site.before).iter().any(|(_, at)| at.resolve(site.before.value) == site.change.was)
});

impl Policy for NonExistentServiceAccount {
    fn id(&self) -> PolicyId {
        PolicyId::NonExistentServiceAccount
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = missing(view).into_iter().map(|(name, pointer)| Finding {
            policy: self.id(),
            check: CHECK.id,
            message: format!("serviceAccount {} not found", quoted(name)),
            pointer,
        });
        found.collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let names: BTreeSet<&str> = missing(view).into_iter().map(|(name, _)| name).collect();
        if let Some(illegal) = names.iter().find(|name| !names::is_dns_subdomain(name)) {
            return Fix::NeedsReview {
                reason: format!(
                    "no service account can be named {illegal:?}; name the account that the pods run under"
                ),
            };
        }
        let companions = names.into_iter().map(|name| service_account(view, name)).collect();
        Fix::with_companions(Editor::new(view.value), companions, [Caution::NeedsCompanion])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::k8s::neighbours;
    use crate::testing::{document, findings, fixture_holds, messages, review_of};

    const POLICY: NonExistentServiceAccount = NonExistentServiceAccount;

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn the_effective_account_counts() {
        let pod = |fields: &str| document(&format!("kind: Pod\nspec: {{{fields}}}"));
        let found = |fields| messages(&POLICY, &pod(fields));
        assert_eq!(found("serviceAccountName: gone"), [r#"serviceAccount "gone" not found"#]);
        assert_eq!(
            found("serviceAccountName: gone, serviceAccount: old"),
            [r#"serviceAccount "gone" not found"#]
        );
        assert_eq!(
            found("serviceAccountName: '', serviceAccount: old"),
            [r#"serviceAccount "old" not found"#]
        );
        assert_eq!(found("serviceAccountName: default"), Vec::<String>::new());
        assert_eq!(found("containers: []"), Vec::<String>::new());
        let old = findings(&POLICY, &pod("serviceAccount: old"));
        assert_eq!(old[0].pointer.as_str(), "/spec/serviceAccount");
    }

    #[test]
    fn an_account_of_the_same_namespace_is_enough() {
        let account = |namespace: &str| Neighbour::ServiceAccount {
            namespace: namespace.into(),
            name: "runner".into(),
        };
        let pod = document("kind: Pod\nspec: {serviceAccountName: runner}");
        let found =
            |namespace| POLICY.detect(&View::new(&pod, &Neighbours::Known(vec![account(namespace)]))).len();
        assert_eq!((found(""), found("default"), found("other")), (0, 0, 1));
    }

    #[test]
    fn the_companion_clears_the_finding() {
        let deployment = document(
            "kind: Deployment\nmetadata: {namespace: nn}\nspec: {template: {spec: {serviceAccountName: gone}}}",
        );
        let rules = RulesConfig::default();
        let Fix::Repair { patch, companions, cautions } =
            POLICY.fix(&View::new(&deployment, &Neighbours::Unknown), &rules)
        else {
            panic!("a repair")
        };
        assert!(patch.is_empty());
        assert_eq!(cautions, [Caution::NeedsCompanion]);
        assert_eq!(
            companions,
            [
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gone", "namespace": "nn"}})
            ]
        );
        let offers = companions
            .into_iter()
            .filter_map(|value| neighbours::offer(&Document::from_value(value).unwrap()));
        let known = Neighbours::Known(offers.collect());
        let view = View::new(&deployment, &known);
        assert_eq!(POLICY.cleared(&view, &rules), Vec::<String>::new());
        assert!(matches!(POLICY.fix(&view, &rules), Fix::NotApplicable { .. }));
    }

    #[test]
    fn a_name_no_account_can_have_is_asked() {
        let document = document("kind: Pod\nspec: {serviceAccountName: 'Not Legal'}");
        assert!(review_of(&POLICY, &document, &Neighbours::Unknown).contains("Not Legal"));
    }
}
