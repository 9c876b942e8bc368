//! Proposes a patch for a policy and a document.

pub mod dialogue;
mod excerpt;
pub mod guard;
pub mod mask;
pub mod parse;
pub mod program;
pub mod prompt;
mod review;
pub mod rules;
pub mod sanitise;
mod smallest;

use domain::outcome::Proposal;

pub use smallest::smallest_patch;

/// What the proposer decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A repair to be judged.
    Repair(Proposal),
    /// A right repair needs a person's knowledge.
    NeedsReview {
        /// What the person must decide.
        reason: String,
    },
    /// Nothing to fix.
    NotApplicable {
        /// Reason, as recorded in the outcome.
        reason: String,
    },
    /// No rule exists for the policy.
    NoRule,
}
