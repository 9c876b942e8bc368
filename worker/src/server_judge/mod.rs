//! Asks an API server about documents, for runs whose `verifier.depth` needs one.
//!
//! *Owns* the server of a worker and its recent verdicts. *Invariant*: a server that cannot be reached has given no verdict:
//! the record waits for it, and its shard is handed back when the worker ends or the wait gets long. No record fails.

mod cache_client;
mod judge;
mod lease_judge;
mod memory;
mod source;
#[cfg(test)]
mod tests;

pub use api_server::Definitions;
pub(crate) use cache_client::CacheClient;
pub use judge::{JudgeServer, ServerJudge, Unreachable};
pub use lease_judge::LeaseJudge;
pub(crate) use lease_judge::{Stop, admit};
pub(crate) use memory::Memory;
pub use source::{ServerArgs, definitions, supervise};
