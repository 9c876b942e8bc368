//! `dangling_service`: a Service selects a workload.
//!
//! # What it checks
//! That a Service (not of type `ExternalName`) has a selector, and that pods of a workload in its namespace carry the
//! labels it asks for (kube-linter `dangling-service`). A document that stands alone has no workloads beside it.
//!
//! # Why
//! A Service without pods answers nobody, and says nothing about it (Kubernetes documentation, *Service*).
//!
//! # Repair
//! Only with exactly one workload that the Service can mean: one of its own name, or one that shares an identifying label
//! with the Service's selector or labels (`app.kubernetes.io/name`, `app`, `k8s-app`, `name`, `run`) and contradicts none.
//! The workload is one of the Service's own folder, and no custom resource there explains a label of the selector.
//! The selector becomes that workload's identifying labels. It never becomes wider by a label that tells some pods of an
//! application from others (`version`, `track`, `role: leader`, what a controller sets): who set it did so outside of these
//! manifests. With none or several, or with endpoints kept by hand, a person must say what the Service is for; it never
//! becomes an `ExternalName`.
//!
//! # Example
//! ```yaml
//! metadata: {name: web}, spec: {selector: {app: wbe}}   # before, with a Deployment web whose pods have app: web
//! metadata: {name: web}, spec: {selector: {app: web}}   # after
//! ```

use std::collections::BTreeMap;

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::{Neighbour, Neighbours};
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::label_text::{invalid_value, label_set};
use super::scope::{Scope, Site, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::neighbours::{
    ENDPOINTS, identifying, is_candidate, is_controller_label, selects, selects_pods_of, service_pairs,
    service_selector,
};
use crate::k8s::{View, names, selectors};

pub(super) struct DanglingService;

const CHECK: Check = Check {
    id: "dangling-service",
    severity: Severity::Warning,
    remedy: "Make the Service's selector match the labels of the pods it serves.",
};

fn selector_place() -> Pointer {
    Pointer::of(["spec", "selector"])
}

fn is_service(view: &View<'_>) -> bool {
    let kind = view.spec().and_then(|spec| spec.get("type")).and_then(Value::as_str);
    view.kind() == "Service" && kind != Some("ExternalName")
}

/// Why the Service dangles; `None` when it does not.
fn trouble(view: &View<'_>) -> Option<String> {
    let written = selector_place().resolve(view.value).and_then(Value::as_object);
    let selector = service_selector(view.value);
    if selector.is_empty() {
        return Some("service has no selector specified".to_owned());
    }
    if let Some(error) = invalid_value(written) {
        return Some(format!("service has invalid label selector: {error}"));
    }
    let none = !view.neighbours_here().any(|neighbour| selects_pods_of(&selector, neighbour));
    none.then(|| format!("no pods found matching service labels ({})", selectors::go_map(written)))
}

/// A workload that the Service can mean.
struct Candidate<'a> {
    kind: &'a str,
    name: &'a str,
    pod_labels: &'a BTreeMap<String, String>,
}

impl Candidate<'_> {
    fn title(&self) -> String {
        let name = if self.name.is_empty() { "without a name" } else { self.name };
        format!("{} {name}", self.kind)
    }
}

fn candidates<'a>(view: &View<'a>) -> Vec<Candidate<'a>> {
    let pairs = service_pairs(view.value);
    let found =
        view.neighbours_here().filter(|neighbour| is_candidate(&pairs, &view.identity.name, neighbour));
    found
        .filter_map(|neighbour| match neighbour {
            Neighbour::Workload { kind, name, pod_labels, .. } => Some(Candidate { kind, name, pod_labels }),
            _ => None,
        })
        .collect()
}

