//! Rules on ports.

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{Fields, Node, containers, map, maps, text};

/// Ports that a name was taken for when no port has it.
const USUAL: [(&str, i64); 4] = [("http", 80), ("https", 443), ("grpc", 9090), ("metrics", 9090)];

/// Adds the port that the probe asks to the container's ports.
pub(super) fn probe(document: &Value, field: &str, unnamed: &str, out: &mut Ops) {
    for container in containers(document) {
        let Some((number, name)) = container.map(field).and_then(|probe| asked(&container, probe)) else {
            continue;
        };
        let exposed = maps(container.fields, "ports").any(|(_, port)| {
            port.get("containerPort").and_then(Value::as_i64) == Some(number)
                || (name.is_some() && text(port, "name") == name)
        });
        if exposed {
            continue;
        }
        let entry = json!({"containerPort": number, "name": name.unwrap_or(unnamed)});
        let at = container.at.child("ports");
        if container.fields.get("ports").is_some_and(Value::is_array) {
            out.add(at.end(), entry);
        } else {
            out.add(at, json!([entry]));
        }
    }
}

/// The number and, when it asks by name, the name.
fn asked<'a>(container: &Node<'_>, probe: &'a Fields) -> Option<(i64, Option<&'a str>)> {
    let port = ["httpGet", "tcpSocket", "grpc"].into_iter().find_map(|kind| {
        let port = map(probe, kind)?.get("port")?;
        (port.is_i64() || port.is_string()).then_some(port)
    })?;
    let Some(name) = port.as_str() else { return Some((port.as_i64()?, None)) };
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
        return Some((name.parse().ok()?, None));
    }
    let named = maps(container.fields, "ports")
        .find(|(_, port)| text(port, "name") == Some(name))
        .and_then(|(_, port)| port.get("containerPort")?.as_i64());
    let usual = || USUAL.iter().find(|(usual, _)| name.eq_ignore_ascii_case(usual)).map(|(_, port)| *port);
    Some((named.or_else(usual).unwrap_or(8080), Some(name)))
}

pub(super) fn invalid_target_ports(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        for (index, port) in maps(container.fields, "ports") {
            name(port, &container.at.child("ports").index(index), out);
        }
    }
    let Some(spec) = document.get("spec").and_then(Value::as_object) else { return };
    for (index, port) in maps(spec, "ports") {
        let at = Pointer::of(["spec", "ports"]).index(index);
        name(port, &at, out);
        if let Some(target) = port.get("targetPort").and_then(Value::as_str) {
            let digits = target.trim();
            if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
                let number = digits.parse::<u64>().map_or_else(|_| digits.into(), Value::from);
                out.replace(at.child("targetPort"), number);
            } else if !digits.is_empty() && !digits.chars().any(char::is_alphabetic) {
                out.replace(at.child("targetPort"), format!("port-{digits}"));
            }
        }
    }
}

fn name(port: &Fields, at: &Pointer, out: &mut Ops) {
    let named = match port.get("name") {
        Some(Value::String(text)) if !text.chars().any(char::is_alphabetic) => match text.trim() {
            "" => "port".to_owned(),
            text => format!("port-{text}"),
        },
        Some(Value::Number(number)) => format!("port-{number}"),
        _ => return,
    };
    out.replace(at.child("name"), named);
}
