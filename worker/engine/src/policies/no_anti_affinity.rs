//! `no_anti_affinity`: replicas are spread over nodes.
//!
//! # What it checks
//! A controller with two or more replicas needs a pod anti-affinity term, preferred or required, over
//! `kubernetes.io/hostname` that matches its own pods (kube-linter `no-anti-affinity`).
//!
//! # Why
//! Replicas on one node go down with it (Kubernetes documentation, *Inter-pod affinity and anti-affinity*).
//!
//! # Repair
//! One preferred term more, which asks for a node without another of the controller's pods and forbids nothing. It selects
//! by the controller's own selector where the pods carry those labels, else by the most telling label of the pods. Pods
//! without labels get those of the selector first; without a selector they get `app` with the controller's name.
//!
//! # Example
//! ```yaml
//! spec: {replicas: 3, template: {metadata: {labels: {app: web}}, spec: {}}}   # before
//! # after: in the pod spec
//! affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: {
//!   labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}}]}}
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::label_text::{label_set, scalar, selector_query};
use super::message::quoted;
use super::scope::{Scope, Site, To, any_container, may};
use super::security::checked;
use crate::difference::Step;
use crate::edit::Editor;
use crate::k8s::neighbours::IDENTIFYING_LABELS;
use crate::k8s::{Pod, View, names, selectors};

pub(super) struct NoAntiAffinity;

const CHECK: Check = Check {
    id: "no-anti-affinity",
    severity: Severity::Warning,
    remedy: "Spread the replicas over nodes with a pod anti-affinity over kubernetes.io/hostname.",
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const REPLICATED: [&str; 5] =
    ["Deployment", "DeploymentConfig", "ReplicaSet", "ReplicationController", "StatefulSet"];
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Labels that change from release to release: selecting by them would let old and new pods share a node.
const VOLATILE: [&str; 6] = [
    "app.kubernetes.io/version",
    "chart",
    "controller-revision-hash",
    "helm.sh/chart",
    "pod-template-hash",
    "version",
];

fn replicas(view: &View<'_>) -> Option<i64> {
    let replicated = REPLICATED.contains(&view.kind());
    let written = view.spec()?.get("replicas").and_then(Value::as_i64);
    replicated.then(|| written.unwrap_or(1)).filter(|replicas| *replicas >= 2)
}

fn anti_affinity<'a>(pod: &Pod<'a>) -> Option<&'a Map<String, Value>> {
    pod.spec.get("affinity")?.get("podAntiAffinity")?.as_object()
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    map.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Why a term does not keep the controller's pods apart; `None` when it does.
fn term_trouble(term: &Map<String, Value>, namespace: &str, pod: &Pod<'_>) -> Option<String> {
    let namespaces: Vec<&str> = term
        .get("namespaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !namespaces.is_empty() && !namespaces.contains(&namespace) {
        return Some(format!(
            "pod's namespace {} not found in anti-affinity's namespaces [{}]",
            quoted(namespace),
            namespaces.join(", ")
        ));
    }
    let key = term.get("topologyKey").and_then(Value::as_str).unwrap_or_default();
    if key != HOSTNAME {
        return Some(format!("anti-affinity's topology key does not match {}", quoted(key)));
    }
    let selector = term.get("labelSelector").and_then(Value::as_object);
    if selector.is_some_and(|selector| selectors::selects(selector, pod.labels())) {
        return None;
    }
    Some(format!(
        "pod's labels {} do not match with anti-affinity's labels {}",
        quoted(&label_set(pod.labels())),
        quoted(&selector.map(selector_query).unwrap_or_default())
    ))
}

fn trouble(view: &View<'_>, pod: &Pod<'_>, replicas: i64) -> Vec<String> {
    let Some(rules) = anti_affinity(pod) else {
        return vec![format!("object has {replicas} replicas but does not specify inter pod anti-affinity")];
    };
    let preferred = list(rules, PREFERRED).map(|item| item.get("podAffinityTerm").and_then(Value::as_object));
    let nothing = Map::new();
    let required = list(rules, REQUIRED).map(Some);
    let terms: Vec<_> = preferred.chain(required).map(|term| term.unwrap_or(&nothing)).collect();
    if terms.is_empty() {
        return vec![format!(
            "object has {replicas} replicas but does not specify preferred or required inter pod anti-affinity during scheduling"
        )];
    }
    let mut found = Vec::new();
    for term in terms {
        match term_trouble(term, &view.identity.namespace, pod) {
            None => return Vec::new(),
            Some(message) => found.push(message),
        }
    }
    found
}

