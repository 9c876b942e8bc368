//! `guardrails: targeted`: the policy's own repair and nothing else.

use domain::config::RulesConfig;
use domain::outcome::Proposal;
use domain::policy::PolicyName;

use super::Decision;
use crate::k8s::View;
use crate::policies::{self, Fix};

/// Proposes the smallest patch that clears the violation rightly.
pub fn propose(view: &View<'_>, policy: &PolicyName, rules: &RulesConfig) -> Decision {
    let PolicyName::Known(id) = policy else { return Decision::NoRule };
    match policies::policy(*id).fix(view, rules) {
        Fix::Repair { patch, companions, cautions } => {
            Decision::Repair(Proposal { patch, companions, cautions, collateral_ops: 0, hardened: false })
        }
        Fix::NeedsReview { reason } => Decision::NeedsReview { reason },
        Fix::NotApplicable { reason } => Decision::NotApplicable { reason },
    }
}
