//! `mismatching_selector`: the selector matches the pod template.
//!
//! # What it checks
//! That a controller has a selector, and that the labels of its pod template satisfy it (kube-linter
//! `mismatching-selector`). A `Job` or `CronJob` needs none, and the API server defaults that of a `ReplicationController`.
//!
//! # Why
//! The API server refuses a controller whose pods it would not find again (Kubernetes documentation, *Deployments*,
//! *Selector*).
//!
//! # Repair
//! The template's labels move to the selector, never the other way: the selector of a live controller cannot change. A
//! missing selector becomes the template's labels, as the older API versions defaulted it. The selector of a `Job` that
//! the API server generates goes. An expression that leaves a choice, or forbids a label of the template, is the user's.
//!
//! # Example
//! ```yaml
//! selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: wbe}}}   # before
//! selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}   # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::label_text::{invalid_value, scalar, selector_object};
use super::scope::{Scope, Site, To, any_container, may};
use super::security::checked;
use crate::edit::Editor;
use crate::k8s::neighbours::IDENTIFYING_LABELS;
use crate::k8s::{Pod, View, names, selectors};

pub(super) struct MismatchingSelector;

const CHECK: Check = Check {
    id: "mismatching-selector",
    severity: Severity::Error,
    remedy: "Make the pod template's labels satisfy the selector.",
};

const NO_SELECTOR: &str = "object has no selector specified";

/// Kinds that need a selector, and so a spec.
const SELECTING: [&str; 4] = ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"];

fn lacks_spec(view: &View<'_>) -> bool {
    SELECTING.contains(&view.kind()) && view.spec().is_none_or(Map::is_empty)
}

/// Kinds whose selector is a plain map of labels.
const PLAIN: [&str; 2] = ["DeploymentConfig", "ReplicationController"];

/// A controller with its pod template.
struct Controller<'v, 'a> {
    view: &'v View<'a>,
    pod: &'v Pod<'a>,
    /// Where the selector stands.
    place: Pointer,
}

impl<'v, 'a> Controller<'v, 'a> {
    fn of(view: &'v View<'a>) -> Option<Self> {
        let pod = view.pods.first()?;
        let place = pod.controller.as_ref()?.child("selector");
        Some(Self { view, pod, place })
    }

    fn is_plain(&self) -> bool {
        PLAIN.contains(&self.view.kind())
    }

    fn is_job(&self) -> bool {
        matches!(self.view.kind(), "Job" | "CronJob")
    }

    /// Whether the API server takes the labels of the template for the selector that is missing.
    fn is_defaulted(&self) -> bool {
        self.view.kind() == "ReplicationController"
            && self.pod.labels().is_some_and(|labels| !labels.is_empty())
    }