/// The labels that the controller selects its pods by.
fn controller_labels<'a>(view: &View<'a>) -> Option<&'a Map<String, Value>> {
    let selector = view.spec()?.get("selector")?.as_object()?;
    match view.kind() {
        "ReplicationController" | "DeploymentConfig" => Some(selector),
        _ => selector.get("matchLabels")?.as_object(),
    }
    .filter(|labels| !labels.is_empty())
}

fn is_usable(key: &str, value: &Value) -> bool {
    !VOLATILE.contains(&key)
        && names::is_label_key(key)
        && value.as_str().is_some_and(|value| !value.is_empty() && names::is_label_value(value))
}

/// The labels to keep apart by: the controller's where the pods carry them, else the most telling one of the pods.
fn spread_labels(view: &View<'_>, pod: &Pod<'_>) -> Option<Map<String, Value>> {
    let labels = pod.labels();
    if let Some(own) = controller_labels(view).filter(|own| selectors::matches_labels(own, labels)) {
        return Some(own.clone());
    }
    let labels = labels?;
    let usable = |key: &&str| labels.get(*key).is_some_and(|value| is_usable(key, value));
    let telling = IDENTIFYING_LABELS.into_iter().find(usable);
    let key = telling.or_else(|| labels.keys().map(String::as_str).find(usable))?;
    let value = labels.get(key)?.clone();
    Some([(key.to_owned(), value)].into_iter().collect())
}

/// Labels for pods that have none that can be used.
fn new_labels(view: &View<'_>) -> Option<Map<String, Value>> {
    let selector = view.spec()?.get("selector").filter(|selector| !selector.is_null());
    if let Some(own) = controller_labels(view) {
        let legal = own.iter().all(|(key, value)| {
            names::is_label_key(key) && !value.is_null() && names::is_label_value(&scalar(value))
        });
        let labels = own.iter().map(|(key, value)| (key.clone(), json!(scalar(value)))).collect();
        // Expressions may want more than the labels beside them, or forbid those.
        let expressions = selector.and_then(|selector| selector.get("matchExpressions"));
        let rest =
            expressions.map(|list| ("matchExpressions".to_owned(), list.clone())).into_iter().collect();
        return Some(labels).filter(|labels| legal && selectors::selects(&rest, Some(labels)));
    }
    if selector.is_some() {
        return None;
    }
    let name = names::to_dns_label(&view.identity.name)?;
    Some([("app".to_owned(), json!(name))].into_iter().collect())
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may(
            "{pod}/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/**",
            &[NEW_TERM],
        ),
        may(
            "{pod}/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/*/**",
            &[NEW_TERM],
        ),
        may(
            "{template}/labels/*",
            &[To::If("the labels to keep the pods apart by, where they have none", is_new_label)],
        ),
    ],
    companion: None,
};

const NEW_TERM: To = To::If("a new term that keeps the controller's own pods on different nodes", |site| {
    site.is_new_entry(4) && keeps_apart(site) == Some(true)
});

/// Whether the term that the change stands in keeps the pods of the controller apart, and does nothing else.
fn keeps_apart(site: &Site<'_, '_>) -> Option<bool> {
    let [_, pod] = site.pods?;
    let term = site.change.path.get(site.anchors.pod?..)?.get(..4)?.iter().try_fold(
        None,
        |node: Option<&Value>, step| {
            let below = match (node, step) {
                (None, Step::Key(key)) => pod.spec.get(*key),
                (Some(node), Step::Key(key)) => node.get(*key),
                (Some(node), Step::Index(index)) => node.get(*index),
                (None, Step::Index(_)) => None,
            };
            below.map(Some)
        },
    )??;
    let term = term.get("podAffinityTerm").unwrap_or(term).as_object()?;
    let is_known = |key: &String| matches!(key.as_str(), "labelSelector" | "topologyKey");
    Some(term.keys().all(is_known) && term_trouble(term, &site.before.identity.namespace, pod).is_none())
}

