//! What other catalogues call the policies: ids of scanners, controls of the Pod Security Standards, recommendations of the
//! CIS Kubernetes Benchmark, sections of the Kubernetes Hardening Guide of NSA and CISA.

use crate::policy::PolicyId;

/// What other catalogues call a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct References {
    /// Checks of kube-linter.
    pub kube_linter: &'static [&'static str],
    /// Controls of the Pod Security Standards, by the names of their documentation.
    pub pod_security: &'static [&'static str],
    /// Recommendations of the CIS Kubernetes Benchmark 1.9, by number.
    pub cis: &'static [&'static str],
    /// Sections of the Kubernetes Hardening Guide 1.2 of NSA and CISA.
    pub nsa: &'static [&'static str],
}

impl References {
    const NONE: Self = Self { kube_linter: &[], pod_security: &[], cis: &[], nsa: &[] };

    const fn linter(kube_linter: &'static [&'static str]) -> Self {
        Self { kube_linter, ..Self::NONE }
    }

    const fn pod_security(self, pod_security: &'static [&'static str]) -> Self {
        Self { pod_security, ..self }
    }

    const fn cis(self, cis: &'static [&'static str]) -> Self {
        Self { cis, ..self }
    }

    const fn nsa(self, nsa: &'static [&'static str]) -> Self {
        Self { nsa, ..self }
    }
}

impl PolicyId {
    /// What other catalogues call it.
    pub fn references(self) -> References {
        TABLE.iter().find(|(id, _)| *id == self).map_or(References::NONE, |(_, references)| *references)
    }
}

const NON_ROOT: &str = "Non-root containers and rootless container engines";
const IMMUTABLE: &str = "Immutable container file systems";
const POD_SECURITY: &str = "Pod security enforcement";
const TOKENS: &str = "Protecting Pod service account tokens";
const HARDENING: &str = "Hardening container environments";
const RESOURCES: &str = "Resource policies";
const SECRETS: &str = "Secrets";
const RBAC: &str = "Role-based access control";
const NETWORK: &str = "Network policies";
const NAMESPACES: &str = "Namespaces";
const MONITORING: &str = "Logging and monitoring";
const UPGRADES: &str = "Upgrading and application security practices";

