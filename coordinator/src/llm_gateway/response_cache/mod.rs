//! Response cache: completions of LLM calls, durable before they are used, shared by all runs. Each is paid for once.
//!
//! *Owns* one `SQLite` file (write-ahead log, synced at every commit): what was answered, and what each run has spent.
//! *Invariants*: only whole answers are kept; a row that is not what was written is never served; nothing is loaded when
//! the file is opened, an answer is found by its key.

mod entry;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod transfer;
mod usage;

pub(crate) use entry::{CacheEntry, CacheWrite, CachedResponse};
pub use store::ResponseCache;
pub(crate) use store::{Answers, ByModel, CacheError, Selection};
#[cfg(test)]
pub(crate) use transfer::{ImportError, Imported};
pub(crate) use transfer::{export, import};
pub(crate) use usage::LlmUsage;

/// Name of the file in a coordinator's state folder.
pub(crate) const ANSWERS_FILE: &str = "answers.sqlite";