/// A pair of the selector that no candidate carries and a custom resource explains, and that resource: its controller may
/// make the pods that the Service is for.
fn possible_owner(view: &View<'_>, candidates: &[Candidate<'_>]) -> Option<String> {
    let selector = service_selector(view.value);
    let mut unexplained = selector.iter().filter(|(key, value)| {
        !candidates.iter().any(|candidate| candidate.pod_labels.get(*key) == Some(*value))
    });
    unexplained.find_map(|(key, value)| {
        view.neighbours_here().find_map(|neighbour| match neighbour {
            Neighbour::CustomResource { kind, name, labels, .. }
                if name == value || labels.get(key) == Some(value) =>
            {
                Some(format!(
                    "{key}={value} may be a label of pods that the controller of {kind} {name} makes"
                ))
            }
            _ => None,
        })
    })
}

/// The labels by which the Service should select a candidate: its identifying ones, else all of them.
fn selector_of(candidate: &Candidate<'_>) -> BTreeMap<String, String> {
    let legal = candidate
        .pod_labels
        .iter()
        .filter(|(key, value)| names::is_label_key(key) && names::is_label_value(value) && !value.is_empty());
    let all: BTreeMap<String, String> = legal.map(|(key, value)| (key.clone(), value.clone())).collect();
    let telling: BTreeMap<String, String> = identifying(&all);
    if telling.is_empty() { all } else { telling }
}

/// Label keys that tell some pods of an application from others, in the habit of canary and blue-green rollouts.
const DISTINGUISHING: [&str; 10] = [
    "blue-green",
    "canary",
    "color",
    "colour",
    "deployment-color",
    "release-track",
    "slot",
    "stage",
    "track",
    "version",
];

/// What the members of a replicated store are elected to; their agents (Patroni, Spilo, Redis operators) keep it in a label
/// whose name ends with `role`, so that one Service leads to the member that takes writes.
const ELECTED: [&str; 9] =
    ["follower", "leader", "master", "primary", "replica", "secondary", "slave", "standby", "standby_leader"];

/// Whether something outside of the manifests gives a label its meaning: the control plane, an operator (whose keys have its
/// domain), a rollout, or an election.
fn is_meaningful(key: &str, value: &str) -> bool {
    let of_operator = key.split_once('/').is_some_and(|(domain, _)| {
        !matches!(domain, "app.kubernetes.io" | "helm.sh" | "kustomize.toolkit.fluxcd.io")
    });
    let name = key.rsplit('/').next().unwrap_or(key);
    let is_elected = name.to_ascii_lowercase().ends_with("role") && ELECTED.contains(&value);
    is_controller_label(key) || of_operator || is_elected || DISTINGUISHING.contains(&name)
}

/// A pair of the selector that the new one would drop or change, though something outside gives it its meaning.
fn meaningful_loss(view: &View<'_>, new: &BTreeMap<String, String>) -> Option<String> {
    let selector = service_selector(view.value);
    let lost =
        selector.into_iter().find(|(key, value)| is_meaningful(key, value) && new.get(key) != Some(value));
    lost.map(|(key, value)| format!("{key}={value}"))
}

fn has_endpoints(view: &View<'_>) -> bool {
    view.neighbours_here().any(|neighbour| {
        matches!(neighbour, Neighbour::Workload { kind, name, .. } if kind == ENDPOINTS && *name == view.identity.name)
    })
}

fn describe(view: &View<'_>) -> String {
    let written = selector_place().resolve(view.value).and_then(Value::as_object);
    match label_set(written).as_str() {
        "" => "the Service has no selector".to_owned(),
        selector => format!("the Service selects {selector}, which no pod carries"),
    }
}

fn without_candidate(view: &View<'_>) -> String {
    let what = describe(view);
    match view.neighbours {
        Neighbours::Unknown => format!(
            "{what} in this document alone; give the manifests of its workload as well, or set spec.selector to the labels of the pods it serves"
        ),
        Neighbours::Known(_) => format!(
            "{what}, and no workload of namespace {:?} has its name or its identifying labels; set spec.selector to the labels of the pods it serves, or remove the Service",
            view.identity.effective_namespace()
        ),
    }
}

