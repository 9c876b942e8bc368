//! The published policy gate: for each policy, whether it holds on the patched document.

mod container;
mod object;
mod probe;

use domain::policy::{PolicyId, PolicyName};
use serde_json::{Map, Value};

use super::walk;

/// Why the policy does not hold. Policies without a re-check, and unknown ones, always hold.
pub(super) fn errors(document: &Value, policy: &PolicyName) -> Vec<String> {
    let PolicyName::Known(id) = policy else { return Vec::new() };
    match id {
        PolicyId::NoLatestTag => each(document, container::latest_tag),
        PolicyId::NoPrivileged => each(document, container::privileged),
        PolicyId::ReadOnlyRootFs => each(document, container::read_only_root_fs),
        PolicyId::RunAsNonRoot => each(document, container::run_as_non_root),
        PolicyId::RunAsUser => each(document, container::run_as_user),
        PolicyId::EnforceSeccomp => each(document, container::seccomp),
        PolicyId::SetRequestsLimits => each(document, container::requests_limits),
        PolicyId::NoAllowPrivilegeEscalation => each(document, container::privilege_escalation),
        PolicyId::DropCapabilities => each(document, container::capabilities),
        PolicyId::DropCapSysAdmin => each(document, container::sys_admin),
        PolicyId::NoHostPorts => each(document, container::host_ports),
        PolicyId::EnvVarSecret => each(document, container::env_secrets),
        PolicyId::LivenessPort => each(document, |fields| probe::error(fields, "livenessProbe")),
        PolicyId::ReadinessPort => each(document, |fields| probe::error(fields, "readinessProbe")),
        PolicyId::StartupPort => each(document, |fields| probe::error(fields, "startupProbe")),
        PolicyId::NoHostPath => object::host_path(document),
        PolicyId::DanglingService => object::service(document),
        PolicyId::NonExistentServiceAccount => object::service_account(document),
        PolicyId::DeprecatedServiceAccountField => object::service_account_field(document),
        PolicyId::UnsafeSysctls => object::sysctls(document),
        PolicyId::PdbUnhealthyEvictionPolicy => object::disruption_budget(document),
        PolicyId::JobTtlAfterFinished => object::job_ttl(document),
        PolicyId::NoAntiAffinity => object::anti_affinity(document),
        _ => Vec::new(),
    }
}

fn each<E>(document: &Value, check: impl Fn(&Map<String, Value>) -> E) -> Vec<String>
where
    E: IntoIterator<Item = String>,
{
    walk::containers(document).into_iter().flat_map(check).collect()
}
