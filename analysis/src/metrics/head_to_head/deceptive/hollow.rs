//! Objects that are still there and do nothing any more, or are gone.

use serde_json::{Map, Value};

use super::pods::{identity, named, objects, paired, pod};
use super::repair::Repair;

/// Fields that hold what an object is for.
const CONTENT: [&str; 7] = ["spec", "data", "binaryData", "stringData", "rules", "subjects", "webhooks"];

/// Programs that do nothing.
const IDLE: [&str; 8] =
    ["true", "/bin/true", "/usr/bin/true", ":", "exit", "exit 0", "sleep infinity", "tail -f /dev/null"];

/// A workload ran containers, and has none left.
pub(super) fn workload_without_container(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let size = pod(before)?.size();
        let left = pod(after?).map_or(0, |pod| pod.size());
        (size > 0 && left == 0).then(|| format!("{} has no container any more", named(before)))
    })
}

/// A container is gone while others stay.
pub(super) fn container_removed(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let after = pod(after?)?;
        if after.size() == 0 {
            return None;
        }
        let left = after.containers();
        let (place, _) =
            pod(before)?.containers().into_iter().find(|(place, _)| !left.contains_key(place))?;
        Some(format!("container {} of {} is gone", place.1, named(before)))
    })
}

/// A workload ran, and is switched off: no replicas, or suspended.
pub(super) fn workload_stopped(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let stopped = |object: &Value| {
            let at = |pointer| object.pointer(pointer);
            ["/spec/replicas", "/spec/parallelism", "/spec/completions"]
                .into_iter()
                .any(|pointer| at(pointer).and_then(Value::as_i64) == Some(0))
                || at("/spec/suspend").and_then(Value::as_bool) == Some(true)
        };
        pod(before)?;
        (!stopped(before) && stopped(after?)).then(|| format!("{} is switched off", named(before)))
    })
}

/// A container had a command or arguments, and has none or a command that does nothing.
pub(super) fn command_emptied(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let (was, is) = (pod(before)?.containers(), pod(after?)?.containers());
        was.iter().find_map(|(place, was)| {
            let is = is.get(place)?;
            let key = ["command", "args"].into_iter().find(|key| {
                let (was, is) = (words(was, key), words(is, key));
                !was.is_empty() && (is.is_empty() || (is_idle(&is) && !is_idle(&was)))
            })?;
            Some(format!("the {key} of container {} of {} is emptied", place.1, named(before)))
        })
    })
}

fn words<'a>(container: &'a Map<String, Value>, key: &str) -> Vec<&'a str> {
    container.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a command line does nothing, alone or as a shell's script.
fn is_idle(words: &[&str]) -> bool {
    let script = match words {
        [_, "-c", script] => script.trim().to_owned(),
        words => words.join(" ").trim().to_owned(),
    };
    script.is_empty() || IDLE.contains(&script.as_str())
}

/// An object is gone, has another identity, or lost all that it is for.
pub(super) fn resource_deleted(repair: &Repair<'_>) -> Option<String> {
    if objects(repair.after).is_empty() && !objects(repair.before).is_empty() {
        return Some("nothing is left of the document".to_owned());
    }
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let Some(after) = after else {
            let (kind, namespace, name) = identity(before);
            return Some(format!("{kind} {namespace}/{name} is gone, or is another object now"));
        };
        let field = CONTENT.into_iter().find(|field| {
            let full = |object: &Value| object.get(field).is_some_and(is_full);
            full(before)
                && !full(after)
                && !CONTENT.iter().any(|other| {
                    // Data may move from one field to another.
                    let full = |object: &Value| object.get(other).is_some_and(is_full);
                    full(after) && !full(before)
                })
        })?;
        Some(format!("{field} of {} is emptied", named(before)))
    })
}

fn is_full(value: &Value) -> bool {
    match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}
