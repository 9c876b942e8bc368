//! The harness in memory: the types every crate speaks, and the rules they carry.
//!
//! *Owns* the words of the design: record, document, policy, patch, outcome, run, shard, lease, budget, answer.
//! *Never* knows tokio, gRPC, Arrow, files, clocks or the environment.

pub mod answer;
pub mod budget;
pub mod config;
pub mod ids;
pub mod outcome;
pub mod patch;
pub mod pointer;
pub mod policy;
pub mod published;
pub mod record;
pub mod run;
pub mod secret;
pub mod sensitive;
pub mod tally;
#[cfg(feature = "testing")]
pub mod testing;
