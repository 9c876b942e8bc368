//! Conversions between wire messages and domain types: `From` when sending, `TryFrom` when receiving.
//!
//! *Invariant*: a received value becomes a domain value here only, after validation.

mod config;
mod error;
mod frames;
mod judge;
mod lease;
mod llm;
mod record;
mod run;
mod scanner;
mod stored;
mod verdict;
mod worker;

pub use config::{config_from_wire, config_to_wire};
pub use error::BadMessage;
pub(crate) use error::{hash_bytes, required, secret};
pub use frames::{Assembly, FRAME_BYTES, frames};
pub use judge::JudgeStatus;
pub use lease::{LeaseKey, PartHeader};
pub use llm::{ANSWER_BYTES, AcquireCall, CallResult, Ticket};
pub use run::{FAILURE_REASONS, LlmStatus, RunStatus, tally_from_wire, tally_to_wire};
pub use scanner::{scanners_from_wire, scanners_to_wire};
pub use stored::StoredRun;
pub use verdict::{LeaseHolder, VERDICTS, verdict_from_wire, verdict_to_wire};
pub use worker::WorkerStatus;
