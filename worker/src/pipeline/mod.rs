//! From a slice of the corpus to its outcomes: one row a record, whatever the record holds.
//!
//! *Owns* the way of a record: parse → propose → verify → row. Two runners, one for the rules and one for a model, end
//! each record as a `FinishedRecord`, and the row is built from that in one place. *Invariant*: total. A bad
//! record, or a bug in a policy, is a row with an `error_kind`; it never ends a run or harms a neighbour.

mod context;
mod documents;
mod llm_runner;
mod plan;
mod progress;
mod record;
mod repair_result;
mod rules_runner;

pub use context::Context;
pub(crate) use documents::unrendered;
pub(crate) use llm_runner::{question, run_slice_by_model};
pub(crate) use plan::plan;
pub(crate) use progress::{Progress, Settled};
pub use rules_runner::{run_slice, run_slice_while};

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing_tests;
