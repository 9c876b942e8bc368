//! The ledger: durable state of runs, shards, leases and commits.

mod contract;
#[cfg(test)]
pub(crate) mod faulty;
mod memory;
mod postgres;
mod sqlite;
pub mod state_folder;
#[cfg(test)]
pub(crate) mod suite;
mod timed;

pub use contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};
pub use memory::MemoryLedger;
pub(crate) use postgres::PostgresLedger;
pub use sqlite::SqliteLedger;
pub(crate) use timed::TimedLedger;
