//! `guardrails: targeted`: the policy's own repair and nothing else.

use domain::config::RulesConfig;
use domain::outcome::Proposal;
use domain::pointer::Pointer;
use domain::policy::PolicyName;

use super::Decision;
use super::review::{self, Effect};
use crate::k8s::View;
use crate::policies::{self, Fix};

/// Proposes the smallest patch that clears the violation rightly.
///
/// A violation that no operation reaches (a text where a map should be on the way to it) is for a person: *nothing to
/// fix* is said only of documents on which the policy holds, whether or not a scanner finds something (an allowed path
/// of the host, a Linux-only field that Windows lacks). So is a repair that what stands around the document forbids
/// ([`review`]).
pub fn propose(view: &View<'_>, policy: &PolicyName, rules: &RulesConfig) -> Decision {
    let PolicyName::Known(id) = policy else { return Decision::NoRule };
    let policy = policies::policy(*id);
    match policy.fix(view, rules) {
        Fix::Repair { patch, companions, cautions } => match review::effect(view, &patch, cautions) {
            Effect::Fine(cautions) => {
                Decision::Repair(Proposal { patch, companions, cautions, collateral_ops: 0, hardened: false })
            }
            Effect::NeedsReview(reason) => Decision::NeedsReview { reason },
        },
        Fix::NeedsReview { reason } => Decision::NeedsReview { reason },
        Fix::NotApplicable { reason } if policy.cleared(view, rules).is_empty() => {
            Decision::NotApplicable { reason }
        }
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
            propose(&view, &PolicyName::Known(PolicyId::LivenessPort), &RulesConfig::default())
        };
        let odd =
            "kind: Pod\nspec: {containers: [{name: a, ports: x, livenessProbe: {tcpSocket: {port: 80}}}]}";
        assert!(
            matches!(propose(odd), Decision::NeedsReview { reason } if reason.contains("from /spec/containers/0/livenessProbe"))
        );
        assert!(matches!(propose("kind: Deployment\nspec: {}"), Decision::NotApplicable { .. }));
    }

    #[test]
    fn what_a_policy_accepts_is_nothing_to_fix() {
        for (id, yaml) in [
            (
                PolicyId::NoHostPath,
                "kind: Pod\nspec: {volumes: [{name: a, hostPath: {path: /etc/ssl/certs}}]}",
            ),
            (PolicyId::DropCapSysAdmin, "kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}"),
        ] {
            let document = document(yaml);
            let view = View::new(&document, &Neighbours::Unknown);
            assert!(!policies::policy(id).detect(&view).is_empty());
            let decision = propose(&view, &PolicyName::Known(id), &RulesConfig::default());
            assert!(matches!(decision, Decision::NotApplicable { .. }), "{decision:?}");
        }
    }
}
