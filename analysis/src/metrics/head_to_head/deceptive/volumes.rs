//! Volumes with data that a container mounts, and that are empty, others or gone after the repair.

use std::collections::BTreeMap;

use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::pods::{Pod, named, paired, pod};
use super::repair::Repair;

/// Fields by which sources of volumes name what they hold.
const WHAT: [&str; 18] = [
    "claimName",
    "path",
    "name",
    "secretName",
    "server",
    "volumeID",
    "pdName",
    "diskName",
    "diskURI",
    "shareName",
    "driver",
    "volumeHandle",
    "targetPortal",
    "iqn",
    "endpoints",
    "image",
    "repository",
    "reference",
];

/// A volume that held data was replaced under a container that mounts it, or is no longer mounted there.
///
/// What the target policy itself forbids does not count: `no_host_path` has to take the host's directory away.
pub(super) fn volume_replaced(repair: &Repair<'_>) -> Option<String> {
    paired(repair.before, repair.after).into_iter().find_map(|(before, after)| {
        let after = after?;
        let (was, is) = (pod(before)?, pod(after)?);
        let name = replaced(&was, &is, repair.policy).or_else(|| claim_gone(before, after))?;
        Some(format!("volume {name} of {} no longer holds its data", named(before)))
    })
}

fn replaced(was: &Pod<'_>, is: &Pod<'_>, policy: &str) -> Option<String> {
    let (old, new) = (volumes(was), volumes(is));
    let left = is.containers();
    was.containers().into_iter().find_map(|(place, container)| {
        let mounted = mounts(left.get(&place)?);
        mounts(container).into_iter().find_map(|(path, name)| {
            let (kind, source) = source(old.get(name)?)?;
            if kind == "hostPath" && policy == PolicyId::NoHostPath.as_str() {
                return None;
            }
            let same = mounted.get(path).copied().and_then(|name| source_of(&new, name)).is_some_and(
                |(other, now)| {
                    other == kind && WHAT.into_iter().all(|field| source.get(field) == now.get(field))
                },
            );
            (!same).then(|| name.to_owned())
        })
    })
}

fn source_of<'a>(
    volumes: &BTreeMap<&str, &'a Map<String, Value>>,
    name: &str,
) -> Option<(&'a str, &'a Value)> {
    source(volumes.get(name).copied()?)
}

/// The volumes of a pod by name.
fn volumes<'a>(pod: &Pod<'a>) -> BTreeMap<&'a str, &'a Map<String, Value>> {
    let volumes = pod.spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    volumes
        .filter_map(Value::as_object)
        .filter_map(|volume| Some((volume.get("name").and_then(Value::as_str)?, volume)))
        .collect()
}

/// Kind and content of a volume's source; `None` for a volume that begins empty.
fn source(volume: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (kind, source) = volume.iter().find(|(key, _)| key.as_str() != "name")?;
    (kind != "emptyDir").then_some((kind.as_str(), source))
}

/// The mounts of a container: path and volume.
fn mounts(container: &Map<String, Value>) -> BTreeMap<&str, &str> {
    let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
    mounts
        .filter_map(|mount| {
            let text = |key| mount.get(key).and_then(Value::as_str);
            Some((text("mountPath")?, text("name")?))
        })
        .collect()
}

/// A claim that a `StatefulSet` makes for each of its pods, and no longer makes.
fn claim_gone(before: &Value, after: &Value) -> Option<String> {
    let names = |object: &Value| -> Vec<String> {
        let claims =
            object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten();
        let name = |claim: &Value| claim.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        claims.filter_map(name).collect()
    };
    let left = names(after);
    names(before).into_iter().find(|name| !left.contains(name))
}
