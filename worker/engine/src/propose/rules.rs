//! `guardrails: targeted`: the policy's own repair and nothing else.

use domain::config::RulesConfig;
use domain::outcome::Proposal;
use domain::pointer::Pointer;
use domain::policy::{PolicyId, PolicyName};

use super::Decision;
use super::review::{self, Effect};
use crate::k8s::View;
use crate::policies::{self, Fix, Policy};

/// Proposes the smallest patch that clears the violation rightly.
///
/// A violation that no operation reaches (a text where a map should be on the way to it) is for a person: *nothing to
/// fix* is said only of documents on which the policy holds, whether or not a scanner finds something (an allowed path
/// of the host, a Linux-only field that Windows lacks). So is a repair that what stands around the document forbids
/// (`review`).
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
        Fix::NotApplicable { reason } => nothing_done(view, policy, rules, reason),
    }
}

/// What is decided about a document without a model, which is not shown what stands around it: there is nothing to fix, or a
/// person must decide on the repair of the rules, whoever proposes. `None`: the model is asked.
pub fn decided_without_model(view: &View<'_>, policy: &PolicyName, rules: &RulesConfig) -> Option<Decision> {
    let PolicyName::Known(id) = policy else { return None };
    if let Some(reason) = policies::set_by_kustomization(view).filter(|_| *id == PolicyId::NoLatestTag) {
        return Some(Decision::NeedsReview { reason });
    }
    let policy = policies::policy(*id);
    match policy.fix(view, rules) {
        Fix::Repair { patch, cautions, .. } => match review::effect(view, &patch, cautions) {
            Effect::Fine(_) => None,
            Effect::NeedsReview(reason) => Some(Decision::NeedsReview { reason }),
        },
        // The rules have no right repair; the model may.
        Fix::NeedsReview { .. } => None,
        Fix::NotApplicable { reason } => Some(nothing_done(view, policy, rules, reason))
            .filter(|decision| matches!(decision, Decision::NotApplicable { .. })),
    }
}

/// The decision where the policy's repair does nothing, for this reason.
fn nothing_done(view: &View<'_>, policy: &dyn Policy, rules: &RulesConfig, reason: String) -> Decision {
    if policy.cleared(view, rules).is_empty() {
        return Decision::NotApplicable { reason };
    }
    match policy.detect(view).into_iter().next() {
        None => Decision::NotApplicable { reason },
        Some(finding) => Decision::NeedsReview {
            reason: format!(
                "{}, but no operation reaches it: a node on the way from {} is no map or list; correct its type",
                finding.message,
                if finding.pointer == Pointer::ROOT { "the root" } else { finding.pointer.as_str() }
            ),
        },
    }
}

#[cfg(test)]
mod tests {
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
