//! `guardrails: targeted`: the policy's own repair and nothing else.

use domain::config::RulesConfig;
use domain::outcome::Proposal;
use domain::pointer::Pointer;
use domain::policy::PolicyName;

use super::Decision;
use crate::k8s::View;
use crate::policies::{self, Fix};

/// Proposes the smallest patch that clears the violation rightly.
///
/// A violation that no operation reaches (a text where a map should be on the way to it) is for a person: *nothing to
/// fix* is said only of documents in which nothing is found.
pub fn propose(view: &View<'_>, policy: &PolicyName, rules: &RulesConfig) -> Decision {
    let PolicyName::Known(id) = policy else { return Decision::NoRule };
    let policy = policies::policy(*id);
    match policy.fix(view, rules) {
        Fix::Repair { patch, companions, cautions } => {
            Decision::Repair(Proposal { patch, companions, cautions, collateral_ops: 0, hardened: false })
        }
        Fix::NeedsReview { reason } => Decision::NeedsReview { reason },
        Fix::NotApplicable { reason } => match policy.detect(view).into_iter().next() {
            None => Decision::NotApplicable { reason },
            Some(finding) => Decision::NeedsReview {
                reason: format!(
                    "{}, but no operation reaches it: a node on the way from {} is no map or list; correct its type",
                    finding.message,
                    if finding.pointer == Pointer::ROOT { "the root" } else { finding.pointer.as_str() }
                ),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use domain::policy::PolicyId;
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    #[test]
    fn a_violation_out_of_reach_is_not_called_nothing_to_fix() {
        let propose = |yaml: &str| {
            let document = document(yaml);
            let view = View::new(&document, &Neighbours::Unknown);
            propose(&view, &PolicyName::Known(PolicyId::NoAntiAffinity), &RulesConfig::default())
        };
        let odd = "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2, template: {metadata: {labels: {app: a}}, spec: {affinity: none}}}";
        assert!(
            matches!(propose(odd), Decision::NeedsReview { reason } if reason.contains("from /spec/template/spec/affinity"))
        );
        assert!(matches!(propose("kind: Deployment\nspec: {}"), Decision::NotApplicable { .. }));
    }
}
