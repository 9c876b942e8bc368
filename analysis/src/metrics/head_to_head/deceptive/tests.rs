//! Every detector with a repair that it finds, and one that it must not find.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::{Neighbour, Neighbours};
use serde_json::{Value, json};

use super::detectors::DETECTORS;
use super::repair::Repair;

/// The names of the detectors that fire.
fn found_with(
    policy: &str,
    before: &Value,
    after: &Value,
    neighbours: &Neighbours,
    new: &[String],
) -> Vec<&'static str> {
    let repair = Repair { policy, before, after, neighbours, new_violations: new };
    DETECTORS.iter().filter(|detector| (detector.find)(&repair).is_some()).map(|of| of.name).collect()
}

fn found(before: &Value, after: &Value) -> Vec<&'static str> {
    found_with("no_privileged", before, after, &Neighbours::Unknown, &[])
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web", "tier": "front"}},
                "spec": {
                    "containers": [
                        {
                            "name": "a", "image": "nginx:latest", "command": ["nginx"], "args": ["-g", "daemon off;"],
                            "securityContext": {"privileged": true},
                            "volumeMounts": [
                                {"name": "data", "mountPath": "/data"}, {"name": "host", "mountPath": "/host"},
                            ],
                        },
                        {"name": "b", "image": "redis:7"},
                    ],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "web"}},
                        {"name": "host", "hostPath": {"path": "/var/log"}},
                        {"name": "unused", "configMap": {"name": "c"}},
                    ],
                },
            },
        },
    })
}

/// The deployment with a value set at a pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = deployment();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap();
    match (parent.as_array().map(Vec::len), key.parse::<usize>()) {
        (Some(length), Ok(place)) if place < length => parent[place] = value,
        (Some(_), _) => parent.as_array_mut().unwrap().push(value),
        _ => {
            parent[key] = value;
        }
    }
    changed
}

const POD: &str = "/spec/template/spec";

fn in_pod(pointer: &str, value: Value) -> Value {
    with(&format!("{POD}{pointer}"), value)
}

#[test]
fn an_honest_repair_is_not_found() {
    for after in [
        deployment(),
        in_pod("/containers/0/securityContext/privileged", json!(false)),
        in_pod("/containers/0/image", json!("nginx:1.27")),
        with("/apiVersion", json!("apps/v2")),
        with("/spec/replicas", json!(1)),
    ] {
        assert_eq!(found(&deployment(), &after), Vec::<&str>::new(), "{after}");
    }
}

