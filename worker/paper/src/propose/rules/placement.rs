//! Rules on the labels of pods: anti-affinity and selectors.

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::sanitise::{dns_label, label_value};
use super::super::walk::{
    Fields, controller_pointer, filled, map, map_in, maps, metadata_pointer, pod_specs, text,
};

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn no_anti_affinity(document: &Value, out: &mut Ops) {
    for spec in pod_specs(document) {
        let metadata = map_in(document, &metadata_pointer(&spec.at));
        let (key, value) = match metadata.and_then(|metadata| map(metadata, "labels")).and_then(usable) {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => ensure_label(document, &metadata_pointer(&spec.at), out),
        };
        let expressions = json!([{"key": key, "operator": "In", "values": [value]}]);
        let affinity = spec.map("affinity");
        let rules = affinity.and_then(|affinity| map(affinity, "podAntiAffinity"));
        let preferred = rules.and_then(|rules| rules.get(PREFERRED)).and_then(Value::as_array);
        let same = |term: &Value| {
            term.pointer("/podAffinityTerm/labelSelector/matchExpressions") == Some(&expressions)
        };
        if preferred.is_some_and(|terms| terms.iter().any(same)) {
            continue;
        }
        let at = spec.at.child("affinity");
        if affinity.is_none() {
            out.add(at.clone(), json!({}));
        }
        let at = at.child("podAntiAffinity");
        if rules.is_none() {
            out.add(at.clone(), json!({}));
        }
        let at = at.child(PREFERRED);
        if preferred.is_none() {
            out.add(at.clone(), json!([]));
        }
        let selector = json!({"matchExpressions": expressions});
        let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selector});
        out.add(at.end(), json!({"weight": 100, "podAffinityTerm": term}));
    }
}

/// The first label with a key and a value.
fn usable(labels: &Fields) -> Option<(&str, &str)> {
    labels.iter().find_map(|(key, value)| {
        let value = value.as_str().filter(|value| !value.is_empty())?;
        (!key.is_empty()).then_some((key.as_str(), value))
    })
}

/// A label of the pod's metadata: the first usable one, else a new label `app`.
fn ensure_label(document: &Value, at: &Pointer, out: &mut Ops) -> (String, String) {
    let metadata = map_in(document, at);
    let labels = metadata.and_then(|metadata| map(metadata, "labels"));
    if let Some((key, value)) = labels.and_then(usable) {
        return (key.to_owned(), value.to_owned());
    }
    let name = metadata.and_then(|metadata| text(metadata, "name"));
    let value = name.map_or_else(|| "workload".to_owned(), |name| dns_label(name, "workload"));
    if metadata.is_none() {
        out.add(at.clone(), json!({}));
    }
    match labels {
        None => out.add(at.child("labels"), json!({"app": value})),
        Some(labels) => out.set(Some(labels), &at.child("labels"), "app", value.clone()),
    }
    ("app".to_owned(), value)
}

pub(super) fn mismatching_selector(document: &Value, out: &mut Ops) {
    if !document.get("spec").is_some_and(Value::is_object) {
        let labels = json!({"app": invented(document)});
        let template = json!({"metadata": {"labels": labels}, "spec": {}});
        let spec = json!({"selector": {"matchLabels": labels}, "template": template});
        return out.add(Pointer::of(["spec"]), spec);
    }
    let mut pods: Vec<Pointer> = pod_specs(document).into_iter().map(|spec| spec.at).collect();
    if pods.is_empty() {
        pods.push(Pointer::of(["spec", "template", "spec"]));
    }
    for spec in pods {
        match_selector(document, &spec, out);
    }
}

/// A value for the label `app` of an object that says nothing of its pods.
fn invented(document: &Value) -> String {
    let metadata = document.get("metadata").and_then(Value::as_object);
    let label = metadata
        .and_then(|metadata| map(metadata, "labels"))
        .and_then(|labels| labels.values().filter_map(Value::as_str).find(|value| !value.trim().is_empty()));
    let text = label.or_else(|| metadata.and_then(|metadata| filled(metadata, "name")));
    text.map_or_else(|| "workload".to_owned(), |text| dns_label(text, "workload"))
}

fn match_selector(document: &Value, spec: &Pointer, out: &mut Ops) {
    let controller = controller_pointer(spec);
    let metadata_at = metadata_pointer(spec);
    let fields = map_in(document, &controller);
    if fields.and_then(|fields| map(fields, "template")).is_none() {
        out.add(controller.child("template"), json!({"metadata": {}, "spec": {}}));
    }
    let at = controller.child("selector");
    let Some(selector) = fields.and_then(|fields| map(fields, "selector")) else {
        let (key, value) = ensure_label(document, &metadata_at, out);
        return out.add(at, json!({"matchLabels": {key: value}}));
    };
    let mut wanted: Fields = map(selector, "matchLabels").map(sanitised).unwrap_or_default();
    if wanted.is_empty() {
        let (key, value) = ensure_label(document, &metadata_at, out);
        wanted.insert(key, value.into());
    } else {
        label_template(map_in(document, &metadata_at), &metadata_at, &wanted, out);
    }
    match map(selector, "matchLabels") {
        Some(labels) if *labels != wanted => out.replace(at.child("matchLabels"), wanted),
        Some(_) => {}
        None => out.add(at.child("matchLabels"), wanted),
    }
    for (index, expression) in maps(selector, "matchExpressions") {
        let Some(values) = expression.get("values").and_then(Value::as_array) else { continue };
        let clean: Vec<Value> = values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.clone(), |text| label_value(text).into()))
            .collect();
        if clean != *values {
            out.replace(at.child("matchExpressions").index(index).child("values"), clean);
        }
    }
}

/// The selector's labels as legal values; blank ones are dropped.
fn sanitised(labels: &Fields) -> Fields {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| {
                number.as_f64().map(|number| {
                    #[expect(clippy::cast_possible_truncation, reason = "the original cuts to an integer")]
                    let whole = number.trunc() as i64;
                    whole
                })
            })
            .map(|number| number.to_string()),
        _ => None,
    };
    let pairs = labels.iter().filter_map(|(key, value)| {
        let clean = label_value(&text(value)?);
        (!clean.is_empty()).then(|| (key.clone(), clean.into()))
    });
    pairs.collect()
}

fn label_template(metadata: Option<&Fields>, at: &Pointer, wanted: &Fields, out: &mut Ops) {
    let Some(metadata) = metadata else { return out.add(at.clone(), json!({"labels": wanted})) };
    let labels_at = at.child("labels");
    let Some(labels) = map(metadata, "labels") else { return out.add(labels_at, wanted.clone()) };
    for (key, value) in wanted {
        if labels.get(key) != Some(value) {
            out.set(Some(labels), &labels_at, key, value.clone());
        }
    }
}
