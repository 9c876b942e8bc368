//! Where the wire meets the domain: domain types go out with `From`, wire types come in with `TryFrom`.
//!
//! *Invariant*: nothing that came over the wire is a domain value before it passed through here.

mod config;
mod error;
mod frames;
mod lease;
mod llm;
mod record;
mod run;
mod stored;
mod worker;

pub use config::{config_from_wire, config_to_wire};
pub use error::BadMessage;
pub(crate) use error::{hash_bytes, required};
pub use frames::{Assembly, FRAME_BYTES, frames};
pub use lease::{LeaseKey, PartHeader};
pub use llm::{ANSWER_BYTES, AcquireCall, CallResult};
pub use run::{LlmStatus, RunStatus, tally_from_wire, tally_to_wire};
pub use stored::StoredRun;
pub use worker::WorkerStatus;