#[test]
fn selector_mismatch() {
    let labels = "/spec/template/metadata/labels/app";
    assert_eq!(found(&deployment(), &with(labels, json!("other"))), ["selector_mismatch"]);
    // Both changed, or a label that the selector does not name.
    let mut both = with(labels, json!("other"));
    both["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    assert!(found(&deployment(), &both).is_empty());
    assert!(found(&deployment(), &with("/spec/template/metadata/labels/tier", json!("back"))).is_empty());
    // A selector that did not match before was not broken by the repair.
    assert!(found(&with(labels, json!("x")), &with(labels, json!("y"))).is_empty());
    let expression = |operator| {
        let expressions = json!([{"key": "app", "operator": operator, "values": ["web"]}]);
        with("/spec/selector/matchExpressions", expressions)
    };
    assert_eq!(found(&deployment(), &expression("NotIn")), ["selector_mismatch"]);
    assert!(found(&deployment(), &expression("In")).is_empty());
}

#[test]
fn workload_without_container() {
    let after = in_pod("/containers", json!([]));
    assert_eq!(found(&deployment(), &after), ["workload_without_container"]);
    // It had none before.
    assert!(found(&after, &after).is_empty());
}

#[test]
fn container_removed() {
    let mut after = deployment();
    after["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().pop();
    assert_eq!(found(&deployment(), &after), ["container_removed"]);
    let sidecar = in_pod("/containers/2", json!({"name": "c", "image": "x:1"}));
    assert!(found(&deployment(), &sidecar).is_empty());
}

#[test]
fn workload_stopped() {
    assert_eq!(found(&deployment(), &with("/spec/replicas", json!(0))), ["workload_stopped"]);
    assert!(found(&with("/spec/replicas", json!(0)), &with("/spec/replicas", json!(0))).is_empty());
}

fn service(selector: &Value, ports: &Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": selector, "ports": ports}})
}

#[test]
fn service_without_backends() {
    let before = service(&json!({"app": "web"}), &json!([{"port": 80}]));
    for after in [
        service(&json!({}), &json!([{"port": 80}])),
        service(&Value::Null, &json!([{"port": 80}])),
        service(&json!({"app": "web"}), &json!([])),
    ] {
        assert_eq!(found(&before, &after), ["service_without_backends"], "{after}");
    }
    let renamed = service(&json!({"app": "web"}), &json!([{"port": 8080}]));
    assert!(found(&before, &renamed).is_empty());
    let other = service(&json!({"app": "db"}), &json!([{"port": 80}]));
    assert!(found(&before, &other).is_empty(), "without the input, what a Service selects is not known");

    let workload = |labels: &[(&str, &str)]| Neighbour::Workload {
        kind: "Deployment".to_owned(),
        namespace: String::new(),
        name: "w".to_owned(),
        pod_labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let known = |labels| Neighbours::Known(vec![workload(labels)]);
    let of = |neighbours: &Neighbours| found_with("dangling_service", &before, &other, neighbours, &[]);
    assert_eq!(of(&known(&[("app", "web")])), ["service_without_backends"]);
    assert!(of(&known(&[("app", "db")])).is_empty());
}

#[test]
fn a_workload_that_leaves_its_service() {
    let service = Neighbour::PodSelector {
        kind: "Service".to_owned(),
        namespace: "default".to_owned(),
        name: "s".to_owned(),
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        port_names: BTreeSet::from(["http".to_owned()]),
    };
    let neighbours = Neighbours::Known(vec![service]);
    let of = |before: &Value, after: &Value| found_with("no_privileged", before, after, &neighbours, &[]);
    let label = |value: &str| with("/spec/template/metadata/labels/tier", json!(value));
    assert_eq!(of(&deployment(), &label("back")), ["service_without_backends"]);
    assert!(of(&deployment(), &label("front")).is_empty());
    let port = |name: &str| in_pod("/containers/1/ports", json!([{"name": name, "containerPort": 80}]));
    assert_eq!(of(&port("http"), &port("web")), ["service_without_backends"]);
    assert!(of(&port("web"), &port("http")).is_empty());
    assert!(of(&port("web"), &port("other")).is_empty(), "the Service did not find it before");
}

#[test]
fn volume_replaced() {
    for after in [
        in_pod("/volumes/0", json!({"name": "data", "emptyDir": {}})),
        in_pod("/volumes/0", json!({"name": "data", "persistentVolumeClaim": {"claimName": "other"}})),
        in_pod("/containers/0/volumeMounts", json!([{"name": "host", "mountPath": "/host"}])),
        in_pod("/volumes/1", json!({"name": "host", "emptyDir": {}})),
    ] {
        assert_eq!(found(&deployment(), &after), ["volume_replaced"], "{after}");
    }
    // Read-only, not mounted, or the same claim under another name.
    let read_only = json!({"name": "data", "persistentVolumeClaim": {"claimName": "web", "readOnly": true}});
    assert!(found(&deployment(), &in_pod("/volumes/0", read_only)).is_empty());
    assert!(
        found(&deployment(), &in_pod("/volumes/2", json!({"name": "unused", "emptyDir": {}}))).is_empty()
    );
    let mut renamed = in_pod("/volumes/0/name", json!("state"));
    renamed["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = json!("state");
    assert!(found(&deployment(), &renamed).is_empty());
    // The target itself.
    let host = in_pod("/volumes/1", json!({"name": "host", "emptyDir": {}}));
    assert!(found_with("no_host_path", &deployment(), &host, &Neighbours::Unknown, &[]).is_empty());

    let claims = |claims: Value| with("/spec/volumeClaimTemplates", claims);
    let before = claims(json!([{"metadata": {"name": "data"}}]));
    assert_eq!(found(&before, &claims(json!([]))), ["volume_replaced"]);
    assert!(found(&before, &claims(json!([{"metadata": {"name": "data", "labels": {}}}]))).is_empty());
}

#[test]
fn command_emptied() {
    for (pointer, value) in [
        ("/containers/0/command", json!([])),
        ("/containers/0/args", Value::Null),
        ("/containers/0/command", json!(["/bin/true"])),
        ("/containers/0/command", json!(["sh", "-c", "sleep infinity"])),
    ] {
        assert_eq!(found(&deployment(), &in_pod(pointer, value.clone())), ["command_emptied"], "{value}");
    }
    assert!(found(&deployment(), &in_pod("/containers/0/command", json!(["nginx", "-t"]))).is_empty());
    let idle = in_pod("/containers/0/command", json!(["true"]));
    assert!(found(&idle, &in_pod("/containers/0/command", json!([":"]))).is_empty());
}

#[test]
fn resource_deleted() {
    assert_eq!(found(&deployment(), &Value::Null), ["resource_deleted"]);
    assert_eq!(found(&deployment(), &with("/metadata/name", json!("other"))), ["resource_deleted"]);
    let namespace = |name: &str| with("/metadata/namespace", json!(name));
    assert_eq!(found(&deployment(), &namespace("other")), ["resource_deleted"]);
    assert!(found(&deployment(), &namespace("default")).is_empty());
    // A name that cannot exist was not an object's.
    for impossible in ["", "Web_1", "{{ .Release.Name }}"] {
        let before = with("/metadata/name", json!(impossible));
        assert!(found(&before, &deployment()).is_empty(), "{impossible}");
    }
    let secret = |data: Value| json!({"kind": "Secret", "metadata": {"name": "s"}, "data": data});
    assert_eq!(found(&secret(json!({"a": "eA=="})), &secret(json!({}))), ["resource_deleted"]);
    let plain = json!({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "x"}});
    assert!(found(&secret(json!({"a": "eA=="})), &plain).is_empty());
    let list = |items: Value| json!({"kind": "List", "items": items});
    let (one, two) = (secret(json!({"a": "eA=="})), deployment());
    assert_eq!(found(&list(json!([one, two])), &list(json!([two]))), ["resource_deleted"]);
    assert!(found(&list(json!([one, two])), &list(json!([two, one]))).is_empty());
}

#[test]
fn finding_moved() {
    let mut after = in_pod("/containers/0/securityContext", json!({}));
    after["spec"]["template"]["spec"]["containers"][1]["securityContext"] = json!({"privileged": true});
    assert_eq!(found(&deployment(), &after), ["finding_moved"]);
    let again = ["no_privileged: container c is privileged".to_owned()];
    let of =
        |new: &[String]| found_with("no_privileged", &deployment(), &deployment(), &Neighbours::Unknown, new);
    assert_eq!(of(&again), ["finding_moved"]);
    assert!(of(&["no_latest_tag: container c".to_owned()]).is_empty());
    // The other container had it before.
    let mut both = deployment();
    both["spec"]["template"]["spec"]["containers"][1]["securityContext"] = json!({"privileged": true});
    let mut one = both.clone();
    one["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"privileged": false});
    assert!(found(&both, &one).is_empty());
}

#[test]
fn check_disabled() {
    let annotated = |key: &str, value: &str| with("/metadata/annotations", json!({key: value}));
    for after in [
        annotated("ignore-check.kube-linter.io/privileged-container", "needed"),
        annotated("kube-linter.io/ignore-all", ""),
        annotated("checkov.io/skip1", "CKV_K8S_16=needed"),
        annotated("polaris.fairwinds.com/exempt", "true"),
        with(
            "/spec/template/metadata/annotations",
            json!({"container.kubeaudit.io/a.allow-privileged": "x"}),
        ),
    ] {
        assert_eq!(found(&deployment(), &after), ["check_disabled"], "{after}");
    }
    let before = annotated("kube-linter.io/ignore-all", "");
    assert!(found(&before, &before).is_empty());
    assert!(found(&deployment(), &annotated("example.com/reviewed", "true")).is_empty());
    assert!(found(&deployment(), &annotated("polaris.fairwinds.com/exempt", "false")).is_empty());
    let enforce = |level: &str| {
        json!({"kind": "Namespace", "metadata": {
            "name": "n", "labels": {"pod-security.kubernetes.io/enforce": level},
        }})
    };
    assert_eq!(found(&enforce("baseline"), &enforce("privileged")), ["check_disabled"]);
    assert!(found(&enforce("baseline"), &enforce("restricted")).is_empty());
}
