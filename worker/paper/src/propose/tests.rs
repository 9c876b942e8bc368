use domain::config::Limits;
use domain::policy::{PolicyId, PolicyName};
use engine::document::Document;
use engine::verify::apply;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn document(yaml: &str) -> Document {
    Document::parse(yaml, &Limits::default()).unwrap()
}

fn decision(yaml: &str, policy: PolicyId) -> Decision {
    propose(&document(yaml).value, &PolicyName::Known(policy), Source::Manifest)
}

fn proposal(yaml: &str, policy: PolicyId) -> Proposal {
    match decision(yaml, policy) {
        Decision::Repair(proposal) => proposal,
        other => panic!("{other:?}"),
    }
}

/// The policy's own operations, as JSON.
fn own(yaml: &str, policy: PolicyId) -> Value {
    let Proposal { mut patch, collateral_ops, .. } = proposal(yaml, policy);
    patch.0.truncate(patch.len() - collateral_ops as usize);
    serde_json::to_value(patch).unwrap()
}

fn pod(container: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{container}]}}")
}

#[test]
fn the_whole_patch_of_a_cron_job() {
    let yaml = "
apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: Nightly_Job}
spec:
  jobTemplate: {spec: {template: {spec: {containers: [
    {name: a, image: x, volumeMounts: [{name: d, mountPath: /d}]}]}}}}
";
    let proposal = proposal(yaml, PolicyId::NoPrivileged);
    let t = "/spec/jobTemplate/spec/template/spec";
    let sc = format!("{t}/containers/0/securityContext");
    let drop = ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_CHROOT"];
    let requests = json!({"cpu": "100m", "memory": "128Mi"});
    let limits = json!({"cpu": "500m", "memory": "256Mi"});
    let expected = json!([
        {"op": "add", "path": sc, "value": {"privileged": false}},
        {"op": "add", "path": "/spec/schedule", "value": "0 0 * * *"},
        {"op": "add", "path": format!("{t}/restartPolicy"), "value": "OnFailure"},
        {"op": "replace", "path": "/apiVersion", "value": "batch/v1"},
        {"op": "replace", "path": "/metadata/name", "value": "nightly-job"},
        {"op": "add", "path": format!("{t}/volumes"), "value": [{"name": "d", "emptyDir": {}}]},
        {"op": "add", "path": format!("{sc}/capabilities"), "value": {"drop": drop}},
        {"op": "add", "path": format!("{sc}/allowPrivilegeEscalation"), "value": false},
        {"op": "replace", "path": format!("{t}/containers/0/image"), "value": "x:stable"},
        {"op": "add", "path": format!("{t}/containers/0/resources"), "value": {"requests": requests, "limits": limits}},
        {"op": "add", "path": format!("{sc}/runAsNonRoot"), "value": true},
        {"op": "add", "path": format!("{sc}/readOnlyRootFilesystem"), "value": true}
    ]);
    assert_eq!(serde_json::to_value(&proposal.patch).unwrap(), expected);
    assert!(proposal.hardened);
    assert_eq!(proposal.collateral_ops, 11);
}

#[test]
fn rules_that_no_published_record_shows() {
    let sc = "/spec/containers/0/securityContext";
    let bare = pod("{name: a, image: 'x:1'}");
    for (policy, value) in [
        (PolicyId::RunAsUser, json!({"runAsUser": 1000})),
        (PolicyId::EnforceSeccomp, json!({"seccompProfile": {"type": "RuntimeDefault"}})),
        (PolicyId::NoAllowPrivilegeEscalation, json!({"allowPrivilegeEscalation": false})),
        (
            PolicyId::DropCapSysAdmin,
            json!({"capabilities": {"drop": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": false}),
        ),
    ] {
        assert_eq!(own(&bare, policy), json!([{"op": "add", "path": sc, "value": value}]), "{policy}");
    }
    let added = pod("{securityContext: {capabilities: {add: [SYS_ADMIN, CHOWN, sys_admin]}}}");
    assert_eq!(
        own(&added, PolicyId::DropCapSysAdmin),
        json!([
            {"op": "add", "path": format!("{sc}/capabilities/drop"), "value": ["SYS_ADMIN"]},
            {"op": "remove", "path": format!("{sc}/capabilities/add/2")},
            {"op": "remove", "path": format!("{sc}/capabilities/add/0")},
            {"op": "add", "path": format!("{sc}/allowPrivilegeEscalation"), "value": false}
        ])
    );
}

#[test]
fn a_secret_that_is_mounted_is_used_with_the_item_that_fits() {
    let yaml = "
kind: Pod
spec:
  volumes: [{name: v, secret: {secretName: creds, items: [{key: user, path: u}, {key: db-password, path: pw}]}}]
  containers:
  - name: a
    volumeMounts: [{name: v, mountPath: /run/creds/}]
    env: [{name: DB_PASSWORD, value: /run/creds/pw}, {name: API_SECRET, value: x}]
";
    let reference = |name: &str, key: &str| json!({"secretKeyRef": {"name": name, "key": key}});
    assert_eq!(
        own(yaml, PolicyId::EnvVarSecret),
        json!([
            {"op": "replace", "path": "/spec/containers/0/env/0",
             "value": {"name": "DB_PASSWORD", "valueFrom": reference("creds", "db-password")}},
            {"op": "replace", "path": "/spec/containers/0/env/1",
             "value": {"name": "API_SECRET", "valueFrom": reference("creds", "api_secret")}}
        ])
    );
    let alone = pod("{env: [{name: DB_PASSWORD, value: hunter2}]}");
    assert_eq!(
        own(&alone, PolicyId::EnvVarSecret)[0]["value"]["valueFrom"],
        reference("db-password-secret", "db_password")
    );
}

#[test]
fn requests_and_limits_keep_what_is_there_and_a_request_is_cut_to_its_limit() {
    let proposal =
        proposal(&pod("{image: 'x:1', resources: {limits: {memory: 64Mi}}}"), PolicyId::SetRequestsLimits);
    let patch = serde_json::to_value(&proposal.patch).unwrap();
    assert_eq!(
        patch[0]["value"],
        json!({
            "limits": {"memory": "64Mi", "cpu": "500m"},
            "requests": {"cpu": "100m", "memory": "128Mi"}
        })
    );
    let cut =
        json!({"op": "replace", "path": "/spec/containers/0/resources/requests/memory", "value": "64Mi"});
    assert!(patch.as_array().unwrap().contains(&cut), "{patch}");
}

#[test]
fn a_claim_s_metadata_is_cleaned_although_the_subtree_was_moved_first() {
    let yaml = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec:
  schedule: '0 1 * * *'
  jobTemplate:
    template:
      spec:
        restartPolicy: Never
        volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {clusterName: x}}}}]
        containers: [{name: a, image: 'x:latest'}]
