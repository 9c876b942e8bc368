//! Turns a slice of the corpus into outcomes: one row for each record, valid or not.
//!
//! *Owns* the way of a record: parse → propose → verify → row. Three runners, for the rules, an LLM and a
//! program, end each record as a `FinishedRecord`, from which the row is built in one place. *Invariant*: total. A bad record, or a
//! bug in a policy, is a row with an `error_kind`; it never ends a run or affects another record.

mod command_runner;
mod context;
mod documents;
mod llm_runner;
mod model_usage;
mod plan;
mod progress;
mod record;
mod repair_result;
mod row_masks;
mod rules_runner;
mod tasks;
mod tool_rescan;

pub(crate) use command_runner::run_command_slice;
pub use context::Context;
pub(crate) use documents::unrendered;
pub(crate) use llm_runner::{Asking, run_llm_slice};
pub(crate) use plan::plan;
pub(crate) use progress::{Progress, Settled};
pub use rules_runner::{run_slice, run_slice_while};
pub use tool_rescan::ToolRescans;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod timing_tests;