    /// The selector as it is written; `None` when there is none or an empty one.
    fn written(&self) -> Option<&'a Map<String, Value>> {
        let written = self.place.resolve(self.view.value)?.as_object().filter(|map| !map.is_empty())?;
        let filled = |key: &str, size: Option<usize>| written.contains_key(key) && size != Some(0);
        let labels = written.get("matchLabels").map(|labels| labels.as_object().map_or(0, Map::len));
        let expressions = written.get("matchExpressions").map(|list| list.as_array().map_or(0, Vec::len));
        let selects = filled("matchLabels", labels) || filled("matchExpressions", expressions);
        (self.is_plain() || selects).then_some(written)
    }

    /// The selector as a `LabelSelector`; `None` when there is none or an empty one.
    fn selector(&self) -> Option<Map<String, Value>> {
        let written = self.written()?.clone();
        if self.is_plain() {
            return Some([("matchLabels".to_owned(), Value::Object(written))].into_iter().collect());
        }
        Some(written)
    }

    /// Where the pairs of the selector stand.
    fn pairs_place(&self) -> Pointer {
        if self.is_plain() { self.place.clone() } else { self.place.child("matchLabels") }
    }

    fn trouble(&self) -> Option<String> {
        let Some(selector) = self.selector() else {
            return (!self.is_job() && !self.is_defaulted()).then(|| NO_SELECTOR.to_owned());
        };
        if let Some(error) = invalid_value(pairs(&selector)) {
            return Some(format!("object has invalid label selector: {error}"));
        }
        let labels = self.pod.labels();
        (!selectors::selects(&selector, labels)).then(|| {
            let (labels, selector) = (selectors::go_map(labels), selector_object(&selector));
            format!("labels in pod spec ({labels}) do not match labels in selector ({selector})")
        })
    }

    fn fix(&self, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(self.view.value);
        let done = match self.selector() {
            _ if self.is_generated() => {
                editor.remove(&self.place);
                Ok(Vec::new())
            }
            None => self.add_selector(&mut editor),
            Some(selector) => self.move_labels(&mut editor, &selector),
        };
        match done {
            Ok(cautions) => checked(&MismatchingSelector, self.view, rules, editor, cautions),
            Err(reason) => Fix::NeedsReview { reason },
        }
    }

    /// Whether the API server makes the selector itself: for a Job unless `manualSelector` is set, which a `CronJob`'s
    /// jobs cannot.
    fn is_generated(&self) -> bool {
        let manual = self.view.spec().and_then(|spec| spec.get("manualSelector")) == Some(&Value::Bool(true));
        self.view.kind() == "CronJob" || (self.view.kind() == "Job" && !manual)
    }

    fn labels_place(&self) -> Pointer {
        self.pod.metadata_pointer.child("labels")
    }

    fn add_selector(&self, editor: &mut Editor) -> Result<Vec<Caution>, String> {
        let own = self.pod.labels().filter(|labels| !labels.is_empty());
        let legal = own.is_none_or(|labels| {
            labels.iter().all(|(key, value)| {
                names::is_label_key(key) && value.as_str().is_some_and(names::is_label_value)
            })
        });
        if !legal {
            return Err(
                "the controller has no selector and the pod template's labels are not legal; correct them"
                    .to_owned(),
            );
        }
        let (labels, cautions) = if let Some(labels) = own {
            (labels.clone(), Vec::new())
        } else {
            let name = names::to_dns_label(&self.view.identity.name).ok_or(
                "the controller has neither a selector nor labels nor a name; label the pod template",
            )?;
            let labels: Map<String, Value> = [("app".to_owned(), json!(name))].into_iter().collect();
            editor.set(&self.labels_place(), Value::Object(labels.clone()));
            (labels, vec![Caution::PodLabelsChanged])
        };
        if self.is_plain() {
            editor.set(&self.place, Value::Object(labels));
        } else {
            editor.set(&self.pairs_place(), Value::Object(labels));
        }
        Ok(cautions)
    }

    fn move_labels(
        &self,
        editor: &mut Editor,
        selector: &Map<String, Value>,
    ) -> Result<Vec<Caution>, String> {
        let mut wanted: Map<String, Value> = Map::new();
        for (key, value) in pairs(selector).into_iter().flatten() {
            let text = scalar(value);
            let is_legal = names::is_label_key(key) && names::is_label_value(&text);
            if !is_legal || value.is_object() || value.is_array() || value.is_null() {
                return Err(format!(
                    "the selector asks {key}={text}, which is no legal label; correct the selector"
                ));
            }
            if !value.is_string() {
                // Not accepted as it is written, so that no live controller has it: a label is a text.
                editor.set(&self.pairs_place().child(key), json!(text));
            }
            wanted.insert(key.clone(), json!(text));
        }
        let list = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in list.into_iter().flatten() {
            self.meet(expression, &mut wanted)?;
        }
        let before = editor.clone().finish().len();
        self.set_labels(editor, wanted);
        let moved = editor.clone().finish().len() > before;
        Ok(moved.then_some(Caution::PodLabelsChanged).into_iter().collect())
    }

    /// Adds to `wanted` what an expression leaves no choice about.
    fn meet(&self, expression: &Value, wanted: &mut Map<String, Value>) -> Result<(), String> {
        let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
        let label = wanted.get(key).or_else(|| self.pod.labels()?.get(key)).cloned();
        let have: Map<String, Value> = label.map(|label| (key.to_owned(), label)).into_iter().collect();
        let alone: Map<String, Value> =
            [("matchExpressions".to_owned(), json!([expression]))].into_iter().collect();
        if selectors::selects(&alone, Some(&have)) {
            return Ok(());
        }
        let values =
            expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let only = match (expression.get("operator").and_then(Value::as_str), values) {
            (Some("In"), [only]) if !wanted.contains_key(key) => only.as_str(),
            _ => None,
        };
        let only = only.filter(|value| names::is_label_value(value) && names::is_label_key(key));
        let only = only.ok_or_else(|| {
            format!("the selector's expression {expression} is not met by the template's labels and leaves a choice; label the pod template to meet it")
        })?;
        wanted.insert(key.to_owned(), json!(only));
        Ok(())
    }

    fn set_labels(&self, editor: &mut Editor, wanted: Map<String, Value>) {
        let place = self.labels_place();
        if editor.value(&place).is_some_and(Value::is_object) {
            for (key, value) in wanted {
                editor.set(&place.child(&key), value);
            }
        } else {
            editor.set(&place, Value::Object(wanted));
        }
    }
}

