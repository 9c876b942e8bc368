//! Which kinds of which API groups are meant by the kinds that policies know.
//!
//! A kind is a kind of an API group (Kubernetes documentation, *API groups*): a `Job` of `batch.volcano.sh` is no `Job` of
//! `batch`, and what holds for one need not hold for the other.

use crate::document::Identity;

/// A built-in kind that policies look at, and the groups that serve it or served it.
const BUILT_IN: [(&str, &[&str]); 26] = [
    ("ClusterRole", &["rbac.authorization.k8s.io"]),
    ("ClusterRoleBinding", &["rbac.authorization.k8s.io"]),
    ("ConfigMap", &[""]),
    ("CronJob", &["batch"]),
    ("DaemonSet", &["apps", "extensions"]),
    ("Deployment", &["apps", "extensions"]),
    // OpenShift's; its old versions stood in the core group.
    ("DeploymentConfig", &["apps.openshift.io", ""]),
    ("EndpointSlice", &["discovery.k8s.io"]),
    ("Endpoints", &[""]),
    ("HorizontalPodAutoscaler", &["autoscaling", "extensions"]),
    ("Ingress", &["networking.k8s.io", "extensions"]),
    ("Job", &["batch", "extensions"]),
    ("NetworkPolicy", &["networking.k8s.io", "extensions"]),
    ("Pod", &[""]),
    ("PodDisruptionBudget", &["policy"]),
    ("PodTemplate", &[""]),
    ("ReplicaSet", &["apps", "extensions"]),
    ("ReplicationController", &[""]),
    ("Role", &["rbac.authorization.k8s.io"]),
    ("RoleBinding", &["rbac.authorization.k8s.io"]),
    ("Secret", &[""]),
    ("SecurityContextConstraints", &["security.openshift.io", ""]),
    ("Service", &[""]),
    ("ServiceAccount", &[""]),
    ("ServiceMonitor", &["monitoring.coreos.com"]),
    ("StatefulSet", &["apps"]),
];

/// Workloads of other groups whose pods a Service may select, and where their pod template stands. They are looked at for
/// the labels of their pods, and never judged or repaired: their fields are their controllers' business.
const FOREIGN_WORKLOADS: [(&str, &str, &[&str]); 8] = [
    ("apps.kruise.io", "CloneSet", &["spec", "template"]),
    ("apps.kruise.io", "DaemonSet", &["spec", "template"]),
    ("apps.kruise.io", "StatefulSet", &["spec", "template"]),
    ("argoproj.io", "Rollout", &["spec", "template"]),
    ("batch.volcano.sh", "Job", &["spec", "tasks", "0", "template"]),
    ("kubevirt.io", "VirtualMachine", &["spec", "template"]),
    ("kubevirt.io", "VirtualMachineInstanceReplicaSet", &["spec", "template"]),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet", &["spec", "leaderWorkerTemplate", "workerTemplate"]),
];

/// The kind of an object where it is the built-in kind of that name; empty where another API group has a kind of the same
/// name. An object whose `apiVersion` is missing or was never rendered is taken for the built-in kind.
pub(crate) fn known_kind(identity: &Identity) -> &str {
    let kind = identity.kind.as_str();
    let groups = BUILT_IN.iter().find(|(name, _)| *name == kind).map(|(_, groups)| *groups);
    let legal = |c: char| c.is_ascii_alphanumeric() || "./-".contains(c);
    let said = !identity.api_version.is_empty() && identity.api_version.chars().all(legal);
    let own = groups.is_none_or(|groups| !said || groups.contains(&identity.group()));
    if own { kind } else { "" }
}

/// Where the pod template of a known workload of another group stands.
pub(crate) fn foreign_template(identity: &Identity) -> Option<&'static [&'static str]> {
    let (group, kind) = (identity.group(), identity.kind.as_str());
    FOREIGN_WORKLOADS.iter().find(|known| (known.0, known.1) == (group, kind)).map(|known| known.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api_version: &str, kind: &str) -> Identity {
        Identity { api_version: api_version.to_owned(), kind: kind.to_owned(), ..Identity::default() }
    }

    #[test]
    fn every_foreign_workload_is_looked_for() {
        let looked_for = super::super::neighbours::OFFERING;
        for (_, kind, _) in FOREIGN_WORKLOADS {
            assert!(looked_for.iter().any(|word| kind.contains(word)), "{kind}");
        }
    }

    #[test]
    fn a_kind_of_another_group_is_another_kind() {
        for (kind, groups) in BUILT_IN {
            for group in groups {
                let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
                assert_eq!(known_kind(&of(&api_version, kind)), kind);
            }
            assert_eq!(known_kind(&of("", kind)), kind, "nothing is said");
            assert_eq!(known_kind(&of("{{ .Values.api }}/v1", kind)), kind, "not rendered");
            for foreign in ["example.com/v1", "apps.example.com/v1", "batch.volcano.sh/v1alpha1"] {
                assert_eq!(known_kind(&of(foreign, kind)), "", "{foreign} {kind}");
            }
        }
        assert_eq!(known_kind(&of("example.com/v1", "Widget")), "Widget", "no policy knows it");
        assert_eq!(known_kind(&of("v1", "Deployment")), "");
    }
}
