//! Re-check of probes: the port of a probe is one of its container's ports.

use serde_json::{Map, Value};

use crate::gates::walk::{map, maps};

type Fields = Map<String, Value>;

/// Why the port of `probe` is not exposed; nothing when the probe is absent or asks no port.
pub(super) fn error(container: &Fields, probe: &str) -> Option<String> {
    let settings = map(container, probe)?;
    let port = ["httpGet", "tcpSocket", "grpc"].into_iter().find_map(|kind| {
        let port = map(settings, kind)?.get("port")?;
        (port.is_i64() || port.is_u64() || port.is_string()).then_some(port)
    })?;
    let number = match port {
        Value::String(text) if is_digits(text) => text.trim().parse().ok(),
        Value::String(_) => None,
        port => port.as_i64(),
    };
    match (number, port.as_str()) {
        (Some(number), _) => (!exposes(container, number))
            .then(|| format!("{probe} port {number} not exposed in container ports")),
        (None, Some(name)) => (!has_number(container, name))
            .then(|| format!("{probe} port must map to a numeric container port: {name}")),
        (None, None) => None,
    }
}

fn is_digits(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn exposes(container: &Fields, number: i64) -> bool {
    maps(container, "ports").any(|port| port.get("containerPort").and_then(Value::as_i64) == Some(number))
}

fn has_number(container: &Fields, name: &str) -> bool {
    maps(container, "ports").any(|port| {
        port.get("name").and_then(Value::as_str) == Some(name)
            && port.get("containerPort").is_some_and(|number| number.is_i64() || number.is_u64())
    })
}
