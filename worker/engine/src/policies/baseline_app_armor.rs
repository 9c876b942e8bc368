//! `baseline_app_armor`: no pod or container turns `AppArmor` off.
//!
//! # What it checks
//! `appArmorProfile.type` wherever a pod or a container sets one: `RuntimeDefault` or `Localhost`; and the older
//! annotations `container.apparmor.security.beta.kubernetes.io/CONTAINER` of the pod: `runtime/default`, `localhost/…` or
//! nothing (own check `baseline-app-armor`; the control *`AppArmor`* of the Pod Security Standards, *Baseline*).
//!
//! # Why
//! On nodes with `AppArmor` the runtime confines every container by a profile of its own; `unconfined` takes that away.
//!
//! # Repair
//! The field and the annotation go, with the caution `app_armor_applies`: without them the runtime's own profile holds where
//! the node has `AppArmor`. To ask for `RuntimeDefault` instead would keep the pod from nodes that have none.
//!
//! # Example
//! ```yaml
//! securityContext: {appArmorProfile: {type: Unconfined}}  # before
//! securityContext: {}                                     # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::pod_security::{Context, concerns, context_before, contexts, field, profile_type};
use super::scope::{Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

pub(super) struct BaselineAppArmor;

const KEY: &str = "appArmorProfile";
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const CHECK: Check = Check {
    id: "baseline-app-armor",
    severity: Severity::Error,
    remedy: "Leave the AppArmor profile out, or set it to RuntimeDefault or to a Localhost profile of your own.",
};

fn is_bad(context: &Map<String, Value>) -> bool {
    field(context, KEY)
        .is_some_and(|profile| !matches!(profile_type(profile), "RuntimeDefault" | "Localhost"))
}

fn bad<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = Context<'v, 'a>> {
    contexts(view).filter(|context| is_bad(context.fields))
}

fn is_bad_annotation(key: &str, value: &str) -> bool {
    let allowed = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    key.starts_with(ANNOTATION) && !allowed
}

/// The annotations of a pod that name a profile which is not allowed: where, which container, what.
fn bad_annotations<'a>(pod: &Pod<'a>) -> impl Iterator<Item = (Pointer, &'a str, &'a str)> {
    let at = pod.metadata_pointer.child("annotations");
    let annotations =
        pod.metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
    annotations.into_iter().flatten().filter_map(move |(key, value)| {
        let value = value.as_str().filter(|value| is_bad_annotation(key, value))?;
        Some((at.child(key), key.strip_prefix(ANNOTATION)?, value))
    })
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| {
        concerns(view, container, is_bad)
            || view.pod_of(container).is_some_and(|pod| bad_annotations(pod).next().is_some())
    },
    may: &[
        may("{container}/securityContext/appArmorProfile/**", &[REMOVED]),
        may("{pod}/securityContext/appArmorProfile/**", &[REMOVED]),
        may(
            "{template}/annotations/*",
            &[To::If("a profile removed that is not allowed", is_removed_annotation)],
        ),
    ],
    companion: None,
};

const REMOVED: To = To::If("removed with a profile that is not allowed", |site| {
    site.change.is.is_none() && context_before(site).is_some_and(is_bad)
});

fn is_removed_annotation(site: &Site<'_, '_>) -> bool {
    let was = site.change.was.and_then(Value::as_str);
    site.change.is.is_none() && site.key().zip(was).is_some_and(|(key, value)| is_bad_annotation(key, value))
}

impl Policy for BaselineAppArmor {
    fn id(&self) -> PolicyId {
        PolicyId::BaselineAppArmor
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |message, pointer| Finding { policy: self.id(), check: CHECK.id, message, pointer };
        let fields = bad(view).map(|context| {
            let profile = field(context.fields, KEY).map(profile_type).unwrap_or_default();
            let message = format!("{} sets the AppArmor profile {}", context.owner(), quoted(profile));
            finding(message, view.nearest(context.at().join(&[KEY, "type"])))
        });
        let annotations = view.pods.iter().flat_map(bad_annotations).map(|(at, container, profile)| {
            let (container, profile) = (quoted(container), quoted(profile));
            finding(
                format!("an annotation sets the AppArmor profile {profile} for container {container}"),
                at,
            )
        });
        fields.chain(annotations).collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for context in bad(view) {
            editor.remove(&context.at().child(KEY));
        }
        for (at, _, _) in view.pods.iter().flat_map(bad_annotations) {
            editor.remove(&at);
        }
        Fix::of(editor, [Caution::AppArmorApplies])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineAppArmor);
    }

    #[test]
    fn fields_and_annotations_go_where_they_are_not_allowed() {
        let document = document(
            "kind: Pod\nmetadata: {annotations: {container.apparmor.security.beta.kubernetes.io/a: unconfined, container.apparmor.security.beta.kubernetes.io/b: localhost/x, container.apparmor.security.beta.kubernetes.io/c: '', container.apparmor.security.beta.kubernetes.io/d: runtime/default, note: unconfined}}\nspec: {securityContext: {appArmorProfile: {type: Unconfined}}, containers: [{name: a, securityContext: {appArmorProfile: {type: Unconfined}}}, {name: b, securityContext: {appArmorProfile: {type: Localhost, localhostProfile: x}}}], initContainers: [{name: c, securityContext: {appArmorProfile: {}}}]}",
        );
        assert_eq!(
            messages(&BaselineAppArmor, &document),
            [
                r#"the pod sets the AppArmor profile "Unconfined""#,
                r#"container "a" sets the AppArmor profile "Unconfined""#,
                r#"container "c" sets the AppArmor profile """#,
                r#"an annotation sets the AppArmor profile "unconfined" for container "a""#,
            ]
        );
        assert_eq!(
            fix_of(&BaselineAppArmor, &document),
            json!([
                {"op": "remove", "path": "/spec/securityContext/appArmorProfile"},
                {"op": "remove", "path": "/spec/containers/0/securityContext/appArmorProfile"},
                {"op": "remove", "path": "/spec/initContainers/0/securityContext/appArmorProfile"},
                {"op": "remove", "path": "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1a"}
            ])
        );
    }
}
