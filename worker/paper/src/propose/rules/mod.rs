//! The published rules: for each policy, the operations that repair a document. The guards add further operations.

mod accounts;
mod capabilities;
mod context;
mod env;
mod host;
mod image;
mod objects;
mod placement;
mod ports;
mod resources;
mod security;

use domain::patch::Op;
use domain::policy::PolicyId;
use serde_json::Value;

use super::ops::Ops;
use super::refusal::Refusal;

// These rules are guards too.
pub(super) use capabilities::drop_capabilities;
pub(super) use env::env_var_secret;
pub(super) use image::no_latest_tag;
pub(super) use resources::{requests_within_limits, set_requests_limits};
pub(super) use security::{no_allow_privilege_escalation, read_only_root_fs, run_as_non_root};

/// The operations of the policy's rule, without those of the guards; empty when there is nothing to fix.
pub(super) fn operations(document: &Value, policy: PolicyId) -> Result<Vec<Op>, Refusal> {
    let mut ops = Ops::default();
    let out = &mut ops;
    match policy {
        PolicyId::NoLatestTag => no_latest_tag(document, out),
        PolicyId::NoPrivileged => security::no_privileged(document, out),
        PolicyId::ReadOnlyRootFs => read_only_root_fs(document, out),
        PolicyId::RunAsNonRoot => run_as_non_root(document, out),
        PolicyId::RunAsUser => security::run_as_user(document, out),
        PolicyId::EnforceSeccomp => security::enforce_seccomp(document, out),
        PolicyId::NoAllowPrivilegeEscalation => no_allow_privilege_escalation(document, out),
        PolicyId::SetRequestsLimits => set_requests_limits(document, out),
        PolicyId::DropCapabilities => drop_capabilities(document, out),
        PolicyId::DropCapSysAdmin => capabilities::drop_cap_sys_admin(document, out),
        PolicyId::NoHostPath => host::no_host_path(document, out),
        PolicyId::NoHostPorts => host::no_host_ports(document, out),
        PolicyId::NoHostNetwork => host::no_flag(document, "hostNetwork", out),
        PolicyId::NoHostPid => host::no_flag(document, "hostPID", out),
        PolicyId::NoHostIpc => host::no_flag(document, "hostIPC", out),
        PolicyId::SshPort => host::ssh_port(document, out),
        PolicyId::UnsafeSysctls => host::unsafe_sysctls(document, out),
        PolicyId::EnvVarSecret => env_var_secret(document, out),
        PolicyId::DuplicateEnvVar => env::duplicate_env_var(document, out),
        PolicyId::LivenessPort => ports::probe(document, "livenessProbe", "liveness-probe", out),
        PolicyId::ReadinessPort => ports::probe(document, "readinessProbe", "readiness-probe", out),
        PolicyId::StartupPort => ports::probe(document, "startupProbe", "startup-probe", out),
        PolicyId::InvalidTargetPorts => ports::invalid_target_ports(document, out),
        PolicyId::DanglingService => objects::dangling_service(document, out),
        PolicyId::PdbUnhealthyEvictionPolicy => objects::disruption_budget(document, out)?,
        PolicyId::JobTtlAfterFinished => objects::job_ttl(document, out)?,
        PolicyId::NonExistentServiceAccount => accounts::non_existent(document, out),
        PolicyId::DeprecatedServiceAccountField => accounts::deprecated_field(document, out),
        PolicyId::NoAntiAffinity => placement::no_anti_affinity(document, out),
        PolicyId::MismatchingSelector => placement::mismatching_selector(document, out),
        // The paper has no rule for a further policy.
        _ => {}
    }
    Ok(ops.0)
}
