//! Who gets which shard next: pure state machines over time that comes as an argument.
//!
//! *Owns* the active runs, their leases, the connected workers and the order of runs. *Never* waits, reads a clock, a
//! file or the network.

pub(crate) mod fair_share;
pub mod leases;
pub(crate) mod state;
pub(crate) mod worker_registry;
