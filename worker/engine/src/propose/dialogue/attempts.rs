//! The attempts at one record, whoever makes them: what was refused and why, and what follows.

use domain::config::Guardrails;
use domain::outcome::{Gate, Proposal, Verdict};
use domain::patch::Patch;

use super::case::{Case, Judged, Step};
use crate::k8s::View;
use crate::propose::mask::Masked;
use crate::propose::{guard, rules};

/// Longest error that is kept, in characters.
const ERROR_CHARS: usize = 2000;

/// The attempts so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    /// One for each attempt; without secrets.
    pub(crate) errors: Vec<String>,
    pub(crate) taken: u32,
    pub(crate) last: Option<Box<Judged>>,
}

impl Attempts {
    /// Takes the verdicts on an answer, or why it holds no patch; `None`: ask again.
    pub(crate) fn take<Q>(
        &mut self,
        case: &Case<'_>,
        masked: &Masked,
        judged: Result<Box<Judged>, String>,
    ) -> Option<Step<Q>> {
        self.taken += 1;
        let refused = match judged {
            Ok(judged) if judged.verification.accepted() => return Some(Step::Done(judged)),
            Ok(judged) => {
                let why = judged.verification.errors().join("; ");
                self.last = Some(judged);
                why
            }
            Err(why) => why,
        };
        self.errors.push(masked.scrub(&refused).chars().take(ERROR_CHARS).collect());
        (self.taken >= case.config.max_attempts).then(|| self.fallback(case))
    }

    /// Takes that there is no answer, and will be none.
    pub(crate) fn give_up<Q>(&mut self, case: &Case<'_>, why: String) -> Step<Q> {
        self.taken += 1;
        self.errors.push(why);
        self.fallback(case)
    }

    /// What follows when no attempt is left.
    pub(crate) fn fallback<Q>(&self, case: &Case<'_>) -> Step<Q> {
        if case.config.guardrails == Guardrails::None {
            // The raw proposer is judged by what it said last.
            return self.last.clone().map_or(Step::Fallback(None), Step::Done);
        }
        let view = View::new(case.document, case.neighbours);
        Step::Fallback(Some(rules::propose(&view, case.policy, &case.config.rules)))
    }
}

/// The verdicts on a patch, or where guardrails ask for it and that helps, on the patch with what the rules still find to do.
pub(crate) fn judge(case: &Case<'_>, patch: Patch) -> Box<Judged> {
    let own = judged(case, guard::alone(patch.clone()), false);
    if case.config.guardrails != Guardrails::Merge || own.verification.accepted() || regresses(&own) {
        return own;
    }
    merged(case, patch).unwrap_or(own)
}

/// The patch with what the rules still find to do, where that helps.
fn merged(case: &Case<'_>, patch: Patch) -> Option<Box<Judged>> {
    let merged = guard::merge(patch, case.document, case.neighbours, case.policy, &case.config.rules);
    if !merged.hardened && merged.companions.is_empty() {
        return None;
    }
    Some(judged(case, merged, true)).filter(|judged| judged.verification.accepted())
}

fn judged(case: &Case<'_>, proposal: Proposal, merged: bool) -> Box<Judged> {
    let verification = case.verify(&proposal);
    Box::new(Judged { proposal, verification, merged })
}

/// Whether the proposer's own patch loses something or gains a privilege: the rules must not be laid over that.
fn regresses(own: &Judged) -> bool {
    own.verification.gates.of(Gate::Safety).verdict == Verdict::Failed
}
