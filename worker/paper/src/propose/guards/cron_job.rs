//! Guards for `CronJob`s: the level of the job's spec that pruning lost, the API version, the metadata of claims.

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{Fields, Node, filled, is_kind, map, map_at};
use super::claims::remove_cluster_name;
use super::jobs::restart_policy;

/// Way from the `CronJob`'s spec to its pod template.
const TEMPLATE: [&str; 3] = ["jobTemplate", "spec", "template"];

fn spec(document: &Value) -> Option<&Fields> {
    document.get("spec").and_then(Value::as_object).filter(|_| is_kind(document, "CronJob"))
}

pub(super) fn shape(document: &Value, out: &mut Ops) {
    let Some(spec) = spec(document) else { return };
    let Some(job) = map(spec, "jobTemplate") else { return };
    let lost = map(job, "template");
    let Some(template) = map_at(spec, &TEMPLATE).or(lost) else { return };
    let at = Pointer::of(["spec"]);
    if filled(spec, "schedule").is_none() {
        out.set(Some(spec), &at, "schedule", "0 0 * * *");
    }
    if let Some(lost) = lost {
        let job_at = at.child("jobTemplate");
        match map(job, "spec") {
            None => out.add(job_at.child("spec"), json!({"template": lost})),
            Some(inner) if !inner.contains_key("template") => {
                out.add(job_at.join(&["spec", "template"]), lost.clone());
            }
            Some(_) => {}
        }
        out.remove(job_at.child("template"));
    }
    restart_policy(template, &at.join(&TEMPLATE), out);
}

pub(super) fn api_version(document: &Value, out: &mut Ops) {
    let right = document.get("apiVersion").and_then(Value::as_str) == Some("batch/v1");
    if is_kind(document, "CronJob") && !right {
        out.set_not_null(document.as_object(), &Pointer::ROOT, "apiVersion", "batch/v1");
    }
}

pub(super) fn claim_metadata(document: &Value, out: &mut Ops) {
    let Some(pod) = spec(document).and_then(|spec| map_at(spec, &TEMPLATE)?.get("spec")?.as_object()) else {
        return;
    };
    let pod = Node { at: Pointer::of(["spec"]).join(&TEMPLATE).child("spec"), fields: pod };
    for volume in pod.list("volumes") {
        remove_cluster_name(&volume, out);
    }
}
