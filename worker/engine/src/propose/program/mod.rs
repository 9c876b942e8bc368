//! The dialogue with a program about one record, as a state machine like that with a model: [`Step::Ask`] → an answer → … →
//! [`Step::Done`] or [`Step::Fallback`].
//!
//! A program returns a patch, or a whole document, of which the smallest patch is made. What it returns is held to RFC 6902
//! as it stands: nothing is mended, as it is for a model. *Never* starts a program, waits or reads a clock.

use domain::patch::Patch;
use serde::{Deserialize, Serialize};

use super::dialogue::{Attempts, Case, EMPTY, Judged, Step, judge};
use super::mask::Masked;
use super::{prompt, smallest_patch};
use crate::document::Document;
use crate::yaml::to_yaml;

/// How the secrets of a document are shown to a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secrets {
    /// As masks, which are restored in what it returns; as for a model.
    #[default]
    Masked,
    /// As they are.
    Whole,
}

/// What a program is shown of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The scanner's sentence.
    pub violation: String,
    /// The document as YAML.
    pub manifest: String,
    /// Why the answers so far were refused, in the words for a model; `None`: this is the first attempt.
    pub feedback: Option<String>,
}

/// What a program returned.
#[derive(Debug, Clone, PartialEq)]
pub enum Returned {
    /// A patch.
    Patch(Patch),
    /// The repaired document.
    Document(String),
}

/// The dialogue.
#[derive(Debug, Clone)]
pub struct ProgramDialogue {
    masked: Masked,
    secrets: Secrets,
    manifest: String,
    violation: String,
    attempts: Attempts,
}

impl ProgramDialogue {
    /// Begins with the first question.
    pub fn begin(case: &Case<'_>, secrets: Secrets) -> (Self, Step<Shown>) {
        let masked = Masked::new(&case.document.value, usize::MAX);
        let (manifest, violation) = match secrets {
            Secrets::Masked => (to_yaml(&masked.value), masked.scrub(case.violation)),
            Secrets::Whole => (to_yaml(&case.document.value), case.violation.to_owned()),
        };
        let dialogue = Self { masked, secrets, manifest, violation, attempts: Attempts::default() };
        let step = Step::Ask(dialogue.shown());
        (dialogue, step)
    }

    /// Every error so far, one an attempt; without secrets.
    pub fn errors(&self) -> &[String] {
        &self.attempts.errors
    }

    /// How many answers were taken.
    pub const fn attempts(&self) -> u32 {
        self.attempts.taken
    }

    /// Takes what the program returned.
    pub fn answered(&mut self, case: &Case<'_>, returned: &Returned) -> Step<Shown> {
        let judged = self.judge(case, returned);
        self.attempts.take(case, &self.masked, judged).unwrap_or_else(|| Step::Ask(self.shown()))
    }

    /// Takes that there is no answer, and will be none.
    pub fn unanswered(&mut self, case: &Case<'_>, why: &str) -> Step<Shown> {
        self.attempts.give_up(case, self.masked.scrub(why))
    }

    fn shown(&self) -> Shown {
        let errors = &self.attempts.errors;
        Shown {
            attempt: self.attempts.taken + 1,
            violation: self.violation.clone(),
            manifest: self.manifest.clone(),
            feedback: (!errors.is_empty())
                .then(|| prompt::feedback(errors, &self.masked).content.to_string()),
        }
    }

    fn judge(&self, case: &Case<'_>, returned: &Returned) -> Result<Box<Judged>, String> {
        let given = match self.secrets {
            Secrets::Masked => &self.masked.value,
            Secrets::Whole => &case.document.value,
        };
        let patch = match returned {
            Returned::Patch(patch) => patch.clone(),
            Returned::Document(text) => {
                let document = Document::parse(text, &case.config.limits)
                    .map_err(|error| format!("the returned document is not valid: {error}"))?;
                let (kind, wanted) = (&document.identity.kind, &case.document.identity.kind);
                if kind != wanted {
                    return Err(format!("the returned document is a {kind:?}, not a {wanted:?}"));
                }
                smallest_patch(given, &document.value)
            }
        };
        if patch.is_empty() {
            return Err(EMPTY.to_owned());
        }
        let patch = match self.secrets {
            Secrets::Masked => self.masked.restore(&patch).map_err(|error| error.to_string())?,
            Secrets::Whole => patch,
        };
        Ok(judge(case, patch))
    }
}

#[cfg(test)]
mod tests;