fn pairs(selector: &Map<String, Value>) -> Option<&Map<String, Value>> {
    selector.get("matchLabels").and_then(Value::as_object)
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may("{template}/labels/*", &[To::If("the value that the selector asks for", is_asked_for)]),
        may(
            "{controller}/selector/**",
            &[
                To::If("the template's labels, where there was no selector", is_added),
                To::If("a label's value as a text", is_spelled),
                To::If("removed from a Job whose selector the API server makes", |site| {
                    site.change.is.is_none()
                        && Controller::of(site.before).is_some_and(|it| it.is_job() && it.is_generated())
                }),
            ],
        ),
    ],
    companion: None,
};

/// Whether the selector before asks for this label; where there was none, whether the pods had no labels and this one
/// says what they are.
fn is_asked_for(site: &Site<'_, '_>) -> bool {
    let (Some(controller), Some(key)) = (Controller::of(site.before), site.key()) else { return false };
    let Some(selector) = controller.written() else {
        let name = names::to_dns_label(&site.before.identity.name);
        return controller.pod.labels().is_none_or(Map::is_empty)
            && IDENTIFYING_LABELS.contains(&key)
            && site.text().is_some()
            && site.text() == name.as_deref();
    };
    let by_pair = if controller.is_plain() {
        selector.get(key)
    } else {
        pairs(selector).and_then(|pairs| pairs.get(key))
    };
    let mut expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    match by_pair {
        Some(value) => site.text() == Some(scalar(value).as_str()),
        None => expressions.any(|expression| expression.get("key").and_then(Value::as_str) == Some(key)),
    }
}

/// Whether the controller had no selector and gets this label of its template.
fn is_added(site: &Site<'_, '_>) -> bool {
    let [Some(before), Some(after)] = [Controller::of(site.before), Controller::of(site.after)] else {
        return false;
    };
    let is_pair = after.pairs_place().join(&[site.key().unwrap_or_default()]) == site.change.pointer();
    let label = after.pod.labels().and_then(|labels| labels.get(site.key()?));
    before.written().is_none() && !before.is_job() && is_pair && label.is_some() && label == site.change.is
}

/// Whether a label's value, which was no text, is written as one.
fn is_spelled(site: &Site<'_, '_>) -> bool {
    let was = site.change.was.filter(|was| was.is_number() || was.is_boolean());
    was.is_some_and(|was| site.text() == Some(scalar(was).as_str()))
}

