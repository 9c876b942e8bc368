//! Answers of models, each paid for once: durable before it is used, shared by all runs.
//!
//! *Owns* one `SQLite` file (write-ahead log, synced at every commit): what was answered, and what each run has spent.
//! *Invariants*: only whole answers are kept; a row that is not what was written is never served; nothing is loaded when
//! the file is opened, an answer is found by its key.

mod entry;
mod rows;
mod spent;
mod store;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use entry::{Entry, Keep, Stored};
pub(crate) use spent::Spent;
pub use store::AnswerStore;
pub(crate) use store::{Answers, AnswersError, ByModel, Selection};
#[cfg(test)]
pub(crate) use transfer::{ImportError, Imported};
pub(crate) use transfer::{export, import};

/// Name of the file in a coordinator's state folder.
pub(crate) const ANSWERS_FILE: &str = "answers.sqlite";
