//! What the server does differently in older releases: features of validation, and the fields that it drops while the
//! feature gate that they belong to is off by default.
//!
//! Source: the versioned defaults in `pkg/features/kube_features.go` of Kubernetes 1.37, and what `pkg/api/pod` and the
//! strategies in `pkg/registry` do where a gate is off.

use domain::api_server::KubernetesRelease;
use serde_json::Value;

/// A behaviour of the validation that is on by default from a release on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Routes of a Service to the same zone or node: `PreferSameZone` and `PreferSameNode`.
    PreferSameTrafficDistribution,
    /// `sleep` of a hook for no time.
    PodLifecycleSleepActionAllowZero,
    /// `serviceName` of a `StatefulSet` is looked at. (No gate: the rule was added.)
    StatefulSetServiceName,
    /// So are its pods and claims, beyond labels and annotations.
    StatefulSetTemplates,
    /// Any printable name of a variable but `=`.
    RelaxedEnvironmentVariableValidation,
    /// Underscores and a single dot in a DNS search path.
    RelaxedDnsSearchValidation,
    /// A `restartPolicy` that a container may not have is dropped, and no error.
    DropsContainerRestartPolicy,
    /// `restartPolicy` of containers that are no init containers, and others than `Always` of those.
    ContainerRestartRules,
    /// A Service's name may begin with a digit.
    RelaxedServiceNameValidation,
    /// No leading zeros in addresses, no IPv4 in IPv6, no bits behind a prefix.
    StrictIpCidrValidation,
    /// `minReplicas: 0` of an autoscaler.
    HpaScaleToZero,
}

impl Feature {
    /// Whether the server of a release does so.
    pub(crate) fn is_in(self, release: KubernetesRelease) -> bool {
        let since = match self {
            Self::RelaxedEnvironmentVariableValidation => 32,
            Self::PodLifecycleSleepActionAllowZero
            | Self::RelaxedDnsSearchValidation
            | Self::StatefulSetServiceName => 33,
            Self::DropsContainerRestartPolicy
            | Self::PreferSameTrafficDistribution
            | Self::StatefulSetTemplates => 34,
            Self::ContainerRestartRules => 35,
            Self::RelaxedServiceNameValidation | Self::StrictIpCidrValidation => 36,
            Self::HpaScaleToZero => 37,
        };
        release.minor() >= since
    }
}

/// Where the fields of a row stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// In pod specs.
    Pod,
    /// In objects of this kind.
    Kind(&'static str),
}

/// Fields that the server drops before the release in which their gate is on by default. `*`: each entry of a list.
const DROPPED: &[(Base, &[&str], u8)] = &[
    (
        Base::Pod,
        &["containers|initContainers|ephemeralContainers", "*", "volumeMounts", "*", "recursiveReadOnly"],
        31,
    ),
    (Base::Kind("CustomResourceDefinition"), &["spec", "versions", "*", "selectableFields"], 31),
    (Base::Kind("Job"), &["spec", "successPolicy"], 31),
    (Base::Kind("CronJob"), &["spec", "jobTemplate", "spec", "successPolicy"], 31),
    (Base::Kind("Service"), &["spec", "trafficDistribution"], 31),
    (Base::Kind("Job"), &["spec", "managedBy"], 32),
    (Base::Kind("CronJob"), &["spec", "jobTemplate", "spec", "managedBy"], 32),
    (Base::Pod, &["hostUsers"], 33),
    (Base::Pod, &["containers|initContainers|ephemeralContainers", "*", "securityContext", "procMount"], 33),
    (Base::Pod, &["containers|initContainers|ephemeralContainers", "*", "resizePolicy"], 33),
    (Base::Pod, &["securityContext", "seLinuxChangePolicy"], 33),
    (Base::Pod, &["securityContext", "supplementalGroupsPolicy"], 33),
    (Base::Pod, &["resourceClaims"], 34),
    (Base::Pod, &["resources"], 34),
    (Base::Pod, &["containers|initContainers|ephemeralContainers", "*", "resources", "claims"], 34),
    (Base::Kind("PersistentVolume"), &["spec", "volumeAttributesClassName"], 34),
    (Base::Kind("PersistentVolumeClaim"), &["spec", "volumeAttributesClassName"], 34),
    (
        Base::Pod,
        &["containers|initContainers|ephemeralContainers", "*", "env", "*", "valueFrom", "fileKeyRef"],
        35,
    ),
    (Base::Pod, &["containers|initContainers|ephemeralContainers", "*", "restartPolicyRules"], 35),
    (Base::Pod, &["hostnameOverride"], 35),
    (Base::Kind("CSIDriver"), &["spec", "nodeAllocatableUpdatePeriodSeconds"], 35),
    (Base::Kind("HorizontalPodAutoscaler"), &["spec", "behavior", "scaleDown|scaleUp", "tolerance"], 35),
    (Base::Pod, &["volumes", "*", "projected", "sources", "*", "clusterTrustBundle|podCertificate"], 37),
    (Base::Kind("StatefulSet"), &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 37),
];

