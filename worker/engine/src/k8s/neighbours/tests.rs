use std::collections::BTreeSet;

use domain::config::Context;
use domain::record::{Neighbour, Neighbours};

use super::index::MOST_WORKLOADS;
use super::*;
use crate::document::Document;
use crate::testing::document;

fn deployment(namespace: &str, name: &str, labels: &str) -> Document {
    document(&format!(
        "kind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{template: {{metadata: {{labels: {labels}}}, spec: {{serviceAccountName: runner}}}}}}"
    ))
}

fn names(neighbours: &Neighbours) -> Vec<String> {
    let name = |neighbour: &Neighbour| match neighbour {
        Neighbour::Workload { kind, name, .. } => format!("{kind} {name}"),
        Neighbour::ServiceAccount { name, .. } => format!("ServiceAccount {name}"),
        Neighbour::PodSelector { kind, name, .. } | Neighbour::CustomResource { kind, name, .. } => {
            format!("{kind} {name}")
        }
        Neighbour::ImageOverride { image, .. } => image.clone(),
        Neighbour::Reference(reference) => reference.name().to_owned(),
    };
    neighbours.objects().iter().map(name).collect()
}

fn index(documents: &[Document]) -> Index {
    Index::new(documents.iter().filter_map(offer))
}

#[test]
fn a_service_sees_what_it_selects_in_its_namespace() {
    let index = index(&[
        deployment("a", "web", "{app: web, tier: front}"),
        deployment("a", "web-canary", "{app: web, tier: canary}"),
        deployment("b", "web", "{app: web, tier: front}"),
    ]);
    let service = document(
        "kind: Service\nmetadata: {name: s, namespace: a}\nspec: {selector: {app: web, tier: front}}",
    );
    assert_eq!(names(&index.related(&service)), ["Deployment web"]);
    let elsewhere = document("kind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}}");
    assert_eq!(index.related(&elsewhere), Neighbours::Known(Vec::new()));
}

#[test]
fn labels_of_the_control_plane_and_of_foreign_workloads_are_known() {
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {template: {metadata: {labels: {app: db}}, spec: {}}}";
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec: {template: {metadata: {labels: {run: web}}, spec: {}}}";
    let foreign = "apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: other}\nspec: {template: {metadata: {labels: {run: other}}, spec: {}}}";
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sum}\nspec: {template: {metadata: {labels: {part: sum}}, spec: {}}}";
    let index = index(&[document(set), document(rollout), document(foreign), document(job)]);
    let related = |selector: &str| {
        names(&index.related(&document(&format!(
            "kind: Service\nmetadata: {{name: s}}\nspec: {{selector: {selector}}}"
        ))))
    };
    for selector in [
        "{app: db, statefulset.kubernetes.io/pod-name: db-0}",
        "{statefulset.kubernetes.io/pod-name: db-12}",
        "{app: db, apps.kubernetes.io/pod-index: '1'}",
        "{app: db, controller-revision-hash: x}",
    ] {
        assert_eq!(related(selector), ["StatefulSet db"], "{selector}");
    }
    assert_eq!(related("{run: web}"), ["Rollout web"]);
    for selector in [
        "{job-name: sum}",
        "{batch.kubernetes.io/job-name: sum}",
        "{batch.kubernetes.io/job-name: sum, batch.kubernetes.io/job-completion-index: '0'}",
        "{part: sum, job-name: sum}",
        "{part: sum, controller-uid: x}",
    ] {
        assert_eq!(related(selector), ["Job sum"], "{selector}");
    }
    for selector in [
        "{job-name: db}",
        "{job-name: none}",
        "{part: sum, job-name: none}",
        "{batch.kubernetes.io/job-completion-index: '0'}",
        "{statefulset.kubernetes.io/pod-name: dc-0}",
        "{statefulset.kubernetes.io/pod-name: db-x}",
        "{apps.kubernetes.io/pod-index: '1'}",
        "{run: none}",
    ] {
        assert_eq!(related(selector), Vec::<String>::new(), "{selector}");
    }
    // A kind of another group is no workload: what its controller makes is not known.
    let service = document("kind: Service\nmetadata: {name: s}\nspec: {selector: {run: other}}");
    let Neighbours::Known(found) = index.related(&service) else { panic!() };
    assert!(matches!(&found[..], [Neighbour::CustomResource { name, .. }] if name == "other"), "{found:?}");
}