/// Whether the pods had no label to keep them apart by and this is the one that they get.
fn is_new_label(site: &Site<'_, '_>) -> bool {
    let Some([pod, _]) = site.pods.filter(|[pod, _]| spread_labels(site.before, pod).is_none()) else {
        return false;
    };
    let is_violated =
        replicas(site.before).is_some_and(|replicas| !trouble(site.before, pod, replicas).is_empty());
    let wanted = new_labels(site.before);
    let wanted = site.key().and_then(|key| wanted.as_ref()?.get(key));
    is_violated && wanted.is_some() && wanted == site.change.is
}

impl Policy for NoAntiAffinity {
    fn id(&self) -> PolicyId {
        PolicyId::NoAntiAffinity
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let Some(replicas) = replicas(view) else { return Vec::new() };
        let found = view.pods.iter().flat_map(|pod| {
            let pointer = view.nearest(pod.pointer.join(&["affinity", "podAntiAffinity"]));
            trouble(view, pod, replicas).into_iter().map(move |message| Finding {
                policy: self.id(),
                check: CHECK.id,
                message,
                pointer: pointer.clone(),
            })
        });
        found.collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        let Some(replicas) = replicas(view) else {
            return Fix::NotApplicable {
                reason: "the object does not ask for two or more replicas".to_owned(),
            };
        };
        for pod in &view.pods {
            if trouble(view, pod, replicas).is_empty() {
                continue;
            }
            let labels = spread_labels(view, pod).or_else(|| {
                let labels = new_labels(view)?;
                let place = pod.metadata_pointer.child("labels");
                if editor.value(&place).is_some_and(Value::is_object) {
                    for (key, value) in &labels {
                        editor.set(&place.child(key), value.clone());
                    }
                } else {
                    editor.set(&place, Value::Object(labels.clone()));
                }
                cautions.push(Caution::PodLabelsChanged);
                Some(labels)
            });
            let Some(labels) = labels else {
                return Fix::NeedsReview {
                    reason: "the pods have no label to keep them apart by; label the pod template".to_owned(),
                };
            };
            if !labels.values().all(Value::is_string) {
                return Fix::NeedsReview {
                    reason: "the selector's labels are no texts; correct them first".to_owned(),
                };
            }
            let term = json!({
                "weight": 100,
                "podAffinityTerm": {"labelSelector": {"matchLabels": labels}, "topologyKey": HOSTNAME}
            });
            editor.append(&pod.pointer.join(&["affinity", "podAntiAffinity", PREFERRED]), term);
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: NoAntiAffinity = NoAntiAffinity;

    fn deployment(labels: &str, affinity: &str) -> Document {
        document(&format!(
            "kind: Deployment\nmetadata: {{name: web, namespace: nn}}\nspec: {{replicas: 3, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {labels}}}, spec: {{{affinity}}}}}}}"
        ))
    }

    fn term(labels: &Value) -> Value {
        json!({"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}})
    }

    #[test]
    fn labels_that_the_selector_cannot_select_are_not_made() {
        for selector in [
            "{matchLabels: {app: a}, matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
            "{matchLabels: {app: null}}",
        ] {
            let document = document(&format!(
                "kind: Deployment\napiVersion: apps/v1\nspec: {{replicas: 3, selector: {selector}, template: {{spec: {{containers: [{{name: a}}]}}}}}}"
            ));
            let view = View::new(&document, &Neighbours::Unknown);
            let fix = NoAntiAffinity.fix(&view, &RulesConfig::default());
            assert!(matches!(fix, Fix::NeedsReview { .. }), "{selector}: {fix:?}");
        }
    }

    #[test]
    fn metadata_of_a_wrong_type_is_for_a_person() {
        let odd = document(
            "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2, template: {metadata: 5, spec: {}}}",
        );
        assert!(review_of(&NoAntiAffinity, &odd, &Neighbours::Unknown).contains("has a type"));
        let listed = document(
            "kind: Deployment\nspec: {replicas: 2, selector: {matchLabels: {app: [a]}}, template: {metadata: {labels: {app: [a]}}, spec: {}}}",
        );
        assert!(review_of(&NoAntiAffinity, &listed, &Neighbours::Unknown).contains("no texts"));
    }

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn controllers_with_two_or_more_replicas_are_looked_at() {
        for (head, count) in [
            ("kind: Deployment\nspec: {replicas: 1,", 0),
            ("kind: Deployment\nspec: {", 0),
            ("kind: DaemonSet\nspec: {replicas: 2,", 0),
            ("kind: DeploymentConfig\nspec: {replicas: 2,", 1),
            ("kind: StatefulSet\nspec: {replicas: 2,", 1),
        ] {
            let document = document(&format!("{head} template: {{spec: {{}}}}}}"));
            assert_eq!(messages(&POLICY, &document).len(), count, "{head}");
        }
    }

    #[test]
    fn a_term_counts_when_it_keeps_the_pods_apart() {
        let found = |rules: &str| {
            messages(&POLICY, &deployment("{app: web}", &format!("affinity: {{podAntiAffinity: {rules}}}")))
        };
        let required =
            |term: &str| found(&format!("{{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}"));
        assert_eq!(
            required("{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}"),
            Vec::<String>::new()
        );
        assert_eq!(
            required("{topologyKey: kubernetes.io/hostname, namespaces: [nn], labelSelector: {}}"),
            Vec::<String>::new()
        );
        assert_eq!(
            found("{preferredDuringSchedulingIgnoredDuringExecution: []}"),
            [
                "object has 3 replicas but does not specify preferred or required inter pod anti-affinity during scheduling"
            ]
        );
        assert_eq!(
            required("{topologyKey: zone}"),
            [r#"anti-affinity's topology key does not match "zone""#]
        );
        assert_eq!(
            required("{topologyKey: kubernetes.io/hostname, namespaces: [x, z]}"),
            [r#"pod's namespace "nn" not found in anti-affinity's namespaces [x, z]"#]
        );
        assert_eq!(
            required(
                "{topologyKey: kubernetes.io/hostname, labelSelector: {matchExpressions: [{key: app, operator: In, values: [db]}]}}"
            ),
            [r#"pod's labels "app=web" do not match with anti-affinity's labels "app in (db)""#]
        );
    }

    #[test]
    fn one_preferred_term_with_the_selectors_labels() {
        assert_eq!(
            fix_of(&POLICY, &deployment("{version: v1, app: web}", "")),
            json!([{"op": "add", "path": "/spec/template/spec/affinity",
                "value": {"podAntiAffinity": {PREFERRED: [term(&json!({"app": "web"}))]}}}])
        );
        let zone = "affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: web}}}}]}}";
        assert_eq!(
            fix_of(&POLICY, &deployment("{app: web}", zone)),
            json!([{"op": "add", "value": term(&json!({"app": "web"})),
                "path": format!("/spec/template/spec/affinity/podAntiAffinity/{PREFERRED}/-")}])
        );
    }

    #[test]
    fn a_telling_label_where_the_selector_does_not_fit() {
        let ops = fix_of(&POLICY, &deployment("{pod-template-hash: x, tier: front, name: web}", ""));
        let chosen = ops.pointer(&format!(
            "/0/value/podAntiAffinity/{PREFERRED}/0/podAffinityTerm/labelSelector/matchLabels"
        ));
        assert_eq!(chosen, Some(&json!({"name": "web"})));
    }

    #[test]
    fn pods_without_labels_get_some_first() {
        let ops = fix_of(&POLICY, &deployment("{}", ""));
        assert_eq!(
            ops[0],
            json!({"op": "add", "path": "/spec/template/metadata/labels/app", "value": "web"})
        );
        let bare = document(
            "kind: ReplicationController\nmetadata: {name: My_App}\nspec: {replicas: 2, template: {spec: {}}}",
        );
        assert_eq!(
            fix_of(&POLICY, &bare)[0],
            json!({"op": "add", "path": "/spec/template/metadata", "value": {"labels": {"app": "my-app"}}})
        );
        let expressions = document(
            "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2, selector: {matchExpressions: [{key: a, operator: Exists}]}, template: {spec: {}}}",
        );
        assert!(review_of(&POLICY, &expressions, &Neighbours::Unknown).contains("no label"));
    }
}