#[rustfmt::skip]
const TABLE: &[(PolicyId, References)] = &[
    (PolicyId::NoLatestTag, References::linter(&["latest-tag"])),
    (PolicyId::NoPrivileged, References::linter(&["privileged-container"]).pod_security(&["Privileged Containers"]).cis(&["5.2.2"]).nsa(&[POD_SECURITY])),
    (PolicyId::DropCapabilities, References::linter(&["privilege-escalation-container", "drop-net-raw-capability"]).cis(&["5.2.8", "5.2.9", "5.2.10"]).nsa(&[POD_SECURITY])),
    (PolicyId::DropCapSysAdmin, References::NONE.cis(&["5.2.9"]).nsa(&[POD_SECURITY])),
    (PolicyId::NoAllowPrivilegeEscalation, References::NONE.pod_security(&["Privilege Escalation"]).cis(&["5.2.6"]).nsa(&[POD_SECURITY])),
    (PolicyId::RunAsNonRoot, References::linter(&["run-as-non-root"]).pod_security(&["Running as Non-root"]).cis(&["5.2.7"]).nsa(&[NON_ROOT])),
    (PolicyId::RunAsUser, References::NONE.pod_security(&["Running as Non-root user"]).cis(&["5.2.7"]).nsa(&[NON_ROOT])),
    (PolicyId::EnforceSeccomp, References::NONE.pod_security(&["Seccomp"]).cis(&["5.7.2"]).nsa(&[HARDENING])),
    (PolicyId::ReadOnlyRootFs, References::linter(&["no-read-only-root-fs"]).nsa(&[IMMUTABLE])),
    (PolicyId::UnsafeSysctls, References::linter(&["unsafe-sysctls"]).nsa(&[POD_SECURITY])),
    (PolicyId::NoHostPath, References::linter(&["sensitive-host-mounts", "docker-sock"]).pod_security(&["HostPath Volumes"]).cis(&["5.2.12"]).nsa(&[POD_SECURITY])),
    (PolicyId::NoHostPorts, References::NONE.pod_security(&["Host Ports"]).cis(&["5.2.13"])),
    (PolicyId::NoHostNetwork, References::linter(&["host-network"]).pod_security(&["Host Namespaces"]).cis(&["5.2.5"]).nsa(&[POD_SECURITY])),
    (PolicyId::NoHostPid, References::linter(&["host-pid"]).pod_security(&["Host Namespaces"]).cis(&["5.2.3"]).nsa(&[POD_SECURITY])),
    (PolicyId::NoHostIpc, References::linter(&["host-ipc"]).pod_security(&["Host Namespaces"]).cis(&["5.2.4"]).nsa(&[POD_SECURITY])),
    (PolicyId::SshPort, References::linter(&["ssh-port"])),
    (PolicyId::SetRequestsLimits, References::linter(&["unset-cpu-requirements", "unset-memory-requirements"]).nsa(&[RESOURCES])),
    (PolicyId::LivenessPort, References::linter(&["liveness-port"])),
    (PolicyId::ReadinessPort, References::linter(&["readiness-port"])),
    (PolicyId::StartupPort, References::linter(&["startup-port"])),
    (PolicyId::EnvVarSecret, References::linter(&["env-var-secret"]).cis(&["5.4.1"]).nsa(&[SECRETS])),
    (PolicyId::DuplicateEnvVar, References::linter(&["duplicate-env-var"])),
    (PolicyId::DanglingService, References::linter(&["dangling-service"])),
    (PolicyId::NonExistentServiceAccount, References::linter(&["non-existent-service-account"]).nsa(&[TOKENS])),
    (PolicyId::DeprecatedServiceAccountField, References::linter(&["deprecated-service-account-field"])),
    (PolicyId::PdbUnhealthyEvictionPolicy, References::linter(&["pdb-unhealthy-pod-eviction-policy"])),
    (PolicyId::JobTtlAfterFinished, References::linter(&["job-ttl-seconds-after-finished"])),
    (PolicyId::NoAntiAffinity, References::linter(&["no-anti-affinity"])),
    (PolicyId::InvalidTargetPorts, References::linter(&["invalid-target-ports"])),
    (PolicyId::MismatchingSelector, References::linter(&["mismatching-selector"])),
    (PolicyId::AccessToCreatePods, References::linter(&["access-to-create-pods"]).cis(&["5.1.4"]).nsa(&[RBAC])),
    (PolicyId::AccessToSecrets, References::linter(&["access-to-secrets"]).cis(&["5.1.2"]).nsa(&[RBAC])),
    (PolicyId::ClusterAdminRoleBinding, References::linter(&["cluster-admin-role-binding"]).cis(&["5.1.1"]).nsa(&[RBAC])),
    (PolicyId::WildcardInRules, References::linter(&["wildcard-in-rules"]).cis(&["5.1.3"]).nsa(&[RBAC])),
    (PolicyId::DanglingHorizontalPodAutoscaler, References::linter(&["dangling-horizontalpodautoscaler"])),
    (PolicyId::DanglingIngress, References::linter(&["dangling-ingress"])),
    (PolicyId::DanglingNetworkPolicy, References::linter(&["dangling-networkpolicy"]).cis(&["5.3.2"]).nsa(&[NETWORK])),
    (PolicyId::DanglingNetworkPolicyPeer, References::linter(&["dangling-networkpolicypeer-podselector"]).cis(&["5.3.2"]).nsa(&[NETWORK])),
    (PolicyId::DanglingServiceMonitor, References::linter(&["dangling-servicemonitor"]).nsa(&[MONITORING])),
    (PolicyId::DefaultServiceAccount, References::linter(&["default-service-account"]).cis(&["5.1.5"]).nsa(&[TOKENS])),
    (PolicyId::DnsConfigOptions, References::linter(&["dnsconfig-options"])),
    (PolicyId::EnvValueFrom, References::linter(&["env-value-from"])),
    (PolicyId::ExposedServices, References::linter(&["exposed-services"]).nsa(&[NETWORK])),
    (PolicyId::HpaMinimumThreeReplicas, References::linter(&["hpa-minimum-three-replicas"])),
    (PolicyId::MinimumThreeReplicas, References::linter(&["minimum-three-replicas"])),
    (PolicyId::NoExtensionsV1beta, References::linter(&["no-extensions-v1beta"]).nsa(&[UPGRADES])),
    (PolicyId::NoLivenessProbe, References::linter(&["no-liveness-probe"])),
    (PolicyId::NoNodeAffinity, References::linter(&["no-node-affinity"])),
    (PolicyId::NoReadinessProbe, References::linter(&["no-readiness-probe"])),
    (PolicyId::NoRollingUpdateStrategy, References::linter(&["no-rolling-update-strategy"])),
    (PolicyId::NonIsolatedPod, References::linter(&["non-isolated-pod"]).cis(&["5.3.2"]).nsa(&[NETWORK])),
    (PolicyId::PdbMaxUnavailable, References::linter(&["pdb-max-unavailable"])),
    (PolicyId::PdbMinAvailable, References::linter(&["pdb-min-available"])),
    (PolicyId::PriorityClassName, References::linter(&["priority-class-name"])),
    (PolicyId::PrivilegedPorts, References::linter(&["privileged-ports"]).nsa(&[NON_ROOT])),
    (PolicyId::ReadSecretFromEnvVar, References::linter(&["read-secret-from-env-var"]).cis(&["5.4.1"]).nsa(&[SECRETS])),
    (PolicyId::RequiredAnnotationEmail, References::linter(&["required-annotation-email"])),
    (PolicyId::RequiredLabelOwner, References::linter(&["required-label-owner"])),
    (PolicyId::RestartPolicy, References::linter(&["restart-policy"])),
    (PolicyId::SccDenyPrivilegedContainer, References::linter(&["scc-deny-privileged-container"]).cis(&["5.2.2"]).nsa(&[POD_SECURITY])),
    (PolicyId::SortedKeys, References::linter(&["sorted-keys"])),
    (PolicyId::UnsafeProcMount, References::linter(&["unsafe-proc-mount"]).pod_security(&["/proc Mount Type"]).nsa(&[POD_SECURITY])),
    (PolicyId::UseNamespace, References::linter(&["use-namespace"]).cis(&["5.7.1", "5.7.4"]).nsa(&[NAMESPACES])),
    (PolicyId::WritableHostMount, References::linter(&["writable-host-mount"]).cis(&["5.2.12"]).nsa(&[POD_SECURITY])),
    (PolicyId::BaselineCapabilities, References::NONE.pod_security(&["Capabilities"]).cis(&["5.2.9"]).nsa(&[POD_SECURITY])),
    (PolicyId::BaselineSeccomp, References::NONE.pod_security(&["Seccomp"]).cis(&["5.7.2"]).nsa(&[HARDENING])),
    (PolicyId::BaselineAppArmor, References::NONE.pod_security(&["AppArmor"]).nsa(&[HARDENING])),
    (PolicyId::BaselineSelinux, References::NONE.pod_security(&["SELinux"]).nsa(&[HARDENING])),
    (PolicyId::BaselineProcMount, References::NONE.pod_security(&["/proc Mount Type"])),
    (PolicyId::BaselineSysctls, References::NONE.pod_security(&["Sysctls"])),
    (PolicyId::NoHostProcess, References::NONE.pod_security(&["HostProcess"]).cis(&["5.2.11"])),
    (PolicyId::NoProbeHost, References::NONE.pod_security(&["Host Probes / Lifecycle Hooks"])),
    (PolicyId::RestrictedCapabilities, References::NONE.pod_security(&["Capabilities"]).cis(&["5.2.8", "5.2.9", "5.2.10"]).nsa(&[POD_SECURITY])),
    (PolicyId::RestrictedNonRoot, References::NONE.pod_security(&["Running as Non-root"]).cis(&["5.2.7"]).nsa(&[NON_ROOT])),
    (PolicyId::NoRootUser, References::NONE.pod_security(&["Running as Non-root user"]).cis(&["5.2.7"]).nsa(&[NON_ROOT])),
    (PolicyId::RestrictedVolumes, References::NONE.pod_security(&["Volume Types"])),
    (PolicyId::WindowsOsName, References::NONE.pod_security(&["Privilege Escalation", "Seccomp", "Capabilities"])),
    (PolicyId::EscalationVerbs, References::NONE.cis(&["5.1.8"]).nsa(&[RBAC])),
    (PolicyId::AccessToExec, References::NONE.nsa(&[RBAC])),
    (PolicyId::AccessToNodeProxy, References::NONE.cis(&["5.1.10"]).nsa(&[RBAC])),
    (PolicyId::AccessToCreateTokens, References::NONE.cis(&["5.1.13"]).nsa(&[RBAC])),
    (PolicyId::AccessToApproveCertificates, References::NONE.cis(&["5.1.11"]).nsa(&[RBAC])),
    (PolicyId::AccessToAdmissionWebhooks, References::NONE.cis(&["5.1.12"]).nsa(&[RBAC])),
    (PolicyId::AccessToCreateVolumes, References::NONE.cis(&["5.1.9"]).nsa(&[RBAC])),
    (PolicyId::AccessToCreateWorkloads, References::NONE.cis(&["5.1.4"]).nsa(&[RBAC])),
    (PolicyId::DefaultAccountBinding, References::NONE.cis(&["5.1.5"]).nsa(&[TOKENS])),
    (PolicyId::AnonymousBinding, References::NONE.nsa(&[RBAC])),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_policy_has_one_row_in_the_order_of_the_catalogue() {
        let listed: Vec<PolicyId> = TABLE.iter().map(|(id, _)| *id).collect();
        assert_eq!(listed, PolicyId::ALL);
    }

    #[test]
    fn a_check_of_kube_linter_belongs_to_the_policy_that_its_name_finds() {
        let mut seen = BTreeSet::new();
        for (id, references) in TABLE {
            for check in references.kube_linter {
                assert_eq!(PolicyId::find(check), Some(*id), "{check}");
                assert!(seen.insert(check), "{check} twice");
            }
        }
    }

    #[test]
    fn recommendations_are_numbers() {
        for (id, references) in TABLE {
            for number in references.cis {
                assert!(
                    number.starts_with('5') && number.split('.').all(|part| part.parse::<u8>().is_ok()),
                    "{id}"
                );
            }
        }
    }
}
