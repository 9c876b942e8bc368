//! The dialogue with a model about one record, as a state machine: [`Step::Ask`] → a response → … → [`Step::Done`] or
//! [`Step::Fallback`].
//!
//! response → parse → sanitise → apply on a masked copy → restore secrets → all gates on the model's own patch (they
//! reject regressions) → merge with the rules → all gates again. The failures of gates are sent back to the model. *Never*
//! calls a model, waits or reads a clock.

use domain::answer::{Message, Role};
use domain::config::{Guardrails, RunConfig};
use domain::outcome::{Gate, Proposal, Verdict};
use domain::patch::Patch;
use domain::policy::PolicyName;
use domain::record::Neighbours;

use super::mask::Masked;
use super::{Decision, guard, parse, prompt, rules, sanitise};
use crate::document::Document;
use crate::k8s::View;
use crate::verify::{Before, Candidate, Clock, Verification, Verifier};

/// Longest answer that is repeated to the model.
const REPEATED: usize = 8 << 10;

/// What the dialogue is about.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The document.
    pub document: &'a Document,
    /// What stands around it.
    pub neighbours: &'a Neighbours,
    /// What was found in it.
    pub before: &'a Before,
    /// The policy to be held.
    pub policy: &'a PolicyName,
    /// The scanner's sentence.
    pub violation: &'a str,
    /// The settings.
    pub config: &'a RunConfig,
    /// The gates.
    pub verify: Verifier<'a>,
    /// A clock that is handed in.
    pub clock: Clock<'a>,
}

impl Case<'_> {
    /// What the gates say of a proposal.
    pub fn verify(&self, proposal: &Proposal) -> Verification {
        let candidate = Candidate {
            document: self.document,
            neighbours: self.neighbours,
            before: self.before,
            policy: self.policy,
            proposal,
        };
        (self.verify)(candidate, self.config, self.clock)
    }
}

/// The next step of a dialogue.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask the model this.
    Ask(Vec<Message>),
    /// The model has a patch: one that passed every gate, or with guardrails `none` its last one.
    Done(Box<Judged>),
    /// The model has none that passes; what the rules say instead, `None` where they stand aside.
    Fallback(Option<Decision>),
}

/// A patch and what the gates say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The patch.
    pub proposal: Proposal,
    /// The verdicts.
    pub verification: Verification,
    /// Whether the rules added to it.
    pub merged: bool,
}

/// The dialogue.
#[derive(Debug, Clone)]
pub struct Dialogue {
    masked: Masked,
    question: Vec<Message>,
    /// What notes of left-out parts begin with.
    mark: String,
    errors: Vec<String>,
    attempts: u32,
    last: Option<Box<Judged>>,
}

impl Dialogue {
    /// Begins with the first question, or with the fallback where the document cannot be shown to a model.
    pub fn begin(case: &Case<'_>) -> (Self, Step) {
        let limit = case.config.proposer.prompt_bytes as usize;
        let masked = Masked::new(&case.document.value, (limit / 4).min(4096));
        let (question, mark, errors) = match prompt::opening(&masked, case.policy, case.violation, limit) {
            Ok(opening) => (opening.messages, opening.mark, Vec::new()),
            Err(error) => (Vec::new(), String::new(), vec![error.to_string()]),
        };
        let dialogue = Self { masked, question, mark, errors, attempts: 0, last: None };
        let shown = !dialogue.question.is_empty();
        let step = if shown { Step::Ask(dialogue.question.clone()) } else { dialogue.fallback(case) };
        (dialogue, step)
    }

    /// The document as the model is shown it.
    pub const fn masked(&self) -> &Masked {
        &self.masked
    }

    /// Every error so far, one an attempt; without secrets.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// How many answers were taken.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes the model's answer.
    pub fn answered(&mut self, case: &Case<'_>, answer: &str) -> Step {
        self.attempts += 1;
        let refused = match self.judge(case, answer) {
            Ok(judged) if judged.verification.accepted() => return Step::Done(judged),
            Ok(judged) => {
                let why = judged.verification.errors().join("; ");
                self.last = Some(judged);
                why
            }
            Err(why) => why,
        };
        self.errors.push(self.masked.scrub(&refused).chars().take(2000).collect());
        if self.attempts >= case.config.max_attempts {
            return self.fallback(case);
        }
        let mut messages = self.question.clone();
        let said: String = answer.chars().take(REPEATED).collect();
        messages.push(Message::new(Role::Assistant, self.masked.scrub(&said)));
        messages.push(prompt::feedback(&self.errors, &self.masked));
        Step::Ask(messages)
    }

    /// Takes that there is no answer, and will be none: the call failed for good.
    pub fn unanswered(&mut self, case: &Case<'_>, why: &str) -> Step {
        self.attempts += 1;
        self.errors.push(why.to_owned());
        self.fallback(case)
    }

    fn judge(&self, case: &Case<'_>, answer: &str) -> Result<Box<Judged>, String> {
        let patch = parse::parse(answer).map_err(|error| error.to_string())?;
        if patch.is_empty() {
            return Err("the patch is empty, and the violation stands".to_owned());
        }
        if answer.contains(&self.mark) {
            return Err(format!("the patch writes {}, which stands for a part that was left out", self.mark));
        }
        let (patch, _) = sanitise::sanitise(&patch, &self.masked.value);
        let patch = self.masked.restore(&patch).map_err(|error| error.to_string())?;
        let own = judged(case, guard::alone(patch.clone()), false);
        if case.config.guardrails != Guardrails::Merge || own.verification.accepted() || regresses(&own) {
            return Ok(own);
        }
        Ok(merged(case, patch).unwrap_or(own))
    }

    fn fallback(&self, case: &Case<'_>) -> Step {
        if case.config.guardrails == Guardrails::None {
            // The raw model is judged by what it said last.
            return self.last.clone().map_or(Step::Fallback(None), Step::Done);
        }
        let view = View::new(case.document, case.neighbours);
        Step::Fallback(Some(rules::propose(&view, case.policy, &case.config.rules)))
    }
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

/// Whether the model's own patch loses something or gains a privilege: the rules must not be laid over that.
fn regresses(own: &Judged) -> bool {
    own.verification.gates.of(Gate::Safety).verdict == Verdict::Failed
}

#[cfg(test)]
mod tests;