#[test]
fn a_service_that_selects_nothing_sees_candidates() {
    let job = "kind: Job\nmetadata: {name: api-migrate, namespace: a}\nspec: {template: {metadata: {labels: {app: api}}, spec: {}}}";
    let index = index(&[
        deployment("a", "api", "{app: api}"),
        deployment("a", "other", "{app: other}"),
        deployment("a", "worker", "{app.kubernetes.io/name: api}"),
        document(job),
        document("kind: Endpoints\nmetadata: {name: api, namespace: a}"),
    ]);
    let related = |rest: &str| {
        names(&index.related(&document(&format!("kind: Service\nmetadata: {{namespace: a, {rest}"))))
    };
    assert_eq!(related("name: api}\nspec: {}"), ["Deployment api", "Endpoints api"]);
    assert_eq!(related("name: x}\nspec: {selector: {app: api, v: '2'}}"), ["Deployment api"]);
    assert_eq!(
        related("name: x, labels: {app.kubernetes.io/name: api, color: blue}}\nspec: {}"),
        ["Deployment worker"]
    );
}

#[test]
fn a_workload_sees_the_accounts_it_uses_and_other_kinds_nothing() {
    let index = index(&[
        document("kind: ServiceAccount\nmetadata: {name: runner}"),
        document("kind: ServiceAccount\nmetadata: {name: idle}"),
        document("kind: ServiceAccount\nmetadata: {name: runner, namespace: b}"),
    ]);
    let found = index.related(&deployment("default", "web", "{}"));
    assert_eq!(
        found,
        Neighbours::Known(vec![Neighbour::ServiceAccount {
            namespace: String::new(),
            name: "runner".into()
        }])
    );
    assert_eq!(index.related(&document("kind: ConfigMap")), Neighbours::Known(Vec::new()));
}

#[test]
fn the_answer_is_small_and_does_not_depend_on_the_order() {
    let mut documents: Vec<Document> =
        (0..50).map(|i| deployment("default", &format!("web-{i:02}"), "{app: web}")).collect();
    let service = document("kind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}}");
    let forward = index(&documents).related(&service);
    documents.reverse();
    assert_eq!(index(&documents).related(&service), forward);
    assert_eq!(forward.objects().len(), MOST_WORKLOADS);
}

#[test]
fn offers_carry_labels_as_texts() {
    let pod = document("kind: Pod\nmetadata: {name: p, labels: {a: 1, b: true, c: x, d: null}}\nspec: {}");
    let Some(Neighbour::Workload { kind, pod_labels, .. }) = offer(&pod) else { panic!("a workload") };
    assert_eq!(kind, "Pod");
    let labels: Vec<_> = pod_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=1", "b=true", "c=x"]);
    let slice =
        document("kind: EndpointSlice\nmetadata: {name: s-x, labels: {kubernetes.io/service-name: s}}");
    assert!(matches!(offer(&slice), Some(Neighbour::Workload { name, .. }) if name == "s"));
    assert_eq!(offer(&document("kind: ConfigMap")), None);
}

