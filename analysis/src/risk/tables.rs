//! Base risk of each policy, in three tables of the paper's code.

use domain::policy::{PolicyId, PolicyName};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RiskTable {
    /// Table A: used for `risk.json`.
    RiskFile,
    /// Table B: used by the scheduler for records that are not in `risk.json`.
    Scheduler,
    /// Table C: used for the policy metrics. It equals the policy catalogue and is the one to use.
    PolicyMetrics,
}

impl RiskTable {
    /// Base risk of a policy, by canonical id or alias; 40 for unknown policies.
    pub(crate) fn risk(self, policy: &str) -> f64 {
        let PolicyName::Known(policy) = PolicyName::normalise(policy) else { return 40.0 };
        match self {
            Self::PolicyMetrics => f64::from(policy.base_risk()),
            Self::RiskFile => risk_file(policy),
            Self::Scheduler => scheduler(policy),
        }
    }
}

fn risk_file(policy: PolicyId) -> f64 {
    match policy {
        PolicyId::NoPrivileged | PolicyId::DropCapabilities | PolicyId::DropCapSysAdmin => 85.0,
        PolicyId::NoHostPath => 80.0,
        PolicyId::EnforceSeccomp => 75.0,
        PolicyId::RunAsUser => 72.0,
        PolicyId::RunAsNonRoot => 70.0,
        PolicyId::NoHostPorts => 65.0,
        PolicyId::NoLatestTag => 60.0,
        _ => 40.0,
    }
}

fn scheduler(policy: PolicyId) -> f64 {
    match policy {
        PolicyId::EnvVarSecret => 78.0,
        PolicyId::NoLatestTag | PolicyId::ReadinessPort => 50.0,
        PolicyId::LivenessPort => 45.0,
        PolicyId::StartupPort => 35.0,
        other => risk_file(other),
    }
}

/// Whether the paper's code treats a policy as exploited in the wild; a constant there.
pub(crate) fn is_kev_policy(policy: &str) -> bool {
    matches!(
        PolicyName::normalise(policy),
        PolicyName::Known(PolicyId::NoPrivileged | PolicyId::DropCapabilities | PolicyId::DropCapSysAdmin)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn the_tables_disagree() {
        let of = |policy| {
            [RiskTable::RiskFile, RiskTable::Scheduler, RiskTable::PolicyMetrics].map(|t| t.risk(policy))
        };
        assert_eq!(of("latest-tag"), [60.0, 50.0, 50.0]);
        assert_eq!(of("env_var_secret"), [40.0, 78.0, 40.0]);
        assert_eq!(of("no_host_path"), [80.0, 80.0, 40.0]);
        assert_eq!(of("no_privileged"), [85.0; 3]);
        assert_eq!(of("never heard of"), [40.0; 3]);
        assert!(is_kev_policy("cap-sys-admin") && !is_kev_policy("no_host_path"));
    }
}