/// Where the pod spec of a kind stands.
fn pod_spec(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "Pod" => &["spec"],
        "PodTemplate" => &["template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => {
            &["spec", "template", "spec"]
        }
        _ => return None,
    })
}

/// The object as the server of a release validates it; `None`: it drops nothing of it.
pub(super) fn without_dropped(kind: &str, object: &Value, release: KubernetesRelease) -> Option<Value> {
    let mut changed: Option<Value> = None;
    for (base, path, since) in DROPPED.iter().filter(|(_, _, since)| release.minor() < *since) {
        debug_assert!(*since > KubernetesRelease::OLDEST.minor());
        let base = match base {
            Base::Pod => pod_spec(kind),
            Base::Kind(of) => (*of == kind).then_some(&[] as &[&str]),
        };
        let Some(base) = base else { continue };
        let whole: Vec<&str> = base.iter().chain(*path).copied().collect();
        if holds(changed.as_ref().unwrap_or(object), &whole) {
            drop_at(changed.get_or_insert_with(|| object.clone()), &whole);
        }
    }
    if release.minor() < IMAGE_VOLUMES
        && let Some(spec) = pod_spec(kind)
        && holds(object, &[spec, &["volumes", "*", "image"]].concat())
    {
        drop_image_volumes(changed.get_or_insert_with(|| object.clone()), spec);
    }
    changed
}

/// The release from which on volumes of images are on by default. Before, they are dropped with all their mounts.
const IMAGE_VOLUMES: u8 = 35;

fn drop_image_volumes(object: &mut Value, pod_spec: &[&str]) {
    let spec = pod_spec.iter().try_fold(object, |value, key| value.get_mut(*key));
    let Some(Value::Object(spec)) = spec else { return };
    let mut dropped: Vec<Value> = Vec::new();
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        volumes.retain(|volume| {
            let is_image = volume.get("image").is_some_and(|image| !image.is_null());
            if is_image {
                dropped.extend(volume.get("name").cloned());
            }
            !is_image
        });
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::Array(mounts)) = container.get_mut("volumeMounts") {
                mounts.retain(|mount| mount.get("name").is_none_or(|name| !dropped.contains(name)));
            }
        }
    }
}

/// Whether something stands at a path.
fn holds(value: &Value, path: &[&str]) -> bool {
    match path {
        [] => true,
        ["*", rest @ ..] => value.as_array().into_iter().flatten().any(|entry| holds(entry, rest)),
        [keys, rest @ ..] => {
            keys.split('|').any(|key| value.get(key).is_some_and(|value| holds(value, rest)))
        }
    }
}

fn drop_at(value: &mut Value, path: &[&str]) {
    match path {
        [] => {}
        ["*", rest @ ..] => {
            value.as_array_mut().into_iter().flatten().for_each(|entry| drop_at(entry, rest));
        }
        [keys] => {
            if let Value::Object(fields) = value {
                keys.split('|').for_each(|key| drop(fields.remove(key)));
            }
        }
        [keys, rest @ ..] => {
            for key in keys.split('|') {
                if let Some(value) = value.get_mut(key) {
                    drop_at(value, rest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(text: &str) -> KubernetesRelease {
        text.parse().unwrap()
    }

    #[test]
    fn a_field_is_dropped_until_its_gate_is_on() {
        let job = json!({"kind": "Job", "spec": {"managedBy": "a/b", "template": {"spec": {
            "hostUsers": false,
            "containers": [{"name": "a", "restartPolicyRules": []}, {"name": "b"}],
        }}}});
        let left = |at: &str| without_dropped("Job", &job, release(at));
        assert_eq!(left("1.37"), None);
        assert_eq!(left("1.35"), None);
        let mut wanted = job.clone();
        drop_at(&mut wanted, &["spec", "template", "spec", "containers", "*", "restartPolicyRules"]);
        assert_eq!(left("1.34"), Some(wanted.clone()));
        wanted["spec"].as_object_mut().unwrap().remove("managedBy");
        wanted["spec"]["template"]["spec"].as_object_mut().unwrap().remove("hostUsers");
        assert_eq!(left("1.30"), Some(wanted));
        assert_eq!(without_dropped("Custom", &job, release("1.30")), None);
    }

    #[test]
    fn an_image_volume_goes_with_its_mounts() {
        let pod = json!({"spec": {
            "volumes": [{"name": "a", "image": {"reference": "r"}}, {"name": "b"}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "b"}, {"name": "a"}]}],
        }});
        let left = json!({"spec": {
            "volumes": [{"name": "b"}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "b"}]}],
        }});
        assert_eq!(without_dropped("Pod", &pod, release("1.34")), Some(left));
        assert_eq!(without_dropped("Pod", &pod, release("1.35")), None);
    }

    #[test]
    fn every_dropped_field_is_known_to_the_newest_release_or_was_to_its_own() {
        assert!(DROPPED.iter().all(|(_, _, since)| (31..=37).contains(since)));
        assert!(DROPPED.is_sorted_by_key(|(_, _, since)| since), "by release");
    }
}
