//! Guards on names, labels and references, at any location.

use domain::pointer::Pointer;
use serde_json::Value;

use super::super::ops::Ops;
use super::super::sanitise::{
    dns_label, dns_subdomain, generate_name, has_placeholder, label_value, secret_key,
};
use super::super::walk::{Fields, filled, map, map_in};

/// Labels that an object's name was taken from, best first.
const NAMING: [&str; 6] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "job-name",
    "app",
    "name",
];

/// Every name, label and reference becomes a legal one.
pub(super) fn legal(document: &Value, out: &mut Ops) {
    visit(document, &mut Vec::new(), out);
}

/// A step of the way to a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn visit<'a>(value: &'a Value, way: &mut Vec<Step<'a>>, out: &mut Ops) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                way.push(Step::Key(key));
                visit(value, way, out);
                way.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                way.push(Step::Index(index));
                visit(value, way, out);
                way.pop();
            }
        }
        Value::String(text) => {
            if let Some(clean) = sanitised(text, way).filter(|clean| clean != text) {
                out.replace(pointer(way), clean);
            }
        }
        _ => {}
    }
}

fn pointer(way: &[Step<'_>]) -> Pointer {
    way.iter().fold(Pointer::ROOT, |pointer, step| match step {
        Step::Key(key) => pointer.child(key),
        Step::Index(index) => pointer.index(*index),
    })
}

/// The legal form of a text, by its place; `None` where any text is legal.
fn sanitised(text: &str, way: &[Step<'_>]) -> Option<String> {
    use Step::{Index, Key};
    Some(match way {
        [.., Key("metadata"), Key("namespace")] => dns_label(text, "default"),
        [.., Key("metadata"), Key("name")] => dns_subdomain(text, "placeholder"),
        [.., Key("metadata"), Key("generateName")] => generate_name(text),
        [.., Key("labels" | "matchLabels"), Key(_)]
        | [.., Key("matchExpressions"), Index(_), Key("values"), Index(_)] => label_value(text),
        [.., Key("secretName")]
        | [.., Key("secretKeyRef" | "secretRef"), Key("name")]
        | [.., Key("imagePullSecrets"), Index(_), Key("name")] => dns_subdomain(text, "placeholder-secret"),
        [.., Key("secretKeyRef"), Key("key")] => secret_key(text),
        _ => return None,
    })
}

/// An object without a name gets one.
pub(super) fn name(document: &Value, out: &mut Ops) {
    let Some(metadata) = document.get("metadata").and_then(Value::as_object) else { return };
    if filled(metadata, "name").is_none() {
        out.set(Some(metadata), &Pointer::of(["metadata"]), "name", derived(document, metadata));
    }
}

fn derived(document: &Value, metadata: &Fields) -> String {
    let labels = |fields: Option<&'_ Fields>| -> Vec<String> {
        let Some(labels) = fields.and_then(|fields| map(fields, "labels")) else { return Vec::new() };
        NAMING.iter().filter_map(|key| filled(labels, key)).map(str::to_owned).collect()
    };
    let release = map(metadata, "annotations").and_then(|notes| filled(notes, "meta.helm.sh/release-name"));
    let generate = filled(metadata, "generateName").map(|name| name.trim_end_matches('-'));
    let template = map_in(document, &Pointer::of(["spec", "template", "metadata"]));
    let kind = document.get("kind").and_then(Value::as_str);
    labels(Some(metadata))
        .into_iter()
        .chain(release.map(str::to_owned))
        .chain(generate.map(str::to_owned))
        .chain(labels(template))
        .chain(kind.map(str::to_owned))
        .filter(|text| !text.is_empty() && !has_placeholder(text))
        .map(|text| dns_subdomain(&text, "placeholder"))
        .find(|name| name != "placeholder")
        .unwrap_or_else(|| "placeholder".to_owned())
}