fn among(view: &View<'_>, candidates: &[Candidate<'_>]) -> String {
    let names: Vec<String> = candidates.iter().map(Candidate::title).collect();
    format!(
        "{}; it can mean {}: set spec.selector to the labels of one of them",
        describe(view),
        names.join(", ")
    )
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[may(
        "/spec/selector/**",
        &[To::If("labels of a workload that the Service can mean", is_redirected)],
    )],
    companion: None,
};

/// Whether the Service selected nothing and now selects a workload that it can mean.
fn is_redirected(site: &Site<'_, '_>) -> bool {
    let selector = service_selector(site.after.value);
    is_service(site.before)
        && trouble(site.before).is_some()
        && candidates(site.before).iter().any(|candidate| selects(&selector, candidate.pod_labels))
        && meaningful_loss(site.before, &selector).is_none()
        && possible_owner(site.before, &candidates(site.before)).is_none()
}

impl Policy for DanglingService {
    fn id(&self) -> PolicyId {
        PolicyId::DanglingService
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        if !is_service(view) {
            return Vec::new();
        }
        let pointer = view.nearest(selector_place());
        let message = trouble(view);
        message
            .into_iter()
            .map(|message| Finding { policy: self.id(), check: CHECK.id, message, pointer: pointer.clone() })
            .collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let review = |reason| Fix::NeedsReview { reason };
        if !is_service(view) || trouble(view).is_none() {
            return Fix::NotApplicable {
                reason: "the document is no Service that selects nothing".to_owned(),
            };
        }
        if view.spec().is_none() {
            return review("the Service has no spec; say which ports and pods it serves".to_owned());
        }
        if service_selector(view.value).is_empty() && has_endpoints(view) {
            return review(
                "the Service has no selector and endpoints kept by hand; leave it as it is, or remove the endpoints and set spec.selector"
                    .to_owned(),
            );
        }
        let candidates = candidates(view);
        if let Some(owner) = possible_owner(view, &candidates) {
            return review(format!(
                "{}; {owner}: see which labels it gives them, and leave the Service as it is if they are these",
                describe(view)
            ));
        }
        let [candidate] = candidates.as_slice() else {
            return review(if candidates.is_empty() {
                without_candidate(view)
            } else {
                among(view, &candidates)
            });
        };
        let selector = selector_of(candidate);
        if selector.is_empty() {
            return review(format!(
                "{}; the pods of {} have no labels to select them by: label them first",
                describe(view),
                candidate.title()
            ));
        }
        if let Some(pair) = meaningful_loss(view, &selector) {
            return review(format!(
                "{}; {pair} tells some pods from others, and without it the Service would send traffic to all pods of {}: \
                 see who sets that label",
                describe(view),
                candidate.title()
            ));
        }
        let mut editor = Editor::new(view.value);
        editor.set(&selector_place(), json!(selector));
        Fix::of(editor, [Caution::TrafficRedirected])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::k8s::neighbours::{Index, offer};
    use crate::testing::{document, fix_among, fixture_holds, messages, review_of};

    const POLICY: DanglingService = DanglingService;

    fn service(rest: &str) -> Document {
        document(&format!("kind: Service\nmetadata: {{name: web}}\nspec: {rest}"))
    }

    fn workload(kind: &str, name: &str, labels: &str) -> Document {
        document(&format!(
            "kind: {kind}\nmetadata: {{name: {name}}}\nspec: {{template: {{metadata: {{labels: {labels}}}, spec: {{}}}}}}"
        ))
    }

    fn around(service: &Document, others: &[Document]) -> Neighbours {
        Index::new(others.iter().filter_map(offer)).related(service)
    }

    fn selector(ops: &Value) -> &Value {
        &ops[0]["value"]
    }

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn what_selects_nothing_is_found() {
        assert_eq!(
            messages(&POLICY, &service("{selector: {b: '2', a: x}}")),
            ["no pods found matching service labels (map[a:x b:2])"]
        );
        for spec in ["{}", "{selector: {}}", "{selector: null, clusterIP: None}"] {
            assert_eq!(messages(&POLICY, &service(spec)), ["service has no selector specified"]);
        }
        assert!(
            messages(&POLICY, &service("{selector: {a: '<x>'}}"))[0]
                .starts_with("service has invalid label selector: values[0][a]: Invalid value: \"<x>\"")
        );
        assert_eq!(messages(&POLICY, &service("{type: ExternalName}")), Vec::<String>::new());
        assert_eq!(messages(&POLICY, &document("kind: Pod\nspec: {}")), Vec::<String>::new());
    }

    #[test]
    fn a_service_with_pods_is_fine() {
        let service = service("{selector: {app: web}}");
        let neighbours = around(&service, &[workload("Job", "x", "{app: web, y: z}")]);
        assert_eq!(POLICY.detect(&View::new(&service, &neighbours)), []);
        let elsewhere =
            document("kind: Pod\nmetadata: {name: p, namespace: nn, labels: {app: web}}\nspec: {}");
        let neighbours = around(&service, &[elsewhere]);
        assert_eq!(POLICY.detect(&View::new(&service, &neighbours)).len(), 1);
    }

    #[test]
    fn the_one_workload_it_can_mean_is_selected() {
        let by_name = service("{selector: {app: wbe, tier: x}}");
        let others = [
            workload("Deployment", "web", "{app: web, version: v1}"),
            workload("Deployment", "db", "{app: db}"),
        ];
        let ops = fix_among(&POLICY, &by_name, &around(&by_name, &others));
        assert_eq!(ops, json!([{"op": "replace", "path": "/spec/selector", "value": {"app": "web"}}]));

        let by_label = service("{selector: {k8s-app: api, tier: x}}");
        let others = [workload("StatefulSet", "x", "{k8s-app: api, tier: y}")];
        assert_eq!(
            selector(&fix_among(&POLICY, &by_label, &around(&by_label, &others))),
            &json!({"k8s-app": "api"})
        );

        let plain = service("{}");
        let others = [workload("Deployment", "web", "{color: blue}"), workload("Job", "web", "{app: web}")];
        assert_eq!(
            selector(&fix_among(&POLICY, &plain, &around(&plain, &others))),
            &json!({"color": "blue"})
        );
    }

    #[test]
    fn a_service_never_loses_a_label_that_tells_pods_apart() {
        let others = [workload("StatefulSet", "web", "{app: web}")];
        let keys = DISTINGUISHING.into_iter().chain([
            "statefulset.kubernetes.io/pod-name",
            "batch.kubernetes.io/job-name",
            "pod-template-hash",
            "strimzi.io/cluster",
            "example.com/canary",
            "rollouts-pod-template-hash.example.com/x",
        ]);
        for key in keys {
            let service = service(&format!("{{selector: {{app: web, {key}: other-0}}}}"));
            let neighbours = around(&service, &others);
            let reason = review_of(&POLICY, &service, &neighbours);
            assert!(reason.contains(&format!("{key}=other-0 tells some pods")), "{key}: {reason}");
        }
        for key in ["role", "spilo-role", "redisRole", "app.kubernetes.io/role"] {
            for value in ELECTED {
                let service = service(&format!("{{selector: {{app: web, {key}: {value}}}}}"));
                let reason = review_of(&POLICY, &service, &around(&service, &others));
                assert!(reason.contains(&format!("{key}={value} tells some pods")), "{key}: {reason}");
            }
        }
        let frontend = service("{selector: {app: web, role: frontend}}");
        let ops = fix_among(&POLICY, &frontend, &around(&frontend, &others));
        assert_eq!(selector(&ops), &json!({"app": "web"}));
        // The same label on the workload's pods is kept, and another key may go.
        let service = service("{selector: {app: wbe, tier: x}}");
        let ops = fix_among(&POLICY, &service, &around(&service, &others));
        assert_eq!(selector(&ops), &json!({"app": "web"}));
    }

    #[test]
    fn a_weak_or_contradicted_label_is_no_match() {
        let service = document(
            "kind: Service\nmetadata: {name: r-db}\nspec: {selector: {app.kubernetes.io/name: shop, app.kubernetes.io/instance: r, app.kubernetes.io/component: db}}",
        );
        let web =
            "{app.kubernetes.io/name: shop, app.kubernetes.io/instance: r, app.kubernetes.io/component: web}";
        let neighbours = around(&service, &[workload("Deployment", "r-web", web)]);
        assert!(review_of(&POLICY, &service, &neighbours).contains("no workload of namespace \"default\""));
        let weak = document(
            "kind: Service\nmetadata: {name: s}\nspec: {selector: {app.kubernetes.io/instance: r, x: y}}",
        );
        let neighbours = around(&weak, &[workload("Deployment", "r-web", web)]);
        assert!(review_of(&POLICY, &weak, &neighbours).contains("no workload"));
    }

    #[test]
    fn the_selector_says_more_than_the_services_own_label() {
        let service = document(
            "kind: Service\nmetadata: {name: chat, labels: {app: backend}}\nspec: {selector: {app: chatroom}}",
        );
        let neighbours = around(&service, &[workload("Deployment", "backend", "{app: backend}")]);
        assert!(review_of(&POLICY, &service, &neighbours).contains("no workload"));
    }

    #[test]
    fn a_person_decides_between_several_and_without_any() {
        let service = service("{selector: {app: web, track: beta}}");
        let others = [workload("Deployment", "a", "{app: web}"), workload("StatefulSet", "b", "{app: web}")];
        assert_eq!(
            review_of(&POLICY, &service, &around(&service, &others)),
            "the Service selects app=web,track=beta, which no pod carries; it can mean Deployment a, StatefulSet b: set spec.selector to the labels of one of them"
        );
        assert!(review_of(&POLICY, &service, &Neighbours::Unknown).contains("in this document alone"));
        assert!(review_of(&POLICY, &document("kind: Service"), &Neighbours::Unknown).contains("no spec"));
    }

    #[test]
    fn endpoints_kept_by_hand_are_left_alone() {
        let service = service("{ports: [{port: 80}]}");
        let endpoints = document("kind: Endpoints\nmetadata: {name: web}");
        let others = [workload("Deployment", "web", "{app: web}"), endpoints];
        assert!(review_of(&POLICY, &service, &around(&service, &others)).contains("endpoints kept by hand"));
    }

    #[test]
    fn pods_that_a_custom_resource_may_own_are_left_to_its_controller() {
        let web = workload("Deployment", "web", "{app: web}");
        for (resource, selector, is_review) in [
            ("metadata: {name: orders}", "{app: web, cluster: orders}", true),
            ("metadata: {name: x, labels: {app: orders}}", "{app: orders}", true),
            (
                "metadata: {name: x}\nspec: {template: {metadata: {labels: {role: primary}}}}",
                "{app: web, role: primary}",
                true,
            ),
            ("metadata: {name: orders}", "{app: web, part: front}", false),
            ("metadata: {name: web}", "{app: web, part: front}", false),
            ("metadata: {name: front, namespace: elsewhere}", "{app: web, part: front}", false),
        ] {
            let owner = document(&format!("apiVersion: db.example.com/v1\nkind: Cluster\n{resource}"));
            let service = service(&format!("{{selector: {selector}}}"));
            let neighbours = around(&service, &[web.clone(), owner]);
            if is_review {
                let reason = review_of(&POLICY, &service, &neighbours);
                assert!(reason.contains("that the controller of Cluster"), "{resource}: {reason}");
            } else {
                let ops = fix_among(&POLICY, &service, &neighbours);
                assert_eq!(ops.pointer("/0/value").unwrap(), &json!({"app": "web"}), "{resource} {selector}");
            }
        }
    }

    #[test]
    fn pods_without_labels_cannot_be_selected() {
        let service = service("{selector: {app: web}}");
        let others = [workload("Deployment", "web", "{}")];
        assert!(review_of(&POLICY, &service, &around(&service, &others)).contains("have no labels"));
    }
}
