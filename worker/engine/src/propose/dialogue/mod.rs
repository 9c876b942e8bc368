//! The dialogue with a model about one record, as a state machine: [`Step::Ask`] → a response → … → [`Step::Done`] or
//! [`Step::Fallback`].
//!
//! response → parse → sanitise → apply on a masked copy → restore secrets → all gates on the model's own patch (they
//! reject regressions) → merge with the rules → all gates again. The failures of gates are sent back to the model. *Never*
//! calls a model, waits or reads a clock.

mod attempts;
mod case;

use std::sync::Arc;

use domain::answer::{Message, Role};
use domain::config::RunConfig;
use serde_json::Value;

pub(crate) use attempts::{Attempts, judge};
pub use case::{Case, Judged, Step};

use super::mask::Masked;
use super::sanitise::sanitise;
use super::{parse, prompt};

/// Why a patch without operations is refused.
pub(crate) const EMPTY: &str = "the patch is empty, and the violation stands";

/// Longest answer that is repeated to the model.
const REPEATED: usize = 8 << 10;

/// The dialogue.
#[derive(Debug, Clone)]
pub struct Dialogue {
    masked: Arc<Masked>,
    question: Vec<Message>,
    /// What notes of left-out parts begin with.
    mark: String,
    attempts: Attempts,
}

impl Dialogue {
    /// A document as a model is shown it, for all dialogues about it.
    pub fn masked_document(document: &Value, config: &RunConfig) -> Masked {
        Masked::new(document, (prompt_bytes(config) / 4).min(4096))
    }

    /// Begins with the first question, or with the fallback where the document cannot be shown to a model. `masked` is the
    /// case's document by [`Self::masked_document`].
    pub fn begin(case: &Case<'_>, masked: Arc<Masked>) -> (Self, Step) {
        let limit = prompt_bytes(case.config);
        let (question, mark, errors) = match prompt::opening(&masked, case.policy, case.violation, limit) {
            Ok(opening) => (opening.messages, opening.mark, Vec::new()),
            Err(error) => (Vec::new(), String::new(), vec![error.to_string()]),
        };
        let dialogue = Self { masked, question, mark, attempts: Attempts { errors, ..Attempts::default() } };
        let shown = !dialogue.question.is_empty();
        let step =
            if shown { Step::Ask(dialogue.question.clone()) } else { dialogue.attempts.fallback(case) };
        (dialogue, step)
    }

    /// The document as the model is shown it.
    pub fn masked(&self) -> &Masked {
        &self.masked
    }

    /// Every error so far, one an attempt; without secrets.
    pub fn errors(&self) -> &[String] {
        &self.attempts.errors
    }

    /// How many answers were taken.
    pub const fn attempts(&self) -> u32 {
        self.attempts.taken
    }

    /// Takes the model's answer.
    pub fn answered(&mut self, case: &Case<'_>, answer: &str) -> Step {
        let judged = self.judge(case, answer);
        if let Some(step) = self.attempts.take(case, &self.masked, judged) {
            return step;
        }
        let mut messages = self.question.clone();
        let said: String = answer.chars().take(REPEATED).collect();
        messages.push(Message::new(Role::Assistant, self.masked.scrub(&said)));
        messages.push(prompt::feedback(&self.attempts.errors, &self.masked));
        Step::Ask(messages)
    }

    /// Takes that there is no answer, and will be none: the call failed for good.
    pub fn unanswered(&mut self, case: &Case<'_>, why: &str) -> Step {
        self.attempts.give_up(case, why.to_owned())
    }

    fn judge(&self, case: &Case<'_>, answer: &str) -> Result<Box<Judged>, String> {
        let patch = parse::parse(answer).map_err(|error| error.to_string())?;
        if patch.is_empty() {
            return Err(EMPTY.to_owned());
        }
        if answer.contains(&self.mark) {
            return Err(format!("the patch writes {}, which stands for a part that was left out", self.mark));
        }
        let sanitised = sanitise(&patch, &self.masked.value);
        let restored = self.masked.restore_applied(&sanitised.patch, sanitised.patched);
        let patch = restored.map_err(|error| error.to_string())?;
        Ok(judge(case, patch))
    }
}

const fn prompt_bytes(config: &RunConfig) -> usize {
    config.proposer.prompt_bytes as usize
}

#[cfg(test)]
mod tests;
