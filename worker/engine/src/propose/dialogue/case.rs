//! What a dialogue is about, its steps, and what it ends with.

use domain::answer::Message;
use domain::config::RunConfig;
use domain::outcome::Proposal;
use domain::policy::PolicyName;
use domain::record::Neighbours;

use crate::document::Document;
use crate::propose::Decision;
use crate::verify::{Before, Candidate, Clock, Verification, Verifier};

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

/// The next step of a dialogue, which asks a model messages, and a program a question of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<Q = Vec<Message>> {
    /// Ask this.
    Ask(Q),
    /// There is a patch: one that passed every gate, or with guardrails `none` the last one.
    Done(Box<Judged>),
    /// There is none that passes; what the rules say instead, `None` where they stand aside.
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