impl Policy for MismatchingSelector {
    fn id(&self) -> PolicyId {
        PolicyId::MismatchingSelector
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let (message, place) = match Controller::of(view) {
            Some(controller) => (controller.trouble(), controller.place.clone()),
            None => (lacks_spec(view).then(|| NO_SELECTOR.to_owned()), Pointer::of(["spec", "selector"])),
        };
        let finding = message.map(|message| Finding {
            policy: self.id(),
            check: CHECK.id,
            message,
            pointer: view.nearest(place),
        });
        finding.into_iter().collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let Some(controller) = Controller::of(view) else {
            if lacks_spec(view) {
                let reason = format!("the {} has no spec; say which pods it makes and selects", view.kind());
                return Fix::NeedsReview { reason };
            }
            return Fix::NotApplicable {
                reason: format!("a {} selects no pods of its own template", view.kind()),
            };
        };
        if controller.trouble().is_none() {
            return Fix::NotApplicable { reason: "the document does not violate the policy".to_owned() };
        }
        controller.fix(rules)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: MismatchingSelector = MismatchingSelector;

    fn controller(kind: &str, selector: &str, labels: &str) -> Document {
        document(&format!(
            "kind: {kind}\nmetadata: {{name: Web_1}}\nspec: {{selector: {selector}, template: {{metadata: {{labels: {labels}}}, spec: {{}}}}}}"
        ))
    }

    fn deployment(selector: &str, labels: &str) -> Document {
        controller("Deployment", selector, labels)
    }

    const LABELS: &str = "/spec/template/metadata/labels";

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn what_the_server_defaults_is_no_mismatch_and_no_spec_is_one() {
        assert!(messages(&POLICY, &controller("ReplicationController", "null", "{a: b}")).is_empty());
        assert_eq!(messages(&POLICY, &controller("ReplicationController", "null", "{}")), [NO_SELECTOR]);
        assert_eq!(messages(&POLICY, &controller("ReplicationController", "{a: c}", "{a: b}")).len(), 1);
        for kind in SELECTING {
            for spec in ["", "spec: {}", "spec: null"] {
                let document =
                    document(&format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a}}\n{spec}"));
                assert_eq!(messages(&POLICY, &document), [NO_SELECTOR], "{kind} {spec}");
                assert!(review_of(&POLICY, &document, &Neighbours::Unknown).contains("has no spec"));
            }
        }
        assert!(messages(&POLICY, &document("apiVersion: example.com/v1\nkind: Deployment")).is_empty());
    }

    #[test]
    fn messages_are_the_scanners() {
        assert_eq!(
            messages(&POLICY, &deployment("{matchLabels: {app: nodejs}}", "{app: myapp}")),
            [
                "labels in pod spec (map[app:myapp]) do not match labels in selector (&LabelSelector{MatchLabels:map[string]string{app: nodejs,},MatchExpressions:[]LabelSelectorRequirement{},})"
            ]
        );
        for selector in ["null", "{}", "{matchLabels: {}}"] {
            assert_eq!(
                messages(&POLICY, &deployment(selector, "{a: b}")),
                ["object has no selector specified"]
            );
        }
        assert!(
            messages(&POLICY, &deployment("{matchLabels: {a: <X>}}", "{a: <X>}"))[0]
                .starts_with("object has invalid label selector: ")
        );
        for kind in ["Job", "CronJob", "Pod", "Service"] {
            assert_eq!(
                messages(&POLICY, &controller(kind, "null", "{a: b}")),
                Vec::<String>::new(),
                "{kind}"
            );
        }
    }

    #[test]
    fn the_labels_move_and_never_the_selector() {
        assert_eq!(
            fix_of(&POLICY, &deployment("{matchLabels: {app: web, rev: 'v3'}}", "{app: other, x: y}")),
            json!([
                {"op": "replace", "path": format!("{LABELS}/app"), "value": "web"},
                {"op": "add", "path": format!("{LABELS}/rev"), "value": "v3"}
            ])
        );
        let bare =
            document("kind: StatefulSet\nspec: {selector: {matchLabels: {app: a}}, template: {spec: {}}}");
        assert_eq!(
            fix_of(&POLICY, &bare),
            json!([{"op": "add", "path": "/spec/template/metadata", "value": {"labels": {"app": "a"}}}])
        );
    }

    #[test]
    fn a_number_becomes_the_text_it_spells() {
        assert_eq!(
            fix_of(&POLICY, &deployment("{matchLabels: {rev: 3}}", "{rev: '4'}")),
            json!([
                {"op": "replace", "path": "/spec/selector/matchLabels/rev", "value": "3"},
                {"op": "replace", "path": format!("{LABELS}/rev"), "value": "3"}
            ])
        );
    }

