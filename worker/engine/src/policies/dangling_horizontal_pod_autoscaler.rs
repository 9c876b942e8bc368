//! `dangling_horizontal_pod_autoscaler`: an autoscaler scales a workload that exists.
//!
//! # What it checks
//! That the `scaleTargetRef` of a `HorizontalPodAutoscaler` names a workload of its namespace by kind, name and API version
//! (kube-linter `dangling-horizontalpodautoscaler`). A document that stands alone has no workloads beside it.
//!
//! # Why
//! Nothing is scaled: under load the application stays as small as it is (Kubernetes documentation, *Horizontal Pod
//! Autoscaling*).
//!
//! # Repair
//! Where one workload of the namespace has the kind and the name, its API version: the autoscaler finds it by kind, name and
//! API group. Any other target is for a person: which workload was meant, no manifest says.
//!
//! # Example
//! ```yaml
//! scaleTargetRef: {apiVersion: extensions/v1beta1, kind: Deployment, name: web}   # before
//! scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}              # after
//! ```

use domain::config::RulesConfig;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::Reference;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::reviewed::findings;
use super::scope::{Scope, Site, To, any_container, may};
use super::security::checked;
use crate::edit::Editor;
use crate::k8s::View;

pub(super) struct DanglingHorizontalPodAutoscaler;

const CHECK: Check = Check {
    id: "dangling-horizontalpodautoscaler",
    severity: Severity::Error,
    remedy: "Name a workload that exists in scaleTargetRef.",
};

fn place() -> Pointer {
    Pointer::of(["spec", "scaleTargetRef"])
}

/// What an autoscaler scales.
struct Target<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl<'a> Target<'a> {
    fn of(view: &View<'a>) -> Option<Self> {
        let target = place().resolve(view.value).filter(|_| view.kind() == "HorizontalPodAutoscaler");
        let text = |key: &str| target.and_then(|target| target.get(key)).and_then(Value::as_str);
        (view.kind() == "HorizontalPodAutoscaler").then(|| Self {
            api_version: text("apiVersion").unwrap_or_default(),
            kind: text("kind").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
        })
    }

    /// The API versions of the workloads of its kind and name.
    fn versions<'v>(&'v self, view: &'v View<'_>) -> impl Iterator<Item = &'v str> {
        view.references().filter_map(|reference| match reference {
            Reference::Controller { api_version, kind, name, .. }
                if kind == self.kind && name == self.name =>
            {
                Some(api_version.as_str())
            }
            _ => None,
        })
    }
}

/// The target, where it does not exist.
fn missing<'a>(view: &View<'a>) -> Option<Target<'a>> {
    Target::of(view).filter(|target| !target.versions(view).any(|version| version == target.api_version))
}

/// The API version of the one workload that can be meant.
fn version_meant(view: &View<'_>) -> Option<String> {
    let target = missing(view)?;
    let mut versions = target.versions(view);
    let version = versions.next().filter(|version| !version.is_empty())?;
    versions.next().is_none().then(|| version.to_owned())
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "/spec/scaleTargetRef/apiVersion",
        &[To::If("the API version of the one workload of that kind and name", is_meant)],
    )],
    companion: None,
};

fn is_meant(site: &Site<'_, '_>) -> bool {
    version_meant(site.before).is_some_and(|version| site.text() == Some(version.as_str()))
}

impl Policy for DanglingHorizontalPodAutoscaler {
    fn id(&self) -> PolicyId {
        PolicyId::DanglingHorizontalPodAutoscaler
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = missing(view).map(|Target { api_version, kind, name }| {
            let message = format!(
                "no resources found matching HorizontalPodAutoscaler scaleTargetRef ({{{kind} {name} {api_version}}})"
            );
            (place(), message)
        });
        findings(self.id(), &CHECK, view, found)
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let Some(target) = missing(view) else {
            return Fix::NotApplicable {
                reason: "the target exists, or the document is no autoscaler".to_owned(),
            };
        };
        let Some(version) = version_meant(view) else {
            return Fix::NeedsReview {
                reason: format!(
                    "no {} {} of {:?} is in namespace {:?}; name a workload that is, or remove the autoscaler",
                    target.kind,
                    target.name,
                    target.api_version,
                    view.identity.effective_namespace()
                ),
            };
        };
        let mut editor = Editor::new(view.value);
        editor.set(&place().child("apiVersion"), json!(version));
        checked(self, view, rules, editor, [])
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fix_among, fixture_holds, messages, review_of};

    const POLICY: DanglingHorizontalPodAutoscaler = DanglingHorizontalPodAutoscaler;

    fn scaler(target: &str) -> Document {
        document(&format!(
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: a}}\nspec: {{scaleTargetRef: {target}}}"
        ))
    }

    fn beside(scaler: &Document) -> Neighbours {
        let web = document(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {}}}",
        );
        Index::new(reference(&web)).with_references().related(scaler)
    }

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn kind_name_and_version_must_fit() {
        let found = |target: &str| {
            let scaler = scaler(target);
            let neighbours = beside(&scaler);
            let found = POLICY.detect(&View::new(&scaler, &neighbours));
            found.into_iter().map(|found| found.message).collect::<Vec<_>>()
        };
        assert_eq!(found("{apiVersion: apps/v1, kind: Deployment, name: web}"), Vec::<String>::new());
        assert_eq!(
            found("{apiVersion: apps/v1, kind: StatefulSet, name: web}"),
            [
                "no resources found matching HorizontalPodAutoscaler scaleTargetRef ({StatefulSet web apps/v1})"
            ]
        );
        assert_eq!(found("{apiVersion: extensions/v1beta1, kind: Deployment, name: web}").len(), 1);
        assert_eq!(found("{apiVersion: apps/v1, kind: Deployment, name: wbe}").len(), 1);
        assert_eq!(messages(&POLICY, &scaler("{apiVersion: apps/v1, kind: Deployment, name: web}")).len(), 1);
        assert_eq!(messages(&POLICY, &document("kind: Pod\nspec: {}")), Vec::<String>::new());
    }

    #[test]
    fn the_version_of_the_one_workload_is_meant() {
        let old = scaler("{apiVersion: extensions/v1beta1, kind: Deployment, name: web}");
        assert_eq!(
            fix_among(&POLICY, &old, &beside(&old)),
            json!([{"op": "replace", "path": "/spec/scaleTargetRef/apiVersion", "value": "apps/v1"}])
        );
        let bare = scaler("{kind: Deployment, name: web}");
        assert_eq!(
            fix_among(&POLICY, &bare, &beside(&bare)),
            json!([{"op": "add", "path": "/spec/scaleTargetRef/apiVersion", "value": "apps/v1"}])
        );
        let lost = scaler("{apiVersion: apps/v1, kind: Deployment, name: wbe}");
        assert!(review_of(&POLICY, &lost, &beside(&lost)).contains("no Deployment wbe"));
    }
}
