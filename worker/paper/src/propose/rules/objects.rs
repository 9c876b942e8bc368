//! Rules on whole objects: Services, disruption budgets, Jobs.

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::refusal::Refusal;
use super::super::walk::{Fields, filled, is_kind, map, map_at};

fn part<'a>(document: &'a Value, key: &str) -> Option<&'a Fields> {
    document.get(key).and_then(Value::as_object)
}

/// Turns the Service into an alias of its own name, which destroys it (published as accepted 883 times).
pub(super) fn dangling_service(document: &Value, out: &mut Ops) {
    let spec_at = Pointer::of(["spec"]);
    let metadata_at = Pointer::of(["metadata"]);
    let spec = part(document, "spec");
    if spec.is_none() {
        out.add(spec_at.clone(), json!({}));
    }
    let metadata = part(document, "metadata");
    if metadata.is_none() {
        out.add(metadata_at.clone(), json!({}));
    }
    let mut identity = |key: &str, default: &str| {
        metadata.and_then(|metadata| filled(metadata, key)).map_or_else(
            || {
                out.add(metadata_at.child(key), default);
                default.to_owned()
            },
            str::to_owned,
        )
    };
    let name = identity("name", "external-service");
    let namespace = identity("namespace", "default");
    if spec.and_then(|spec| spec.get("type")).and_then(Value::as_str) != Some("ExternalName") {
        out.set(spec, &spec_at, "type", "ExternalName");
    }
    for key in ["selector", "ports", "clusterIP"] {
        if spec.is_some_and(|spec| spec.contains_key(key)) {
            out.remove(spec_at.child(key));
        }
    }
    out.add(spec_at.child("externalName"), format!("{name}.{namespace}.svc.cluster.local"));
}

pub(super) fn disruption_budget(document: &Value, out: &mut Ops) -> Result<(), Refusal> {
    if !is_kind(document, "PodDisruptionBudget") {
        return Err(Refusal::Refused("policy expects a PodDisruptionBudget resource"));
    }
    let Some(spec) = part(document, "spec") else {
        return Err(Refusal::Refused("PodDisruptionBudget spec missing"));
    };
    if filled(spec, "unhealthyPodEvictionPolicy").is_some() {
        return Err(Refusal::NothingToFix);
    }
    out.set(Some(spec), &Pointer::of(["spec"]), "unhealthyPodEvictionPolicy", "AlwaysAllow");
    Ok(())
}

pub(super) fn job_ttl(document: &Value, out: &mut Ops) -> Result<(), Refusal> {
    const FIELD: &str = "ttlSecondsAfterFinished";
    let spec = part(document, "spec");
    if is_kind(document, "Job") {
        let Some(spec) = spec else { return Err(Refusal::Refused("job spec missing")) };
        if spec.get(FIELD).and_then(Value::as_i64).is_some_and(|ttl| ttl > 0) {
            return Err(Refusal::NothingToFix);
        }
        out.set(Some(spec), &Pointer::of(["spec"]), FIELD, 3600);
        return Ok(());
    }
    if !is_kind(document, "CronJob") {
        return Err(Refusal::Refused("policy expects a Job or CronJob resource"));
    }
    if spec.and_then(|spec| map(spec, "jobTemplate")).is_none() {
        return Err(Refusal::Refused("job template missing"));
    }
    let Some(job) = spec.and_then(|spec| map_at(spec, &["jobTemplate", "spec"])) else {
        return Err(Refusal::Refused("job template spec missing"));
    };
    if !job.contains_key(FIELD) {
        return Err(Refusal::NothingToFix);
    }
    out.remove(Pointer::of(["spec", "jobTemplate", "spec", FIELD]));
    Ok(())
}
