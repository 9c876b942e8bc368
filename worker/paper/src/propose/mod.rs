//! `guardrails: paper`: the published rules, which harden the whole document for any violation.
//!
//! *Owns* the rules and guards that made the published rules run, with their faults: pruned input, guessed images,
//! empty volumes for claims, Services turned into aliases of themselves. They are kept for comparison and not improved;
//! the repairs of the policies (`guardrails: targeted`) are independent of this module.
//!
//! One thing is not copied: values of operations are immutable here. The paper's code shared them between the operation
//! and the document, so that its recorded operations contain later changes, list entries occur twice (305 documents), and
//! some removes have no target (58 records).
//!
//! # Steps
//! 1. The policy's own operations are made on the view of the document ([`Source`]).
//! 2. Each guard adds what it misses in the document as repaired so far; the guard that is the policy itself is left out.
//! 3. The patch is the policy's operations, then the guards', none twice.

mod guards;
mod ops;
mod prune;
mod quantity;
mod refusal;
mod rules;
mod sanitise;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use domain::outcome::Proposal;
use domain::patch::Patch;
use domain::policy::{PolicyId, PolicyName};
use engine::propose::Decision;
use serde_json::Value;

use self::guards::Guarded;
use self::ops::apply_all;
use self::refusal::Refusal;

pub use self::prune::prune;

/// Where the document comes from, which decides what the rules see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The copy that a published record holds. The original looked at a pruned view of it ([`prune`]), except for
    /// `job_ttl_after_finished` (which read the file), `no_host_path` and `no_host_ports` (whose findings kept the
    /// document whole) and for a `CronJob` that was pruned already. The view is dropped where a patch made for it does
    /// not apply to the document itself.
    Record {
        /// The scanner's id; one that speaks of `env` or `host_path` kept a few more fields.
        raw_policy_id: &'a str,
    },
    /// The whole document of a file: the rules see all of it.
    Manifest,
}

/// Proposes what the published rules proposed.
///
/// A rule that found nothing to fix ended the original's run; here it is [`Decision::NotApplicable`], and a refusal, or
/// a patch that does not apply to the document, is [`Decision::NeedsReview`].
pub fn propose(document: &Value, policy: &PolicyName, source: Source<'_>) -> Decision {
    let PolicyName::Known(id) = policy else { return Decision::NoRule };
    if !PolicyId::PAPER.contains(id) {
        return Decision::NoRule;
    }
    let view = view(document, *id, source);
    let made = harden(&view, *id);
    let made_for_it = matches!(view, Cow::Borrowed(_));
    match decide(document, made, made_for_it) {
        Decision::NeedsReview { .. } if !made_for_it => decide(document, harden(document, *id), true),
        decision => decision,
    }
}

fn view<'d>(document: &'d Value, policy: PolicyId, source: Source<'_>) -> Cow<'d, Value> {
    let Source::Record { raw_policy_id } = source else { return Cow::Borrowed(document) };
    let whole =
        matches!(policy, PolicyId::JobTtlAfterFinished | PolicyId::NoHostPath | PolicyId::NoHostPorts);
    let is_pruned = document.pointer("/spec/jobTemplate/template").is_some();
    if whole || is_pruned || prune::keeps_all(document, raw_policy_id) {
        return Cow::Borrowed(document);
    }
    Cow::Owned(prune(document, raw_policy_id))
}

/// The policy's operations with the guards', made for what the rules see.
fn harden(view: &Value, policy: PolicyId) -> Result<Guarded, Refusal> {
    let own = rules::operations(view, policy)?;
    if own.is_empty() {
        return Err(Refusal::NothingToFix);
    }
    Ok(guards::guard(view, policy, own))
}

/// `made_for_it`: whether the operations were made for the document itself and not for a view of it.
fn decide(document: &Value, made: Result<Guarded, Refusal>, made_for_it: bool) -> Decision {
    let Guarded { ops, guard_ops, applies } = match made {
        Ok(made) => made,
        Err(Refusal::NothingToFix) => {
            return Decision::NotApplicable { reason: "the published rule finds nothing to fix".to_owned() };
        }
        Err(Refusal::Refused(reason)) => return Decision::NeedsReview { reason: reason.to_owned() },
    };
    if !(applies && made_for_it)
        && let Err(at) = apply_all(&mut document.clone(), &ops)
    {
        let path = ops.get(at).map(|op| op.path().to_string()).unwrap_or_default();
        return Decision::NeedsReview {
            reason: format!("the published rule's patch does not apply: operation {at} ({path})"),
        };
    }
    Decision::Repair(Proposal {
        patch: Patch(ops),
        companions: Vec::new(),
        cautions: Vec::new(),
        collateral_ops: u32::try_from(guard_ops).unwrap_or(u32::MAX),
        hardened: true,
    })
}
