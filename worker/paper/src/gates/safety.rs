//! The published safety gate: there are containers, each with an image, none privileged.

use domain::policy::{PolicyId, PolicyName};
use serde_json::Value;

use super::walk;

/// Policies whose documents may have no containers.
const WITHOUT_CONTAINERS: [PolicyId; 7] = [
    PolicyId::DanglingService,
    PolicyId::NonExistentServiceAccount,
    PolicyId::PdbUnhealthyEvictionPolicy,
    PolicyId::UnsafeSysctls,
    PolicyId::DeprecatedServiceAccountField,
    PolicyId::NoAntiAffinity,
    PolicyId::JobTtlAfterFinished,
];

/// Why the patched document is not safe.
pub(super) fn errors(document: &Value, policy: &PolicyName) -> Vec<String> {
    let containers = walk::containers(document);
    if containers.is_empty() {
        let may = matches!(policy, PolicyName::Known(id) if WITHOUT_CONTAINERS.contains(id));
        return if may { Vec::new() } else { vec!["no containers found in manifest".to_owned()] };
    }
    let mut errors = Vec::new();
    for container in containers {
        if walk::text(container, "image").is_none() {
            errors.push("container image missing or empty".to_owned());
        }
        if walk::map(container, "securityContext")
            .is_some_and(|context| walk::flag(context, "privileged", true))
        {
            errors.push("privileged container detected".to_owned());
        }
    }
    errors
}
