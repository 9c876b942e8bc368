//! Scheduler: decides which worker leases which shard next, as pure state machines that get the time as an argument.
//!
//! *Owns* the active runs, their leases, the connected workers and the fair order of runs. *Never* waits, reads a clock, a
//! file or the network.

pub(crate) mod fair_share;
pub(crate) mod leases;
pub(crate) mod state;
pub(crate) mod worker_registry;
