//! The list of all policies, in the order of the catalogue.

use domain::policy::PolicyId;

use super::contract::Policy;

/// Every policy, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static dyn Policy> {
    PolicyId::ALL.iter().map(|id| policy(*id))
}

/// The policy of an id.
#[expect(clippy::too_many_lines, reason = "a table: a row for each policy")]
pub fn policy(id: PolicyId) -> &'static dyn Policy {
    match id {
        PolicyId::NoLatestTag => &super::no_latest_tag::NoLatestTag,
        PolicyId::NoPrivileged => &super::no_privileged::NoPrivileged,
        PolicyId::DropCapabilities => &super::drop_capabilities::DropCapabilities,
        PolicyId::DropCapSysAdmin => &super::drop_cap_sys_admin::DropCapSysAdmin,
        PolicyId::NoAllowPrivilegeEscalation => {
            &super::no_allow_privilege_escalation::NoAllowPrivilegeEscalation
        }
        PolicyId::RunAsNonRoot => &super::run_as_non_root::RunAsNonRoot,
        PolicyId::RunAsUser => &super::run_as_user::RunAsUser,
        PolicyId::EnforceSeccomp => &super::enforce_seccomp::EnforceSeccomp,
        PolicyId::ReadOnlyRootFs => &super::read_only_root_fs::ReadOnlyRootFs,
        PolicyId::UnsafeSysctls => &super::unsafe_sysctls::UnsafeSysctls,
        PolicyId::NoHostPath => &super::no_host_path::NoHostPath,
        PolicyId::NoHostPorts => &super::no_host_ports::NoHostPorts,
        PolicyId::NoHostNetwork => &super::no_host_network::NoHostNetwork,
        PolicyId::NoHostPid => &super::no_host_pid::NoHostPid,
        PolicyId::NoHostIpc => &super::no_host_ipc::NoHostIpc,
        PolicyId::SshPort => &super::ssh_port::SshPort,
        PolicyId::SetRequestsLimits => &super::set_requests_limits::SetRequestsLimits,
        PolicyId::LivenessPort => &super::liveness_port::LivenessPort,
        PolicyId::ReadinessPort => &super::readiness_port::ReadinessPort,
        PolicyId::StartupPort => &super::startup_port::StartupPort,
        PolicyId::EnvVarSecret => &super::env_var_secret::EnvVarSecret,
        PolicyId::DuplicateEnvVar => &super::duplicate_env_var::DuplicateEnvVar,
        PolicyId::DanglingService => &super::dangling_service::DanglingService,
        PolicyId::NonExistentServiceAccount => {
            &super::non_existent_service_account::NonExistentServiceAccount
        }
        PolicyId::DeprecatedServiceAccountField => {
            &super::deprecated_service_account_field::DeprecatedServiceAccountField
        }
        PolicyId::PdbUnhealthyEvictionPolicy => {
            &super::pdb_unhealthy_eviction_policy::PdbUnhealthyEvictionPolicy
        }
        PolicyId::JobTtlAfterFinished => &super::job_ttl_after_finished::JobTtlAfterFinished,
        PolicyId::NoAntiAffinity => &super::no_anti_affinity::NoAntiAffinity,
        PolicyId::InvalidTargetPorts => &super::invalid_target_ports::InvalidTargetPorts,
        PolicyId::MismatchingSelector => &super::mismatching_selector::MismatchingSelector,
        PolicyId::AccessToCreatePods => &super::access_to_create_pods::AccessToCreatePods,
        PolicyId::AccessToSecrets => &super::access_to_secrets::AccessToSecrets,
        PolicyId::ClusterAdminRoleBinding => &super::cluster_admin_role_binding::ClusterAdminRoleBinding,
        PolicyId::WildcardInRules => &super::wildcard_in_rules::WildcardInRules,
        PolicyId::DanglingHorizontalPodAutoscaler => {
            &super::dangling_horizontal_pod_autoscaler::DanglingHorizontalPodAutoscaler
        }
        PolicyId::DanglingIngress => &super::dangling_ingress::DanglingIngress,
        PolicyId::DanglingNetworkPolicy => &super::dangling_network_policy::DanglingNetworkPolicy,
        PolicyId::DanglingNetworkPolicyPeer => {
            &super::dangling_network_policy_peer::DanglingNetworkPolicyPeer
        }
        PolicyId::DanglingServiceMonitor => &super::dangling_service_monitor::DanglingServiceMonitor,
        PolicyId::DefaultServiceAccount => &super::default_service_account::DefaultServiceAccount,
        PolicyId::DnsConfigOptions => &super::dns_config_options::DnsConfigOptions,
        PolicyId::EnvValueFrom => &super::env_value_from::EnvValueFrom,
        PolicyId::ExposedServices => &super::exposed_services::ExposedServices,
        PolicyId::HpaMinimumThreeReplicas => &super::hpa_minimum_three_replicas::HpaMinimumThreeReplicas,
        PolicyId::MinimumThreeReplicas => &super::minimum_three_replicas::MinimumThreeReplicas,
        PolicyId::NoExtensionsV1beta => &super::no_extensions_v1beta::NoExtensionsV1beta,
        PolicyId::NoLivenessProbe => &super::no_liveness_probe::NoLivenessProbe,
        PolicyId::NoNodeAffinity => &super::no_node_affinity::NoNodeAffinity,
        PolicyId::NoReadinessProbe => &super::no_readiness_probe::NoReadinessProbe,
        PolicyId::NoRollingUpdateStrategy => &super::no_rolling_update_strategy::NoRollingUpdateStrategy,
        PolicyId::NonIsolatedPod => &super::non_isolated_pod::NonIsolatedPod,
        PolicyId::PdbMaxUnavailable => &super::pdb_max_unavailable::PdbMaxUnavailable,
        PolicyId::PdbMinAvailable => &super::pdb_min_available::PdbMinAvailable,
        PolicyId::PriorityClassName => &super::priority_class_name::PriorityClassName,
        PolicyId::PrivilegedPorts => &super::privileged_ports::PrivilegedPorts,
        PolicyId::ReadSecretFromEnvVar => &super::read_secret_from_env_var::ReadSecretFromEnvVar,
        PolicyId::RequiredAnnotationEmail => &super::required_annotation_email::RequiredAnnotationEmail,
        PolicyId::RequiredLabelOwner => &super::required_label_owner::RequiredLabelOwner,
        PolicyId::RestartPolicy => &super::restart_policy::RestartPolicy,
        PolicyId::SccDenyPrivilegedContainer => {
            &super::scc_deny_privileged_container::SccDenyPrivilegedContainer
        }
        PolicyId::SortedKeys => &super::sorted_keys::SortedKeys,
        PolicyId::UnsafeProcMount => &super::unsafe_proc_mount::UnsafeProcMount,
        PolicyId::UseNamespace => &super::use_namespace::UseNamespace,
        PolicyId::WritableHostMount => &super::writable_host_mount::WritableHostMount,
        PolicyId::BaselineCapabilities => &super::baseline_capabilities::BaselineCapabilities,
        PolicyId::BaselineSeccomp => &super::baseline_seccomp::BaselineSeccomp,
        PolicyId::BaselineAppArmor => &super::baseline_app_armor::BaselineAppArmor,
        PolicyId::BaselineSelinux => &super::baseline_selinux::BaselineSelinux,
        PolicyId::BaselineProcMount => &super::baseline_proc_mount::BaselineProcMount,
        PolicyId::BaselineSysctls => &super::baseline_sysctls::BaselineSysctls,
        PolicyId::NoHostProcess => &super::no_host_process::NoHostProcess,
        PolicyId::NoProbeHost => &super::no_probe_host::NoProbeHost,
        PolicyId::RestrictedCapabilities => &super::restricted_capabilities::RestrictedCapabilities,
        PolicyId::RestrictedNonRoot => &super::restricted_non_root::RestrictedNonRoot,
        PolicyId::NoRootUser => &super::no_root_user::NoRootUser,
        PolicyId::RestrictedVolumes => &super::restricted_volumes::RestrictedVolumes,
        PolicyId::WindowsOsName => &super::windows_os_name::WindowsOsName,
        PolicyId::EscalationVerbs => &super::escalation_verbs::POLICY,
        PolicyId::AccessToExec => &super::access_to_exec::POLICY,
        PolicyId::AccessToNodeProxy => &super::access_to_node_proxy::POLICY,
        PolicyId::AccessToCreateTokens => &super::access_to_create_tokens::POLICY,
        PolicyId::AccessToApproveCertificates => &super::access_to_approve_certificates::POLICY,
        PolicyId::AccessToAdmissionWebhooks => &super::access_to_admission_webhooks::POLICY,
        PolicyId::AccessToCreateVolumes => &super::access_to_create_volumes::POLICY,
        PolicyId::AccessToCreateWorkloads => &super::access_to_create_workloads::POLICY,
        PolicyId::DefaultAccountBinding => &super::default_account_binding::DefaultAccountBinding,
        PolicyId::AnonymousBinding => &super::anonymous_binding::AnonymousBinding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_catalogue() {
        for (policy, id) in all().zip(PolicyId::ALL) {
            assert!(!policy.checks().is_empty(), "{id} has no check");
            assert_eq!(policy.id(), *id);
            for check in policy.checks() {
                assert_eq!(
                    PolicyId::find(check.id),
                    Some(*id),
                    "check {} belongs to another policy",
                    check.id
                );
            }
        }
    }
}
