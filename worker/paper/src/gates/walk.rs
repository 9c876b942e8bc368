//! Traversal of the published gates: every spec below `/spec`, of any kind.

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// The lists of a pod spec that hold containers, in the order they were read.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The specs of a document, outermost first. With `lost_job_spec` the template of a `CronJob` without the level of the
/// job's spec is looked into (so for containers, not for volumes and pod settings).
pub(super) fn specs(document: &Value, lost_job_spec: bool) -> Vec<&Fields> {
    let mut found = Vec::new();
    if let Some(spec) = document.get("spec").and_then(Value::as_object) {
        collect(spec, lost_job_spec, &mut found);
    }
    found
}

fn collect<'a>(spec: &'a Fields, lost_job_spec: bool, found: &mut Vec<&'a Fields>) {
    found.push(spec);
    let inner = |map: Option<&'a Value>| map.and_then(|map| map.get("spec")).and_then(Value::as_object);
    let job = spec.get("jobTemplate");
    let job_spec = inner(job).and_then(|job_spec| inner(job_spec.get("template")));
    let lost = job.filter(|_| lost_job_spec).and_then(|job| inner(job.get("template")));
    for next in [inner(spec.get("template")), job_spec, lost].into_iter().flatten() {
        collect(next, lost_job_spec, found);
    }
}

/// The specs that hold at least one list of containers.
pub(super) fn pod_specs(document: &Value) -> Vec<&Fields> {
    let mut found = specs(document, false);
    found.retain(|spec| LISTS.iter().any(|key| spec.get(*key).is_some_and(Value::is_array)));
    found
}

/// Every container of every spec.
pub(super) fn containers(document: &Value) -> Vec<&Fields> {
    let specs = specs(document, true);
    specs.into_iter().flat_map(|spec| LISTS.iter().flat_map(move |key| maps(spec, key))).collect()
}

/// The maps of a list; other entries, and anything but a list, count as absent.
pub(super) fn maps<'a>(fields: &'a Fields, key: &str) -> impl Iterator<Item = &'a Fields> + use<'a> {
    let list = fields.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_object)
}

/// A map below `fields`.
pub(super) fn map<'a>(fields: &'a Fields, key: &str) -> Option<&'a Fields> {
    fields.get(key).and_then(Value::as_object)
}

/// A text below `fields` that is more than blanks.
pub(super) fn text<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// Whether a key is the boolean `expected` (`"true"` and `1` are not).
pub(super) fn flag(fields: &Fields, key: &str, expected: bool) -> bool {
    fields.get(key) == Some(&Value::Bool(expected))
}

/// The entries of a list that are texts.
pub(super) fn texts<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<Vec<&'a str>> {
    let list = fields.get(key)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_template_without_job_spec_is_for_containers_only() {
        let lost = json!({"spec": {"jobTemplate": {"template": {"spec": {"containers": [{}, null, {}]}}}}});
        assert_eq!(containers(&lost).len(), 2);
        assert!(pod_specs(&lost).is_empty());
        let whole =
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"initContainers": [{}]}}}}}});
        assert_eq!((containers(&whole).len(), pod_specs(&whole).len()), (1, 1));
    }
}
