//! Gate *policy*: the target policy holds on the patched document.

use domain::config::RulesConfig;
use domain::policy::PolicyName;

use crate::k8s::View;
use crate::policies;

/// Why the policy does not hold; an unknown policy cannot be shown to hold.
pub(super) fn errors(patched: &View<'_>, policy: &PolicyName, rules: &RulesConfig) -> Vec<String> {
    match policy {
        PolicyName::Known(id) => policies::policy(*id).cleared(patched, rules),
        PolicyName::Unknown(id) => vec![format!("no check exists for policy {id:?}")],
    }
}
