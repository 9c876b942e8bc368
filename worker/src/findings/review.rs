//! A finding with what became of it, for the forms that reviews read.

use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::change::{Change, Edit};
use super::outcome::Outcome;
use super::{Lines, Located, Region};

/// A finding with what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Reviewed<'a> {
    pub(crate) found: &'a Located,
    pub(crate) outcome: &'a Outcome,
    /// The change of which this is the first finding.
    pub(crate) fix: Option<Fix<'a>>,
    /// What else there is to say of its change.
    pub(crate) note: Option<String>,
    /// Whether the repairs are in the files.
    pub(crate) written: bool,
}

/// A change as a suggestion.
#[derive(Debug, Clone)]
pub(crate) struct Fix<'a> {
    pub(crate) change: &'a Change,
    /// The policies whose repairs it is.
    pub(crate) policies: Vec<PolicyId>,
    /// The file of companions that comes with it.
    pub(crate) companions: Option<Beside<'a>>,
}

/// A file that comes with a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside<'a> {
    pub(crate) path: &'a str,
    pub(crate) old: &'a str,
    pub(crate) new: &'a str,
}

/// What takes the place of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) region: Region,
    pub(crate) text: String,
}

impl Reviewed<'_> {
    /// What became of it, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        self.outcome.sentence(self.written) + &note
    }

    /// The finding with what became of it in its message.
    pub(crate) fn told(&self) -> Located {
        let message = format!("{}; {}", self.found.message, self.sentence());
        Located { message, ..self.found.clone() }
    }

    /// The finding as JSON. `text`: that of its file.
    pub(crate) fn json(&self, text: &str, lines: &Lines) -> serde_json::Result<Value> {
        let mut value = serde_json::to_value(self.found)?;
        value["outcome"] = json!(self.outcome.word());
        value["reason"] = json!(self.sentence());
        if let Some(fix) = &self.fix {
            let edits = replacements(&fix.change.edits, text, lines, Lines::region).into_iter();
            let edits: Vec<Value> = edits
                .map(|Replacement { region, text }| {
                    let mut edit = serde_json::to_value(region)?;
                    edit["text"] = json!(text);
                    Ok(edit)
                })
                .collect::<serde_json::Result<_>>()?;
            value["fix"] = json!({"policies": fix.policies, "edits": edits});
            if let Some(beside) = fix.companions {
                value["fix"]["companions"] = json!(beside.path);
            }
        }
        Ok(value)
    }
}

/// Edits as replacements of regions. `region`: how places are counted.
pub(crate) fn replacements(
    edits: &[Edit],
    text: &str,
    lines: &Lines,
    region: fn(&Lines, &str, usize, usize) -> Region,
) -> Vec<Replacement> {
    let made = |edit: &Edit| {
        let Edit { old, new } = edit.on_lines(text);
        Replacement { region: region(lines, text, old.start, old.end), text: new }
    };
    edits.iter().map(made).collect()
}
