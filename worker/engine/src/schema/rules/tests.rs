//! The rules on small documents, each wrong in a few ways: `cases.txt` holds the documents and what is said of them.
//! Every case was compared with the validation code of Kubernetes 1.37.2.

use domain::api_server::KubernetesRelease;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::structural::{Report, Structural};
use super::super::walk::MAX_ERRORS;
use super::KINDS;
use crate::testing::document;

fn messages(yaml: &str) -> Vec<String> {
    let document = document(yaml);
    let report = Structural::newest().validate(&document.value, &document.duplicate_keys);
    report.errors().iter().map(ToString::to_string).collect()
}

#[test]
fn each_family_says_what_the_server_says() {
    let mut count = 0;
    for case in include_str!("cases.txt").split("=== ").skip(1) {
        let (family, rest) = case.split_once('\n').unwrap();
        let (yaml, expected) = rest.split_once("\n---\n").unwrap();
        let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty()).collect();
        assert!(!expected.is_empty(), "{family}: {yaml}");
        assert_eq!(messages(yaml), expected, "{family}:\n{yaml}");
        count += 1;
    }
    assert!(count >= 90, "{count}");
}

#[test]
fn kinds_are_sorted_and_served() {
    assert!(KINDS.is_sorted_by(|a, b| (a.0, a.1, a.2) < (b.0, b.1, b.2)));
    for (group, version, kind, _) in KINDS {
        let version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        let report = Structural::newest().validate(&object, &[]);
        let said = report.errors().iter().map(ToString::to_string).collect::<String>();
        assert!(!matches!(report, Report::UnknownKind { .. }) && !said.contains("no matches"), "{said}");
    }
}

/// A real server fills in the service account before it validates.
#[test]
fn a_projected_token_needs_no_service_account() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  volumes: [{name: v, projected: {sources: \
               [{serviceAccountToken: {path: t}}]}}]\n  containers: [{name: c, image: i}]\n";
    assert_eq!(messages(pod), [""; 0]);
}

/// What a cluster may have and another not is not refused.
#[test]
fn what_depends_on_the_cluster_passes() {
    for yaml in [
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 203.0.113.5, ports: [{port: 80}]}\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec: {priorityClassName: high, runtimeClassName: x, \
         containers: [{name: c, image: i}]}\n",
    ] {
        assert_eq!(messages(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn errors_are_bounded() {
    let containers: Vec<Value> = (0..5_000).map(|n| json!({"name": format!("C{n}"), "env": [{}]})).collect();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}});
    assert_eq!(Structural::newest().validate(&pod, &[]).errors().len(), MAX_ERRORS);
    let long = "é".repeat(100_000);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": long}, "data": {long.clone(): "a"}});
    for error in Structural::newest().validate(&map, &[]).errors() {
        assert!(error.to_string().len() < 3_000, "{}", error.to_string().len());
    }
}

/// Puts `value` at the place that `at` chooses, walking down from the root.
fn graft(object: &mut Value, at: &[usize], value: Value) {
    let Some((step, rest)) = at.split_first() else {
        *object = value;
        return;
    };
    let child = match object {
        Value::Object(fields) if !fields.is_empty() => {
            let index = step % fields.len();
            fields.values_mut().nth(index)
        }
        Value::Array(entries) if !entries.is_empty() => {
            let index = step % entries.len();
            entries.get_mut(index)
        }
        _ => None,
    };
    match child {
        Some(child) => graft(child, rest, value),
        None => *object = value,
    }
}

proptest! {
    /// Any value at any place of a document that the rules know: an answer, no more errors than allowed, and the same twice.
    #[test]
    fn nothing_makes_the_rules_panic(
        case in 0..90_usize,
        at in prop::collection::vec(0..20_usize, 1..8),
        value in domain::testing::json(),
        again in prop::collection::vec(0..20_usize, 1..8),
        other in domain::testing::json(),
    ) {
        let yaml = include_str!("cases.txt").split("=== ").nth(case + 1).unwrap();
        let yaml = yaml.split_once('\n').unwrap().1.split_once("\n---\n").unwrap().0;
        let mut object = document(yaml).value;
        let (kind, version) = (object["kind"].clone(), object["apiVersion"].clone());
        graft(&mut object, &at, value);
        graft(&mut object, &again, other);
        if let Value::Object(fields) = &mut object {
            fields.insert("kind".to_owned(), kind);
            fields.insert("apiVersion".to_owned(), version);
        }
        let embedded = Structural::newest();
        let report = embedded.validate(&object, &[]);
        prop_assert!(report.errors().len() <= MAX_ERRORS);
        prop_assert_eq!(&report, &embedded.validate(&object, &[]));
        // Rules see what does not decode too, to tell what stood behind it.
        prop_assert!(embedded.hidden_errors(&object).len() <= MAX_ERRORS);
    }
}

/// What changed from release to release, each compared with the server of 1.30 or with the code of the release.
#[test]
fn rules_came_with_their_releases() {
    let pod = |spec: &str| format!("kind: Pod\napiVersion: v1\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
    let container = |fields: &str| pod(&format!("containers: [{{name: c, image: i, {fields}}}]"));
    let set = |spec: &str, container: &str| {
        format!(
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {{name: a}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, {spec}\
             template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: i{container}}}]}}}}}}\n"
        )
    };
    let service = |name: &str, ip: &str| {
        format!(
            "kind: Service\napiVersion: v1\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]{ip}}}\n"
        )
    };
    let scaler = "kind: HorizontalPodAutoscaler\napiVersion: autoscaling/v2\nmetadata: {name: a}\nspec: {minReplicas: 0, \
                  maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}, metrics: [{type: External, external: \
                  {metric: {name: q}, target: {type: Value, value: 1}}}]}\n";
    // The document, the first release that accepts it, and the first one after that which refuses it.
    let cases = [
        (container("env: [{name: '1 a', value: b}]"), 32, None),
        (container("lifecycle: {preStop: {sleep: {seconds: 0}}}"), 33, None),
        (
            pod(
                "dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1], searches: [.]}, containers: [{name: c, image: i}]",
            ),
            33,
            None,
        ),
        (set("serviceName: A_, ", ""), 30, Some(33)),
        (set("", ", imagePullPolicy: Sometimes"), 30, Some(34)),
        (set("volumeClaimTemplates: [{metadata: {name: d}, spec: {}}], ", ""), 30, Some(34)),
        (container("restartPolicy: Never"), 34, None),
        (pod("containers: [{name: c, image: i}], volumes: [{name: v, image: {reference: r}}]"), 31, None),
        (service("1a", ""), 36, None),
        (service("a", ", externalIPs: [010.0.0.1]"), 30, Some(36)),
        (scaler.to_owned(), 37, None),
    ];
    for (text, accepted, refused) in cases {
        let document = document(&text);
        for release in KubernetesRelease::all() {
            let report = Structural::of(release).validate(&document.value, &[]);
            let wanted =
                release.minor() >= accepted && refused.is_none_or(|refused| release.minor() < refused);
            assert_eq!(report.passes(), wanted, "{release}: {text}{:?}", report.errors());
        }
    }
}
