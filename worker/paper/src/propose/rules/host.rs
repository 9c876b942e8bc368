//! Rules on host namespaces, paths and ports of a pod.

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{Fields, containers, maps, pod_specs, volumes};

pub(super) fn no_host_path(document: &Value, out: &mut Ops) {
    for volume in volumes(document) {
        if volume.fields.get("hostPath").is_none_or(Value::is_null) {
            continue;
        }
        out.remove(volume.at.child("hostPath"));
        if !volume.fields.contains_key("emptyDir") {
            out.add(volume.at.child("emptyDir"), json!({}));
        }
    }
}

pub(super) fn no_host_ports(document: &Value, out: &mut Ops) {
    let sets = |port: &Fields| match port.get("hostPort") {
        Some(Value::Number(number)) => !number.is_f64() && number.as_i64() != Some(0),
        Some(Value::String(text)) => !text.is_empty() && text != "0",
        _ => false,
    };
    for container in containers(document) {
        for (index, _) in maps(container.fields, "ports").filter(|(_, port)| sets(port)) {
            out.remove(container.at.child("ports").index(index).child("hostPort"));
        }
    }
}

/// Only at `/spec`, which is right for a Pod alone.
pub(super) fn no_flag(document: &Value, flag: &str, out: &mut Ops) {
    let Some(spec) = document.get("spec").and_then(Value::as_object) else { return };
    let at = Pointer::of(["spec", flag]);
    match spec.get(flag) {
        Some(Value::Bool(true)) => out.replace(at, false),
        None | Some(Value::Null) => out.add(at, false),
        Some(_) => {}
    }
}

/// The first such port, and no other.
pub(super) fn ssh_port(document: &Value, out: &mut Ops) {
    let is_ssh = |port: &Fields| match port.get("containerPort") {
        Some(Value::String(text)) => text == "22",
        Some(number) => number.as_i64() == Some(22),
        None => false,
    };
    for container in containers(document) {
        if let Some((index, _)) = maps(container.fields, "ports").find(|(_, port)| is_ssh(port)) {
            return out.remove(container.at.child("ports").index(index));
        }
    }
}

pub(super) fn unsafe_sysctls(document: &Value, out: &mut Ops) {
    for spec in pod_specs(document) {
        let sysctls = spec.map("securityContext").and_then(|context| context.get("sysctls"));
        if sysctls.and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
            out.remove(spec.at.join(&["securityContext", "sysctls"]));
        }
    }
}