";
    let proposal = proposal(yaml, PolicyId::NoPrivileged);
    let patched = apply(&document(yaml).value, &proposal.patch).unwrap();
    let pod = &patched["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["ephemeral"]["volumeClaimTemplate"], json!({}));
    assert!(patched["spec"]["jobTemplate"].get("template").is_none());
}

#[test]
fn what_the_original_could_not_do_is_said() {
    let review = |yaml: &str, policy| match decision(yaml, policy) {
        Decision::NeedsReview { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        review("kind: Service\nspec: {}", PolicyId::JobTtlAfterFinished),
        "policy expects a Job or CronJob resource"
    );
    assert_eq!(
        review("kind: CronJob\nspec: {jobTemplate: {template: {}}}", PolicyId::JobTtlAfterFinished),
        "job template spec missing"
    );
    let done = pod("{image: 'x:1', securityContext: {privileged: false}}");
    assert!(matches!(decision(&done, PolicyId::NoPrivileged), Decision::NotApplicable { .. }));
    let unknown = PolicyName::normalise("pdb-min-available");
    assert_eq!(propose(&json!({}), &unknown, Source::Manifest), Decision::NoRule);
}

#[test]
fn the_view_is_dropped_where_its_patch_does_not_fit_the_document() {
    let job = "kind: Job\nmetadata: {name: j}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}";
    let cron = "kind: CronJob\nmetadata: {name: c}\nspec: {schedule: '1 1 1 1 1', jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: x}]}}}}}";
    let source = Source::Record { raw_policy_id: "latest-tag" };
    let paths = |yaml: &str| match propose(
        &document(yaml).value,
        &PolicyName::Known(PolicyId::NoLatestTag),
        source,
    ) {
        Decision::Repair(proposal) => {
            proposal.patch.0.iter().map(|op| op.path().to_string()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    // The view has lost restartPolicy, as it had when the published patches were made.
    assert!(paths(job).contains(&"/spec/template/spec/restartPolicy".to_owned()));
    // The view of the CronJob has lost a level: its patch would not apply.
    assert_eq!(paths(cron)[0], "/spec/jobTemplate/spec/template/spec/containers/0/image");
    assert!(!paths(cron).contains(&"/spec/schedule".to_owned()));
}

const FIELDS: [&str; 8] =
    ["name", "image", "securityContext", "resources", "env", "ports", "volumeMounts", "livenessProbe"];

fn manifest() -> impl Strategy<Value = Value> {
    let container =
        prop::collection::btree_map(prop::sample::select(&FIELDS[..]), domain::testing::json(), 0..5);
    let pod = (prop::collection::vec(container, 0..3), domain::testing::json(), domain::testing::json()).prop_map(
        |(containers, volumes, context)| {
            json!({"containers": containers, "volumes": [volumes], "securityContext": context})
        },
    );
    let kind = prop::sample::select(&["Pod", "Deployment", "Job", "CronJob", "Service", "X"][..]);
    (kind, pod, domain::testing::json(), 0..4_u8).prop_map(|(kind, pod, metadata, shape)| {
        let template = json!({"metadata": metadata, "spec": pod});
        let spec = match shape {
            0 => pod,
            1 => json!({"template": template, "selector": metadata}),
            2 => json!({"jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"jobTemplate": {"template": template}}),
        };
        json!({"kind": kind, "metadata": metadata, "spec": spec})
    })
}

proptest! {
    #[test]
    fn every_repair_applies_to_its_document(
        document in prop_oneof![manifest(), domain::testing::json()],
        policy in prop::sample::select(PolicyId::PAPER),
        pruned in any::<bool>(),
    ) {
        let source = if pruned { Source::Record { raw_policy_id: "env" } } else { Source::Manifest };
        if let Decision::Repair(proposal) = propose(&document, &PolicyName::Known(policy), source) {
            prop_assert!(apply(&document, &proposal.patch).is_ok());
            prop_assert!(proposal.collateral_ops as usize <= proposal.patch.len());
        }
    }

    #[test]
    fn a_view_that_keeps_all_is_the_document(document in manifest()) {
        let view = prune(&document, "env");
        prop_assert!(!prune::keeps_all(&document, "env") || view == document);
    }
}
