//! Selectors that no longer select: of a workload its own pods, of a Service its backends.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::{Neighbour, Neighbours};
use serde_json::Value;

use super::pods::{Pod, has, identity, named, paired, pod, texts};
use super::repair::Repair;

/// A workload's selector matched its pod template, and no longer does.
pub(super) fn selector_mismatch(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let after = after?;
        (matches(before)? && matches(after) == Some(false))
            .then(|| format!("the selector of {} no longer matches its pod template", named(after)))
    })
}

/// Whether a workload's selector matches its pod template; `None` without one of them.
fn matches(object: &Value) -> Option<bool> {
    let labels = pod(object)?.labels();
    let selector = object.pointer("/spec/selector").filter(|selector| selector.is_object())?;
    // A ReplicationController's selector is a map of labels.
    let old = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let wanted = if old { Some(selector) } else { selector.get("matchLabels") };
    let equal = wanted.is_none_or(|wanted| has(&labels, &texts(wanted)));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    Some(equal && expressions.into_iter().flatten().all(|expression| holds(expression, &labels)))
}

fn holds(expression: &Value, labels: &BTreeMap<&str, &str>) -> bool {
    let text = |key| expression.get(key).and_then(Value::as_str).unwrap_or_default();
    let value = labels.get(text("key"));
    let listed = || {
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).any(|wanted| Some(&wanted) == value)
    };
    match text("operator") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}

/// A Service lost its selector, its ports or the workloads that it selected, or a workload left the Services that
/// selected it. What other objects select is known only if the run read them with the document.
pub(super) fn service_without_backends(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let after = after?;
        if before.get("kind").and_then(Value::as_str) == Some("Service") {
            return service(before, after, repair.neighbours);
        }
        left_service(before, after, repair.neighbours)
    })
}

fn service(before: &Value, after: &Value, neighbours: &Neighbours) -> Option<String> {
    let selector = |object: &Value| object.pointer("/spec/selector").cloned().unwrap_or(Value::Null);
    let (was, is) = (selector(before), selector(after));
    let (was, is) = (texts(&was), texts(&is));
    let ports = |object: &Value| object.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
    let external =
        |object: &Value| object.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
    let name = named(after);
    if !was.is_empty() && is.is_empty() {
        return Some(format!("{name} has no selector any more"));
    }
    if !was.is_empty() && !external(before) && external(after) {
        return Some(format!("{name} became an external name"));
    }
    if ports(before) > 0 && ports(after) == 0 {
        return Some(format!("{name} has no port any more"));
    }
    let (_, namespace, _) = identity(after);
    let selected = |wanted: &BTreeMap<&str, &str>| {
        neighbours.objects().iter().any(|neighbour| match neighbour {
            Neighbour::Workload { pod_labels, .. } => {
                within(neighbour, namespace) && has(&borrowed(pod_labels), wanted)
            }
            _ => false,
        })
    };
    (was != is && selected(&was) && !selected(&is))
        .then(|| format!("{name} selects no workload of the input any more"))
}

/// A Service that selected the pods before, and no longer does, or no longer finds the port that it names.
fn left_service(before: &Value, after: &Value, neighbours: &Neighbours) -> Option<String> {
    let (was, is) = (pod(before)?, pod(after)?);
    let (_, namespace, _) = identity(before);
    let (old_ports, new_ports) = (port_names(&was), port_names(&is));
    neighbours.objects().iter().find_map(|neighbour| {
        let Neighbour::PodSelector { kind, name, labels, port_names, .. } = neighbour else { return None };
        let wanted = borrowed(labels);
        if kind != "Service"
            || labels.is_empty()
            || !within(neighbour, namespace)
            || !has(&was.labels(), &wanted)
        {
            return None;
        }
        if !has(&is.labels(), &wanted) {
            return Some(format!("Service {name} no longer selects {}", named(after)));
        }
        let gone = |port: &&String| old_ports.contains(port.as_str()) && !new_ports.contains(port.as_str());
        let port = port_names.iter().find(gone)?;
        Some(format!("Service {name} no longer finds the port {port} of {}", named(after)))
    })
}

/// The names of the ports of a pod's containers.
fn port_names<'a>(pod: &Pod<'a>) -> BTreeSet<&'a str> {
    let containers = pod.containers().into_iter();
    containers
        .filter_map(|(_, container)| container.get("ports").and_then(Value::as_array))
        .flatten()
        .filter_map(|port| port.get("name").and_then(Value::as_str))
        .collect()
}

fn within(neighbour: &Neighbour, namespace: &str) -> bool {
    let of = if neighbour.namespace().is_empty() { "default" } else { neighbour.namespace() };
    of == namespace
}

fn borrowed(labels: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
