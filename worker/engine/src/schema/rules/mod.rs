//! What the server checks of an object after it has decoded it: its validation of built-in kinds at creation.
//!
//! *Owns* the rules, one file a family, as plain functions over the document; errors have the server's words, paths and
//! order. A value that the server fills in before it validates (a default) counts as given.
//! *Never* judges what depends on a cluster: whether a namespace, a class or a definition exists, or whether a port or
//! address is in its ranges.

mod admission;
mod autoscaling;
mod cel;
mod claims;
mod cluster;
mod config;
mod crd;
mod cron;
mod endpoints;
mod errors;
mod features;
mod flow_control;
mod ingress;
mod ip;
mod jobs;
mod meta;
mod network_policies;
mod node;
mod pod;
mod quota;
mod rbac;
mod references;
mod resources;
mod services;
mod storage;
mod text;
mod volumes;
mod webhook;
mod workloads;

#[cfg(test)]
mod tests;

use domain::api_server::KubernetesRelease;
use serde_json::Value;

use super::error::SchemaError;
use errors::Errors;
use node::Node;

pub(super) use crate::k8s::quantity::{NotAQuantity, Quantity};

/// The rules of a kind.
type Rules = fn(&mut Errors, &Node<'_, '_>);

/// The kinds that have rules, by group, version and kind, sorted.
const KINDS: &[(&str, &str, &str, Rules)] = &[
    ("", "v1", "ConfigMap", config::config_map),
    ("", "v1", "Endpoints", endpoints::endpoints),
    ("", "v1", "LimitRange", quota::limit_range),
    ("", "v1", "Namespace", cluster::namespace),
    ("", "v1", "Node", cluster::node),
    ("", "v1", "PersistentVolume", storage::volume),
    ("", "v1", "PersistentVolumeClaim", claims::claim),
    ("", "v1", "Pod", pod::pod),
    ("", "v1", "PodTemplate", pod::pod_template),
    ("", "v1", "ReplicationController", workloads::replication_controller),
    ("", "v1", "ResourceQuota", quota::resource_quota),
    ("", "v1", "Secret", config::secret),
    ("", "v1", "Service", services::service),
    ("", "v1", "ServiceAccount", cluster::service_account),
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", admission::mutating),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", admission::policy),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", admission::binding),
    ("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", admission::validating),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", crd::definition),
    ("apiregistration.k8s.io", "v1", "APIService", cluster::api_service),
    ("apps", "v1", "ControllerRevision", workloads::controller_revision),
    ("apps", "v1", "DaemonSet", workloads::daemon_set),
    ("apps", "v1", "Deployment", workloads::deployment),
    ("apps", "v1", "ReplicaSet", workloads::replica_set),
    ("apps", "v1", "StatefulSet", workloads::stateful_set),
    ("autoscaling", "v1", "HorizontalPodAutoscaler", autoscaling::v1),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", autoscaling::v2),
    ("batch", "v1", "CronJob", jobs::cron_job),
    ("batch", "v1", "Job", jobs::job),
    ("certificates.k8s.io", "v1", "CertificateSigningRequest", cluster::signing_request),
    ("coordination.k8s.io", "v1", "Lease", cluster::lease),
    ("discovery.k8s.io", "v1", "EndpointSlice", endpoints::slice),
    ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", flow_control::flow_schema),
    ("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", flow_control::priority_level),
    ("networking.k8s.io", "v1", "Ingress", ingress::ingress),
    ("networking.k8s.io", "v1", "IngressClass", ingress::class),
    ("networking.k8s.io", "v1", "NetworkPolicy", network_policies::policy),
    ("node.k8s.io", "v1", "RuntimeClass", cluster::runtime_class),
    ("policy", "v1", "PodDisruptionBudget", quota::disruption_budget),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", rbac::cluster_role),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", rbac::cluster_role_binding),
    ("rbac.authorization.k8s.io", "v1", "Role", rbac::role),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", rbac::role_binding),
    ("scheduling.k8s.io", "v1", "PriorityClass", cluster::priority_class),
    ("storage.k8s.io", "v1", "CSIDriver", storage::csi_driver),
    ("storage.k8s.io", "v1", "CSINode", storage::csi_node),
    ("storage.k8s.io", "v1", "CSIStorageCapacity", storage::csi_capacity),
    ("storage.k8s.io", "v1", "StorageClass", storage::class),
    ("storage.k8s.io", "v1", "VolumeAttachment", storage::attachment),
    ("storage.k8s.io", "v1", "VolumeAttributesClass", storage::attributes_class),
];

fn rules_of(group: &str, version: &str, kind: &str) -> Option<Rules> {
    let key = (group, version, kind);
    let at = KINDS.binary_search_by(|(group, version, kind, _)| (*group, *version, *kind).cmp(&key)).ok()?;
    KINDS.get(at).map(|(_, _, _, rules)| *rules)
}

/// Whether a kind has rules. Of one that has none, only the structure and the required fields are checked.
pub(super) fn covers(group: &str, version: &str, kind: &str) -> bool {
    rules_of(group, version, kind).is_some()
}

/// The errors of an object that decodes, in the server's order; `is_namespaced` says whether its kind is, `release` whose
/// rules hold. `is_lenient`: with those that the server does not get to because of others.
pub(super) fn check(
    (group, version, kind): (&str, &str, &str),
    object: &Value,
    is_namespaced: bool,
    release: KubernetesRelease,
    is_lenient: bool,
) -> Vec<SchemaError> {
    let mut errors = Errors::of(release, is_lenient);
    let without = features::without_dropped(kind, object, release);
    let node = Node::root(without.as_ref().unwrap_or(object));
    // A namespace that cannot exist is refused before anything else is looked at.
    if is_namespaced {
        let metadata = node.get("metadata");
        errors.check_if_any(&metadata.get("namespace"), text::label);
    }
    if (errors.len() == 0 || is_lenient)
        && let Some(rules) = rules_of(group, version, kind)
    {
        rules(&mut errors, &node);
    }
    errors.into_found()
}
