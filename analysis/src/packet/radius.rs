//! What a rollout can reach if it goes wrong.

use serde::Serialize;

/// The reach of a change, the smallest first: in this order documents are rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Radius {
    /// The next run of a job.
    Job,
    /// An object that others may read.
    Object,
    /// The pods of one workload.
    Workload,
    /// Traffic to other workloads.
    Traffic,
    /// Rights in a namespace.
    Namespace,
    /// A pod of every node.
    Nodes,
    /// Objects of the whole cluster.
    Cluster,
}

impl Radius {
    /// The reach of a change to an object of this kind.
    pub(super) fn of(kind: &str) -> Self {
        match kind {
            "Job" | "CronJob" => Self::Job,
            "Deployment"
            | "StatefulSet"
            | "ReplicaSet"
            | "ReplicationController"
            | "DeploymentConfig"
            | "Pod"
            | "PodTemplate" => Self::Workload,
            "Service" | "Ingress" | "NetworkPolicy" | "Endpoints" | "EndpointSlice" | "Gateway"
            | "HTTPRoute" | "IngressClass" => Self::Traffic,
            "Role" | "RoleBinding" | "ServiceAccount" | "ResourceQuota" | "LimitRange" => Self::Namespace,
            "DaemonSet" => Self::Nodes,
            "Namespace"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "CustomResourceDefinition"
            | "PersistentVolume"
            | "StorageClass"
            | "PriorityClass"
            | "Node"
            | "APIService"
            | "PodSecurityPolicy"
            | "RuntimeClass"
            | "CSIDriver"
            | "MutatingWebhookConfiguration"
            | "ValidatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding" => Self::Cluster,
            _ => Self::Object,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Object => "object",
            Self::Workload => "workload",
            Self::Traffic => "traffic",
            Self::Namespace => "namespace",
            Self::Nodes => "nodes",
            Self::Cluster => "cluster",
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Job => "the next run of a job",
            Self::Object => "one object, and what reads it",
            Self::Workload => "the pods of one workload",
            Self::Traffic => "the traffic between workloads",
            Self::Namespace => "rights and limits in a namespace",
            Self::Nodes => "a pod of every node",
            Self::Cluster => "the whole cluster",
        }
    }
}

/// Whether operations at these paths replace the pods of an object of this kind.
pub(super) fn replaces_pods<'a>(kind: &str, mut paths: impl Iterator<Item = &'a str>) -> bool {
    match Radius::of(kind) {
        Radius::Workload if kind == "Pod" => paths.any(|path| path.starts_with("/spec")),
        Radius::Workload | Radius::Nodes => paths.any(|path| path.starts_with("/spec/template")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_further_comes_later() {
        let order = ["CronJob", "ConfigMap", "Deployment", "Service", "Role", "DaemonSet", "ClusterRole"];
        assert!(order.map(Radius::of).is_sorted());
        assert_eq!(Radius::of("Unheard"), Radius::Object);
    }

    #[test]
    fn pods_are_replaced_where_their_template_changes() {
        assert!(replaces_pods("Deployment", ["/metadata/labels/x", "/spec/template/spec/x"].into_iter()));
        assert!(!replaces_pods("Deployment", ["/spec/replicas"].into_iter()));
        assert!(replaces_pods("Pod", ["/spec/containers/0/image"].into_iter()));
        assert!(!replaces_pods("Service", ["/spec/template"].into_iter()));
    }
}
