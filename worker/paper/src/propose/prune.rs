//! The pruned view of a document that the published rules read: only the fields on a list. A defect of the paper's code,
//! needed to reproduce its patches; the document that is patched and verified is not pruned.

use serde_json::{Value, json};

use super::walk::Fields;

const DOCUMENT: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Kept in every spec as it stands.
const SPEC: [&str; 15] = [
    "volumes",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "affinity",
    "selector",
    "replicas",
    "ttlSecondsAfterFinished",
    "unhealthyPodEvictionPolicy",
    "type",
    "externalName",
    "ports",
    "clusterIP",
    "sessionAffinity",
    "data",
];

const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

const CONTAINER: [&str; 15] = [
    "name",
    "image",
    "securityContext",
    "resources",
    "env",
    "envFrom",
    "ports",
    "volumeMounts",
    "command",
    "args",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "workingDir",
    "imagePullPolicy",
];

/// The view of `document` for a finding under `raw_policy_id`.
pub fn prune(document: &Value, raw_policy_id: &str) -> Value {
    let Some(fields) = document.as_object() else { return document.clone() };
    let more = more(raw_policy_id);
    let mut view = kept(fields, &["apiVersion", "kind"]);
    if let Some(metadata) = fields.get("metadata").and_then(Value::as_object) {
        view.insert("metadata".to_owned(), kept(metadata, &METADATA).into());
    }
    match fields.get("spec") {
        Some(Value::Object(fields)) => {
            view.insert("spec".to_owned(), spec(fields, more).into());
        }
        _ => {
            view.insert("spec".to_owned(), json!({}));
        }
    }
    Value::Object(view)
}

/// What a spec keeps for some findings only.
fn more(raw_policy_id: &str) -> &'static [&'static str] {
    let raw = raw_policy_id.to_lowercase();
    match (raw.contains("host_path"), raw.contains("env")) {
        (true, true) => &["stringData", "volumeMounts", "env", "envFrom"],
        (true, false) => &["stringData", "volumeMounts"],
        (false, true) => &["stringData", "env", "envFrom"],
        (false, false) => &["stringData"],
    }
}

/// Whether the view is the document itself: most published copies were pruned when they were written, and looking is
/// cheaper than copying. May say no where nothing would be lost, never yes where something would.
pub(super) fn keeps_all(document: &Value, raw_policy_id: &str) -> bool {
    let Some(fields) = document.as_object() else { return true };
    let spec = fields.get("spec").and_then(Value::as_object);
    let metadata = fields.get("metadata");
    fields.iter().all(|(key, value)| DOCUMENT.contains(&key.as_str()) && !value.is_null())
        && metadata.is_none_or(|metadata| metadata.as_object().is_some_and(|fields| only(fields, &METADATA)))
        && spec.is_some_and(|spec| keeps_spec(spec, more(raw_policy_id)))
}

fn only(fields: &Fields, keys: &[&str]) -> bool {
    fields.iter().all(|(key, value)| keys.contains(&key.as_str()) && !value.is_null())
}

fn keeps_spec(fields: &Fields, more: &[&str]) -> bool {
    fields.iter().all(|(key, value)| match key.as_str() {
        key if CONTAINER_LISTS.contains(&key) => value.as_array().is_some_and(|items| {
            items.iter().all(|item| item.as_object().is_none_or(|fields| only(fields, &CONTAINER)))
        }),
        "template" => value.as_object().is_some_and(|template| keeps_template(template, more)),
        key => !value.is_null() && (SPEC.contains(&key) || more.contains(&key)),
    })
}

fn keeps_template(fields: &Fields, more: &[&str]) -> bool {
    let keeps = |(key, value): (&String, &Value)| match (key.as_str(), value.as_object()) {
        ("metadata", Some(fields)) => !fields.is_empty() && only(fields, &METADATA),
        ("spec", Some(fields)) => !fields.is_empty() && keeps_spec(fields, more),
        _ => false,
    };
    !fields.is_empty() && fields.iter().all(keeps)
}

/// The keys of a list that are not null, in the order of the document.
fn kept(fields: &Fields, keys: &[&str]) -> Fields {
    let pairs = fields.iter().filter(|(key, value)| keys.contains(&key.as_str()) && !value.is_null());
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn spec(fields: &Fields, more: &[&str]) -> Fields {
    let mut view = Fields::new();
    for (key, value) in fields {
        let seen = match key.as_str() {
            key if value.is_null() && !SPEC.contains(&key) => None,
            key if CONTAINER_LISTS.contains(&key) => Some(containers(value)),
            "template" => template(value, more).map(Value::Object),
            "jobTemplate" => job_template(value, more),
            key if SPEC.contains(&key) || more.contains(&key) => Some(value.clone()),
            _ => None,
        };
        if let Some(seen) = seen {
            view.insert(key.clone(), seen);
        }
    }
    view
}

fn containers(list: &Value) -> Value {
    let Value::Array(items) = list else { return list.clone() };
    let pruned = items.iter().map(|item| match item.as_object() {
        Some(fields) => kept(fields, &CONTAINER).into(),
        None => item.clone(),
    });
    pruned.collect()
}

fn template(value: &Value, more: &[&str]) -> Option<Fields> {
    let mut view = Fields::new();
    let metadata = value.get("metadata").and_then(Value::as_object).map(|fields| kept(fields, &METADATA));
    if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
        view.insert("metadata".to_owned(), metadata.into());
    }
    let spec = value.get("spec").and_then(Value::as_object).map(|fields| spec(fields, more));
    if let Some(spec) = spec.filter(|spec| !spec.is_empty()) {
        view.insert("spec".to_owned(), spec.into());
    }
    (!view.is_empty()).then_some(view)
}

/// The level of the job's spec is lost.
fn job_template(value: &Value, more: &[&str]) -> Option<Value> {
    let inner = value.pointer("/spec/template").or_else(|| value.get("template"))?;
    Some(json!({ "template": template(inner, more)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_spec_and_all_that_is_not_listed_are_lost() {
        let pod = json!({"containers": [{"name": "a", "tty": true}], "restartPolicy": "Never"});
        let cron = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "status": {},
            "metadata": {"generateName": "x-", "namespace": null, "labels": {"a": "b"}},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"backoffLimit": 1, "template": {"spec": pod}}}}
        });
        assert_eq!(
            prune(&cron, "latest-tag"),
            json!({
                "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"labels": {"a": "b"}},
                "spec": {"jobTemplate": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
            })
        );
        assert_eq!(prune(&prune(&cron, "x"), "x"), prune(&cron, "x"));
        assert!(!keeps_all(&cron, "x"));
    }

    #[test]
    fn a_document_of_which_nothing_is_lost_is_its_own_view() {
        let pod = json!({"containers": [{"name": "a"}], "volumes": null});
        let kept = json!({"kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
        assert!(keeps_all(&kept, "x"));
        assert_eq!(prune(&kept, "x"), kept);
        for lost in [
            json!({"kind": "Job", "status": {}, "spec": {}}),
            json!({"kind": "Job", "metadata": {"uid": "1"}, "spec": {}}),
            json!({"kind": "Job"}),
            json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "tty": true}]}}),
            json!({"kind": "Job", "spec": {"template": {"metadata": {}, "spec": pod}}}),
            json!({"kind": "Pod", "spec": {"hostPID": true}}),
        ] {
            assert!(!keeps_all(&lost, "x"), "{lost}");
        }
    }
}
