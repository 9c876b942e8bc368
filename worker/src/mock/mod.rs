//! What the simulated provider answers: a question of ours is read back into the record it was made of, and answered
//! by the rules or by what another model once said.
//!
//! *Never* limits, delays or fails anything: that is `llm::mock`, which knows no Kubernetes.

mod asked;
mod recorded;
mod rules;

pub(crate) use recorded::Recorded;
pub(crate) use rules::by_rules;

/// An answer that changes nothing.
pub(crate) const NOTHING: &str = "{\"patch\": []}";
