//! Fields that the API server refuses to change on an object that exists (Kubernetes API reference; `ValidateUpdate` of
//! `pkg/apis/*/validation`).

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use super::view::View;

/// What differs between an object before and after its patch though no existing object of its kind may be changed there, as
/// the places of the fields.
pub fn changed(before: &View<'_>, after: &View<'_>) -> Vec<&'static str> {
    let differs = |pointer: &&&str| before.value.pointer(pointer) != after.value.pointer(pointer);
    let mut found: Vec<&'static str> = fields(before.kind()).iter().filter(differs).copied().collect();
    if before.kind() == "Pod" && fixed_of_pod(before) != fixed_of_pod(after) {
        found.push("/spec");
    }
    found
}

/// Whether a patch writes where [`changed`] looks. What it does there may still be nothing.
pub fn may_change(view: &View<'_>, patch: &Patch) -> bool {
    let places = match view.kind() {
        "Pod" => &["/spec"],
        kind => fields(kind),
    };
    let meets = |at: &Pointer| places.iter().any(|place| at.meets(place));
    patch.0.iter().any(|op| match op {
        Op::Move { from, path } => meets(from) || meets(path),
        Op::Test { .. } => false,
        _ => meets(op.path()),
    })
}

/// The fields of a kind that stay as they were created.
const fn fields(kind: &str) -> &'static [&'static str] {
    match kind.as_bytes() {
        b"DaemonSet" | b"Deployment" | b"ReplicaSet" => &["/spec/selector"],
        b"Job" => &["/spec/completionMode", "/spec/selector", "/spec/template"],
        b"StatefulSet" => &[
            "/spec/podManagementPolicy",
            "/spec/selector",
            "/spec/serviceName",
            "/spec/volumeClaimTemplates",
        ],
        _ => &[],
    }
}

/// What of the spec of a pod may change: "pod updates may not change fields other than …".
const CHANGEABLE: [&str; 3] = ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"];

/// The spec of a pod without what may change.
fn fixed_of_pod(view: &View<'_>) -> Option<Map<String, Value>> {
    let mut spec = view.spec()?.clone();
    spec.retain(|key, _| !CHANGEABLE.contains(&key.as_str()));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            container.shift_remove("image");
        }
    }
    Some(spec)
}

/// Whether the object was read from a cluster: an API server gave it an id, a version or the time of its creation.
pub fn is_live(view: &View<'_>) -> bool {
    let said = |key: &str| view.metadata().and_then(|metadata| metadata.get(key));
    let is_text = |key: &str| said(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    ["uid", "resourceVersion", "creationTimestamp"].into_iter().any(is_text)
        || said("managedFields").and_then(Value::as_array).is_some_and(|fields| !fields.is_empty())
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    fn differences(old: &str, new: &str) -> Vec<&'static str> {
        let (before, after) = (document(old), document(new));
        let alone = Neighbours::Unknown;
        changed(&View::new(&before, &alone), &View::new(&after, &alone))
    }

    #[test]
    fn a_patch_may_change_what_it_writes_to_or_around() {
        let old = document("kind: StatefulSet\nspec: {serviceName: a}");
        let pod = document("kind: Pod\nspec: {}");
        let may_change = |document, patch: &str| {
            let view = View::new(document, &Neighbours::Unknown);
            super::may_change(&view, &Patch::from_json(patch).unwrap())
        };
        for at in ["", "/spec", "/spec/serviceName", "/spec/selector/matchLabels/a"] {
            assert!(may_change(&old, &format!(r#"[{{"op":"remove","path":"{at}"}}]"#)), "{at}");
        }
        assert!(may_change(&old, r#"[{"op":"move","from":"/spec/serviceName","path":"/x"}]"#));
        assert!(may_change(&pod, r#"[{"op":"add","path":"/spec/hostPID","value":true}]"#));
        for at in ["/spec/serviceNames", "/spec/template/spec/serviceName", "/specs", "/metadata/name"] {
            assert!(!may_change(&old, &format!(r#"[{{"op":"remove","path":"{at}"}}]"#)), "{at}");
        }
        assert!(!may_change(&pod, r#"[{"op":"add","path":"/metadata/labels","value":{}}]"#));
        assert!(!may_change(&old, r#"[{"op":"test","path":"/spec","value":{}}]"#));
    }

    #[test]
    fn each_kind_has_its_fields() {
        for (kind, key, expected) in [
            ("Deployment", "selector", vec!["/spec/selector"]),
            ("StatefulSet", "serviceName", vec!["/spec/serviceName"]),
            ("StatefulSet", "template", vec![]),
            ("Deployment", "template", vec![]),
            ("Job", "template", vec!["/spec/template"]),
            ("Job", "ttlSecondsAfterFinished", vec![]),
            ("CronJob", "jobTemplate", vec![]),
            ("ReplicationController", "selector", vec![]),
        ] {
            let object = |value: &str| format!("kind: {kind}\nspec: {{{key}: {value}}}");
            assert_eq!(differences(&object("{a: b}"), &object("{a: c}")), expected, "{kind} {key}");
            assert_eq!(differences(&object("{a: b}"), &object("{a: b}")), Vec::<&str>::new(), "{kind}");
        }
    }

    #[test]
    fn of_a_pod_little_may_change() {
        let pod = |spec: &str| format!("kind: Pod\nspec: {{{spec}}}");
        let same = |old: &str, new: &str| differences(&pod(old), &pod(new)).is_empty();
        assert!(same("containers: [{name: a, image: x}]", "containers: [{name: a, image: 'x:1'}]"));
        assert!(same("initContainers: [{image: x}]", "initContainers: [{image: y}]"));
        assert!(same("tolerations: []", "tolerations: [{operator: Exists}], activeDeadlineSeconds: 5"));
        assert!(!same("containers: [{name: a}]", "containers: [{name: a, tty: true}]"));
        assert!(!same("hostNetwork: true", "hostNetwork: false"));
        assert!(!same("ephemeralContainers: [{image: x}]", "ephemeralContainers: [{image: y}]"));
    }

    #[test]
    fn what_a_server_wrote_shows_that_the_object_exists() {
        for (metadata, expected) in [
            ("uid: 4f53cda1-8c2b-aa0c-0354-bb5f9a3ecbe5", true),
            ("resourceVersion: '12'", true),
            ("creationTimestamp: '2024-03-05T10:11:12Z'", true),
            ("managedFields: [{manager: kubectl}]", true),
            ("creationTimestamp: null", false),
            ("resourceVersion: ''", false),
            ("managedFields: []", false),
            ("name: a", false),
        ] {
            let document = document(&format!("kind: Job\nmetadata: {{{metadata}}}"));
            assert_eq!(is_live(&View::new(&document, &Neighbours::Unknown)), expected, "{metadata}");
        }
    }
}
