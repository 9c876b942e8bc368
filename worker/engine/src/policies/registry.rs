//! The list of all policies, in the order of the catalogue.

use domain::policy::PolicyId;

use super::contract::Policy;

/// Every policy, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static dyn Policy> {
    PolicyId::ALL.iter().map(|id| policy(*id))
}

/// The policy of an id.
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
