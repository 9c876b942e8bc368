//! `deprecated_service_account_field`: the deprecated `serviceAccount` field is not used.
//!
//! # What it checks
//! A `serviceAccount` that is set and differs from `serviceAccountName` (kube-linter `deprecated-service-account-field`).
//!
//! # Why
//! `serviceAccount` is a deprecated alias of `serviceAccountName` (Kubernetes API reference, *`PodSpec`*); when the two
//! differ, one of them says something that does not happen.
//!
//! # Repair
//! The deprecated field goes; its value moves to `serviceAccountName` where that is missing. Where both are set the newer
//! field stays as it is: it is the one that the API server follows.
//!
//! # Example
//! ```yaml
//! serviceAccount: runner      # before
//! serviceAccountName: runner  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::scope::{Scope, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct DeprecatedServiceAccountField;

const CHECK: Check = Check {
    id: "deprecated-service-account-field",
    severity: Severity::Warning,
    remedy: "Use serviceAccountName instead of serviceAccount.",
};

/// The two fields where they disagree: the deprecated one and the newer one (empty when missing).
fn disagreement<'a>(pod: &Pod<'a>) -> Option<(&'a str, &'a str)> {
    let text = |key| pod.spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let (deprecated, newer) = (text("serviceAccount"), text("serviceAccountName"));
    (!deprecated.is_empty() && deprecated != newer).then_some((deprecated, newer))
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may(
            "{pod}/serviceAccount",
            &[To::If("removed, or the same as `serviceAccountName`", |site| {
                let newer = site.pods.and_then(|[_, after]| after.spec.get("serviceAccountName"));
                site.pods.is_some_and(|[before, _]| disagreement(before).is_some())
                    && (site.change.is.is_none() || site.change.is == newer)
            })],
        ),
        may(
            "{pod}/serviceAccountName",
            &[To::If("the value of `serviceAccount`, where it was empty", |site| {
                let moved = site
                    .pods
                    .and_then(|[before, _]| disagreement(before))
                    .filter(|(_, newer)| newer.is_empty());
                moved.is_some_and(|(deprecated, _)| site.text() == Some(deprecated))
            })],
        ),
    ],
    companion: None,
};

impl Policy for DeprecatedServiceAccountField {
    fn id(&self) -> PolicyId {
        PolicyId::DeprecatedServiceAccountField
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = view.pods.iter().filter_map(|pod| {
            let message = match disagreement(pod)? {
                (deprecated, "") => format!(
                    "serviceAccount is specified ({deprecated}), but this field is deprecated; use serviceAccountName instead"
                ),
                (deprecated, newer) => format!(
                    "serviceAccount ({deprecated}) and serviceAccountName ({newer}) are both specified with non-matching values. serviceAccount is deprecated; unspecify serviceAccount or make values match."
                ),
            };
            Some(Finding { policy: self.id(), check: CHECK.id, message, pointer: pod.pointer.child("serviceAccount") })
        });
        found.collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut dead = false;
        for pod in &view.pods {
            let Some((deprecated, newer)) = disagreement(pod) else { continue };
            if newer.is_empty() {
                editor.set(&pod.pointer.child("serviceAccountName"), json!(deprecated));
            } else {
                dead = true;
            }
            editor.remove(&pod.pointer.child("serviceAccount"));
        }
        Fix::of(editor, dead.then_some(Caution::ShadowedValueRemoved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&DeprecatedServiceAccountField);
    }

    #[test]
    fn the_value_moves() {
        let missing = json!([
            {"op": "add", "path": "/spec/serviceAccountName", "value": "s"},
            {"op": "remove", "path": "/spec/serviceAccount"}
        ]);
        let policy = DeprecatedServiceAccountField;
        assert_eq!(fix_of(&policy, &document("kind: Pod\nspec: {serviceAccount: s}")), missing);
        let null =
            fix_of(&policy, &document("kind: Pod\nspec: {serviceAccount: s, serviceAccountName: null}"));
        assert_eq!(null[0], json!({"op": "replace", "path": "/spec/serviceAccountName", "value": "s"}));
    }

    #[test]
    fn the_newer_field_wins() {
        let document = document("kind: Pod\nspec: {serviceAccount: old, serviceAccountName: new}");
        assert_eq!(
            messages(&DeprecatedServiceAccountField, &document),
            [
                "serviceAccount (old) and serviceAccountName (new) are both specified with non-matching values. serviceAccount is deprecated; unspecify serviceAccount or make values match."
            ]
        );
        assert_eq!(
            fix_of(&DeprecatedServiceAccountField, &document),
            json!([{"op": "remove", "path": "/spec/serviceAccount"}])
        );
    }

    #[test]
    fn a_blank_null_or_equal_field_says_nothing() {
        for fields in
            ["serviceAccount: null", "serviceAccount: ''", "serviceAccount: a, serviceAccountName: a"]
        {
            let document = document(&format!("kind: Pod\nspec: {{{fields}}}"));
            assert_eq!(messages(&DeprecatedServiceAccountField, &document), Vec::<String>::new());
        }
    }
}