    #[test]
    fn a_missing_selector_is_the_templates_labels() {
        assert_eq!(
            fix_of(&POLICY, &deployment("null", "{app: web, tier: front}")),
            json!([{"op": "replace", "path": "/spec/selector", "value": {"matchLabels": {"app": "web", "tier": "front"}}}])
        );
        let plain =
            document("kind: DeploymentConfig\nspec: {template: {metadata: {labels: {app: web}}, spec: {}}}");
        assert_eq!(
            fix_of(&POLICY, &plain),
            json!([{"op": "add", "path": "/spec/selector", "value": {"app": "web"}}])
        );
        assert_eq!(
            fix_of(&POLICY, &deployment("{}", "null")),
            json!([
                {"op": "replace", "path": LABELS, "value": {"app": "web-1"}},
                {"op": "add", "path": "/spec/selector/matchLabels", "value": {"app": "web-1"}}
            ])
        );
    }

    #[test]
    fn expressions_are_met_where_they_leave_no_choice() {
        let expression = |rest: &str| format!("{{matchExpressions: [{{key: t, {rest}}}]}}");
        assert_eq!(
            fix_of(&POLICY, &deployment(&expression("operator: In, values: [a]"), "{x: y}")),
            json!([{"op": "add", "path": format!("{LABELS}/t"), "value": "a"}])
        );
        for rest in ["operator: In, values: [a, b]", "operator: Exists", "operator: Like"] {
            let document = deployment(&expression(rest), "{x: y}");
            assert!(
                review_of(&POLICY, &document, &Neighbours::Unknown).contains("leaves a choice"),
                "{rest}"
            );
        }
        let forbidden = deployment(&expression("operator: DoesNotExist"), "{t: y}");
        assert!(review_of(&POLICY, &forbidden, &Neighbours::Unknown).contains("leaves a choice"));
        let both = "{matchLabels: {t: a}, matchExpressions: [{key: t, operator: In, values: [b]}]}";
        assert!(
            review_of(&POLICY, &deployment(both, "{}"), &Neighbours::Unknown).contains("leaves a choice")
        );
        let illegal = deployment("{matchLabels: {app: <YOUR-APP>}}", "{app: <YOUR-APP>}");
        assert!(review_of(&POLICY, &illegal, &Neighbours::Unknown).contains("no legal label"));
    }

    #[test]
    fn a_generated_selector_goes() {
        let job = controller("Job", "{matchLabels: {a: b}}", "{x: y}");
        assert_eq!(fix_of(&POLICY, &job), json!([{"op": "remove", "path": "/spec/selector"}]));
        let manual = document(
            "kind: Job\nspec: {manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {x: y}}, spec: {}}}",
        );
        assert_eq!(
            fix_of(&POLICY, &manual),
            json!([{"op": "add", "path": format!("{LABELS}/a"), "value": "b"}])
        );
        let cron = document(
            "kind: CronJob\nspec: {jobTemplate: {spec: {selector: {matchLabels: {a: b}}, template: {spec: {}}}}}",
        );
        assert_eq!(
            fix_of(&POLICY, &cron),
            json!([{"op": "remove", "path": "/spec/jobTemplate/spec/selector"}])
        );
    }

    #[test]
    fn metadata_of_a_wrong_type_is_for_a_person() {
        let odd = document(
            "kind: Deployment\nmetadata: {name: a}\nspec: {selector: {}, template: {metadata: 5, spec: {}}}",
        );
        assert!(review_of(&POLICY, &odd, &Neighbours::Unknown).contains("has a type"));
    }

    #[test]
    fn kinds_without_a_template_are_left_alone() {
        for kind in ["Service", "CustomResourceDefinition", "Pod"] {
            let document = document(&format!("kind: {kind}\nspec: {{selector: {{a: b}}}}"));
            let fix = POLICY.fix(&View::new(&document, &Neighbours::Unknown), &RulesConfig::default());
            assert!(matches!(fix, Fix::NotApplicable { .. }), "{kind}");
        }
    }
}
