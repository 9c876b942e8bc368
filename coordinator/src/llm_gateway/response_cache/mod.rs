//! Response cache: completions of LLM calls, durable before they are used, and shared by all runs. Beside them the verdicts
//! of API servers.
//!
//! *Owns* one `SQLite` file (write-ahead log, synced at every commit) with the answers, the calls under way, the usage of each run
//! and the verdicts; or tables in a `PostgreSQL` server with the same.
//! *Invariants*: only complete answers are stored; a row with a wrong checksum is never served; opening the file loads no
//! answers, each is read by its key.

mod batches;
mod below;
mod calls;
mod entry;
mod failures;
mod handle;
mod owner;
mod postgres;
mod rows;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod transfer;
mod usage;
mod verdicts;

pub(crate) use batches::{Claim, Tick, Ticked};
pub(crate) use below::Used;
pub(crate) use calls::{CallId, CallsOfRun, OrphanedCall, RecordedCall};
pub(crate) use entry::{CacheEntry, CacheWrite, CachedResponse, Counted, StoreWrite};
pub(crate) use failures::FailureCounts;
pub use handle::AnswerStore;
pub(crate) use owner::{Owner, OwnerLock, random_name};
pub(crate) use postgres::PostgresAnswers;
pub use store::ResponseCache;
pub(crate) use store::{Answers, ByModel, CacheError, Selection};
#[cfg(test)]
pub(crate) use transfer::{ImportError, Imported};
pub(crate) use transfer::{export, import, import_verdicts};
pub(crate) use usage::LlmUsage;
pub(crate) use verdicts::{JudgedRun, Verdicts};

/// Name of the file in a coordinator's state folder.
pub(crate) const ANSWERS_FILE: &str = "answers.sqlite";
