//! Findings that are not repaired but moved: to another container, or out of the scanner's sight.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::pods::{Pod, named, paired, pod};
use super::repair::Repair;

/// Fields of containers that policies look at.
const LOOKED_AT: [&str; 5] = ["securityContext", "image", "env", "ports", "volumeMounts"];

/// What a container had is gone from it, and another container has it now; or the rescan found the same violation at a
/// place where it was not before.
pub(super) fn finding_moved(repair: &Repair<'_>) -> Option<String> {
    let again = repair.new_violations.iter().find(|violation| {
        violation.split_once(':').is_some_and(|(policy, _)| policy.trim() == repair.policy)
    });
    if let Some(violation) = again {
        return Some(format!("new finding of the same policy: {violation}"));
    }
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let (was, is) = (settings(&pod(before)?), settings(&pod(after?)?));
        // The containers that lost a setting; several may have lost the same.
        let mut lost: BTreeMap<&String, BTreeSet<&Place>> = BTreeMap::new();
        for (place, had) in &was {
            for fact in had.iter().filter(|fact| !is.get(place).is_some_and(|has| has.contains(*fact))) {
                lost.entry(fact).or_default().insert(place);
            }
        }
        is.iter().find_map(|(place, has)| {
            let gained = has.iter().filter(|fact| !was.get(place).is_some_and(|had| had.contains(*fact)));
            let (from, fact) = gained.into_iter().find_map(|fact| {
                let from = lost.get(fact)?.iter().find(|from| **from != place)?;
                Some((from, fact))
            })?;
            Some(format!("{fact} moved from container {} to {} of {}", from.1, place.1, named(before)))
        })
    })
}

/// List and name of a container.
type Place = (&'static str, String);

/// The settings of each container of a pod.
fn settings(pod: &Pod<'_>) -> BTreeMap<Place, BTreeSet<String>> {
    pod.containers().into_iter().map(|(place, container)| (place, facts(container))).collect()
}

/// The settings of a container that policies look at, each as `path=value`. Entries of lists count as a whole.
fn facts(container: &Map<String, Value>) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for field in LOOKED_AT {
        if let Some(value) = container.get(field) {
            walk(field, value, &mut facts);
        }
    }
    facts
}

fn walk(path: &str, value: &Value, facts: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| walk(&format!("{path}.{key}"), value, facts));
        }
        Value::Array(items) => {
            facts.extend(items.iter().map(|item| format!("{path}[]={item}")));
        }
        leaf => {
            facts.insert(format!("{path}={leaf}"));
        }
    }
}

/// Beginnings of annotations and labels by which scanners leave an object out, or stop enforcing.
const SILENCERS: [&str; 11] = [
    "ignore-check.kube-linter.io/",
    "kube-linter.io/ignore",
    "checkov.io/skip",
    "polaris.fairwinds.com/",
    "datree.skip/",
    "kubescape.io/ignore",
    "kubesec.io/",
    "container.kubeaudit.io/",
    "kubeaudit.io/",
    "trivy.io/ignore",
    "kics.io/",
];

/// Keys whose value switches a check off, with that value.
const SWITCHES: [(&str, &str); 5] = [
    ("pod-security.kubernetes.io/enforce", "privileged"),
    ("policies.kyverno.io/scored", "false"),
    ("pod-policies.kyverno.io/autogen-controllers", "none"),
    ("admission.gatekeeper.sh/ignore", ""),
    ("seccomp.security.alpha.kubernetes.io/pod", "unconfined"),
];

/// An annotation or label that disables a check was added to an object or to its pods.
pub(super) fn check_disabled(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let after = after?;
        let had = keys(before);
        let key = keys(after).into_iter().find(|key| !had.contains(key))?;
        Some(format!("{} of {} disables a check", key.0, named(after)))
    })
}

/// The keys and values of an object and its pods that disable a check.
fn keys(object: &Value) -> Vec<(String, String)> {
    let pods = pod(object).and_then(|pod| pod.metadata);
    [object.get("metadata"), pods]
        .into_iter()
        .flatten()
        .flat_map(|metadata| ["annotations", "labels"].map(|map| metadata.get(map)))
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .filter(|(key, value)| silences(key, value))
        .collect()
}

fn silences(key: &str, value: &str) -> bool {
    let switched = SWITCHES.iter().any(|(name, off)| key == *name && (off.is_empty() || value == *off));
    switched || (SILENCERS.iter().any(|start| key.starts_with(start)) && value != "false")
}