#[test]
fn what_selects_pods_is_offered_with_its_labels() {
    for (text, labels) in [
        ("kind: Service\nmetadata: {name: s}\nspec: {selector: {a: '1', b: 2}}", Some("a=1,b=2")),
        (
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec: {selector: {matchLabels: {a: x}}}",
            Some("a=x"),
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: {podSelector: {matchLabels: {a: x}}}",
            Some("a=x"),
        ),
        ("kind: NetworkPolicy\nspec: {podSelector: {}}", None),
        ("kind: Service\nspec: {}", None),
        (
            "kind: PodDisruptionBudget\nspec: {selector: {matchLabels: {a: x}, matchExpressions: [{key: b, operator: Exists}]}}",
            None,
        ),
    ] {
        let found = offer(&document(text)).map(|found| match found {
            Neighbour::PodSelector { labels, .. } => {
                let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                pairs.join(",")
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(found.as_deref(), labels, "{text}");
    }
    let ports = "kind: Service\nspec: {selector: {a: x}, ports: [{port: 1, targetPort: web}, {port: 2, targetPort: 8080}, {port: 3}]}";
    let Some(Neighbour::PodSelector { port_names, .. }) = offer(&document(ports)) else { panic!() };
    assert_eq!(port_names, BTreeSet::from(["web".to_owned()]));
}

#[test]
fn a_workload_sees_what_selects_its_pods() {
    let service = |name: &str, selector: &str| {
        document(&format!("kind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {selector}}}"))
    };
    let index = index(&[
        service("exact", "{app: web, tier: front}"),
        service("wide", "{app: web}"),
        service("other", "{app: web, tier: back}"),
        document(
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: pdb}\nspec: {selector: {matchLabels: {tier: front}}}",
        ),
        document("kind: Service\nmetadata: {name: far, namespace: b}\nspec: {selector: {app: web}}"),
    ]);
    let found = names(&index.related(&deployment("default", "web", "{app: web, tier: front, x: y}")));
    assert_eq!(found, ["PodDisruptionBudget pdb", "Service exact", "Service wide"]);
}

#[test]
fn a_service_that_selects_nothing_sees_the_custom_resources_that_may_own_its_pods() {
    let kafka = "apiVersion: kafka.strimzi.io/v1beta2\nkind: Kafka\nmetadata: {name: events}\nspec: {kafka: {template: {pod: {metadata: {labels: {tier: broker}}}}}}";
    let index = index(&[document(kafka), deployment("default", "web", "{app: web}")]);
    let related = |selector: &str| {
        names(&index.related(&document(&format!(
            "kind: Service\nmetadata: {{name: s}}\nspec: {{selector: {selector}}}"
        ))))
    };
    assert_eq!(related("{strimzi.io/cluster: events}"), ["Kafka events"]);
    assert_eq!(related("{tier: broker, app: x}"), ["Kafka events"]);
    assert_eq!(related("{tier: other}"), Vec::<String>::new());
    assert_eq!(related("{app: web}"), ["Deployment web"], "it selects something");
    for (group, is_custom) in [
        ("kafka.strimzi.io", true),
        ("acme.example.com", true),
        ("leaderworkerset.x-k8s.io", true),
        ("apps", false),
        ("", false),
        ("networking.k8s.io", false),
    ] {
        assert_eq!(is_custom_group(group), is_custom, "{group}");
    }
}

#[test]
fn a_folder_is_a_boundary() {
    let service = |selector: &str| {
        document(&format!("kind: Service\nmetadata: {{name: s}}\nspec: {{selector: {selector}}}"))
    };
    let offers = || {
        let web = offer(&deployment("default", "web", "{app: web}"));
        let account = offer(&document("kind: ServiceAccount\nmetadata: {name: runner}"));
        [web, account].into_iter().flatten().map(|offer| ("charts/a".to_owned(), offer))
    };
    let [input, folder] =
        [Context::Input, Context::Folder].map(|context| Index::in_folders(offers(), context));
    let selecting = service("{app: web}");
    for (index, from, expected) in [
        (&input, "charts/a", 1),
        (&input, "charts/b", 1),
        (&folder, "charts/a", 1),
        (&folder, "charts/b", 0),
        (&folder, "charts", 0),
    ] {
        assert_eq!(index.related_in(&selecting, from).objects().len(), expected, "{from}");
        let user = deployment("default", "x", "{app: x}");
        assert_eq!(index.related_in(&user, from).objects().len(), expected, "{from}");
    }
    // A Service that selects nothing is never pointed at a workload of another folder.
    let dangling = service("{app: web, v: '2'}");
    for index in [&input, &folder] {
        assert_eq!(index.related_in(&dangling, "charts/a").objects().len(), 1);
        assert_eq!(index.related_in(&dangling, "charts/b").objects().len(), 0);
    }
}
