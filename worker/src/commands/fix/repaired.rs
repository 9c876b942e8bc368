//! What the repair of a file is asked to do, and what came of it.

use std::collections::BTreeMap;

use domain::config::RunConfig;
use domain::outcome::{Caution, Gates};
use domain::patch::Patch;
use domain::policy::PolicyId;
use serde_json::Value;

use super::allowed::Allowed;
use super::interactive::Asker;
use crate::commands::repository::Suppressions;
use crate::commands::stop::Stop;
use crate::findings::change::Change;
use crate::findings::outcome::Outcome;
use crate::server_gate::ServerGate;

/// Result of the repair of one file.
#[derive(Debug, Default)]
pub(in crate::commands) struct Repaired {
    /// The new text; `None` when nothing changed.
    pub(in crate::commands) text: Option<String>,
    pub(in crate::commands) companions: Vec<Value>,
    /// The applied repairs, in their order.
    pub(in crate::commands) repairs: Vec<Repair>,
    /// How many violations are left: those of one policy in one object count once.
    pub(in crate::commands) left: u64,
    /// Messages about them, one for each reason.
    pub(in crate::commands) reasons: Vec<String>,
    /// The cautions of each repair that was not allowed.
    pub(in crate::commands) held_back: Vec<Vec<Caution>>,
    /// What became of the violations of each policy in each object; those that are not here, another repair cleared.
    pub(in crate::commands) outcomes: BTreeMap<(usize, PolicyId), Outcome>,
    /// The changes of the text that the repairs are, where they are asked for.
    pub(in crate::commands) changes: Vec<Change>,
}

/// A repair that was applied.
#[derive(Debug)]
pub(in crate::commands) struct Repair {
    /// The number of its object in the file.
    pub(in crate::commands) object: usize,
    pub(in crate::commands) policy: PolicyId,
    /// The object for people, with its place.
    pub(in crate::commands) subject: String,
    pub(in crate::commands) cautions: Vec<Caution>,
    /// Whether the document was written anew.
    pub(in crate::commands) is_reserialised: bool,
    /// The patch of the object, once earlier repairs are made.
    pub(in crate::commands) patch: Patch,
    /// The verdicts on it.
    pub(in crate::commands) gates: Gates,
    /// The patch of the object that undoes it, once later repairs are undone.
    pub(in crate::commands) inverse: Option<Patch>,
    pub(in crate::commands) companions: Vec<Value>,
}

impl Repair {
    /// Its object and its policy.
    pub(super) fn about(&self) -> String {
        format!("{}: {}", self.subject, self.policy)
    }

    /// A message about it, with its cautions. `made`: it is written; else it would be.
    pub(super) fn line(&self, made: bool) -> String {
        let mut notes: Vec<&str> = self.cautions.iter().map(|caution| caution.sentence()).collect();
        if self.is_reserialised {
            notes.push("the document had to be re-serialised: its comments are lost");
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        let verb = if made { "repaired" } else { "would be repaired" };
        format!("{}: {verb}{notes}", self.about())
    }
}

/// How files are repaired.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Manner<'a> {
    pub(in crate::commands) selected: &'a [PolicyId],
    /// Whether a document may be written anew.
    pub(in crate::commands) rewrite: bool,
    /// Whether a program rendered the files.
    pub(in crate::commands) rendered: bool,
    /// Whether the changes of the text are asked for.
    pub(in crate::commands) tracked: bool,
    pub(in crate::commands) allowed: &'a Allowed,
    /// Findings that do not count, and are not repaired.
    pub(in crate::commands) suppressions: &'a Suppressions,
    pub(in crate::commands) config: &'a RunConfig,
    /// The server that is the schema gate.
    pub(in crate::commands) gate: Option<&'a ServerGate>,
    /// Who is asked about each repair; `None`: all are made.
    pub(in crate::commands) asker: Option<&'a Asker>,
    /// When the work ends early; `None`: never.
    pub(in crate::commands) stop: Option<&'a Stop>,
}
