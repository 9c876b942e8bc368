//! Guards on pod specs: restart policy, volumes, mounts, pod-level settings.

use std::collections::BTreeSet;

use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::sanitise::dns_label;
use super::super::walk::{
    Node, containers, containers_of, is_kind, map, maps, pod_specs, specs, text, volumes,
};
use super::claims::remove_cluster_name;
use super::jobs::restart_policy;

pub(super) fn claim_metadata(document: &Value, out: &mut Ops) {
    for volume in volumes(document) {
        remove_cluster_name(&volume, out);
    }
}

/// Jobs may not restart always.
pub(super) fn job_restart(document: &Value, out: &mut Ops) {
    if !is_kind(document, "Job") {
        return;
    }
    let spec = document.get("spec").and_then(Value::as_object);
    if let Some(template) = spec.and_then(|spec| map(spec, "template")) {
        restart_policy(template, &Pointer::of(["spec", "template"]), out);
    }
}

/// Mounts without a volume get an empty one.
pub(super) fn missing_volumes(document: &Value, out: &mut Ops) {
    let claims: BTreeSet<&str> = document
        .get("spec")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|spec| maps(spec, "volumeClaimTemplates"))
        .filter_map(|(_, claim)| text(map(claim, "metadata")?, "name"))
        .collect();
    for spec in specs(document) {
        let present: Vec<&str> =
            maps(spec.fields, "volumes").filter_map(|(_, volume)| text(volume, "name")).collect();
        let mounts: BTreeSet<&str> = containers_of(&spec)
            .iter()
            .flat_map(|container| maps(container.fields, "volumeMounts"))
            .filter_map(|(_, mount)| text(mount, "name"))
            .filter(|name| !present.contains(name) && !claims.contains(name))
            .collect();
        let mut names: Vec<String> = Vec::new();
        for name in mounts.into_iter().map(|name| dns_label(name, "volume")) {
            if !present.contains(&name.as_str()) && !names.contains(&name) {
                names.push(name);
            }
        }
        add_volumes(&spec, &names, out);
    }
}

fn add_volumes(spec: &Node<'_>, names: &[String], out: &mut Ops) {
    let at = spec.at.child("volumes");
    let volumes: Vec<Value> = names.iter().map(|name| json!({"name": name, "emptyDir": {}})).collect();
    if spec.fields.get("volumes").is_some_and(Value::is_array) {
        for volume in volumes {
            out.add(at.end(), volume);
        }
    } else if !volumes.is_empty() {
        out.add(at, volumes);
    }
}

/// Mounts to the host and back need privilege.
pub(super) fn mount_propagation(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        for (index, mount) in maps(container.fields, "volumeMounts") {
            let legal =
                matches!(text(mount, "mountPropagation"), None | Some("" | "HostToContainer" | "None"));
            if !legal {
                let at = container.at.child("volumeMounts").index(index);
                out.replace(at.child("mountPropagation"), "HostToContainer");
            }
        }
    }
}

/// `allowPrivilegeEscalation` has no place at the pod's level.
pub(super) fn pod_context(document: &Value, out: &mut Ops) {
    const FIELD: &str = "allowPrivilegeEscalation";
    for spec in pod_specs(document) {
        let Some(context) = spec.map("securityContext").filter(|context| context.contains_key(FIELD)) else {
            continue;
        };
        let at = spec.at.child("securityContext");
        out.remove(at.child(FIELD));
        if context.len() == 1 {
            out.remove(at);
        }
    }
}
