//! Types of the lease protocol: its terms, grants and errors.

use std::sync::Arc;

use domain::ids::{FencingToken, WorkerName};
use domain::run::Shard;

use crate::clock::Monotonic;

/// The terms of a run's leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a lease lasts without a renewal, in ms.
    pub ttl_ms: u64,
    /// Losses after which a shard is split, and a record that stands alone is declared poison.
    pub max_lost: u32,
}

impl LeaseTerms {
    /// Between two heartbeats of a worker, in ms.
    pub const fn heartbeat_ms(self) -> u64 {
        self.ttl_ms / 3
    }
}

/// A lease that was granted and must be made durable before it is told to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// What is leased; it may be less than the shard was.
    pub shard: Shard,
    /// The token that the ledger must still hold.
    pub previous: FencingToken,
    /// The new token.
    pub token: FencingToken,
    /// How many times the shard has been leased, this lease included.
    pub attempt: u32,
    /// How many of these leases ended in the loss of their workers, as far as they count.
    pub lost: u32,
    /// When it ends unless it is renewed.
    pub deadline: Monotonic,
    /// Counts the grants of this machine, so that a late answer is not taken for one to a later grant.
    pub(super) serial: u64,
}

/// A lease that ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLease {
    /// Which shard.
    pub shard: Shard,
    /// Its token, which stays the newest until the shard is granted again.
    pub token: FencingToken,
    /// Who held it.
    pub worker: Arc<WorkerName>,
    /// Losses of the shard, this one included if it counts.
    pub lost: u32,
}

/// What the ledger holds about a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerShard {
    /// How many records it has.
    pub len: u32,
    /// The newest token.
    pub token: FencingToken,
    /// How many times it has been leased.
    pub attempt: u32,
    /// Losses that count.
    pub lost: u32,
    /// Who holds it, as far as anybody knows; `None`: nobody.
    pub worker: Option<Arc<WorkerName>>,
    /// Whether its part is committed.
    pub committed: bool,
}

/// Whether a commit is the first of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The shard is not committed yet; its part must hold this.
    New(Shard),
    /// The shard is committed; the ledger knows under which token.
    Over,
}

/// What settling a commit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitEffect {
    /// The shard counts as committed from now on.
    New,
    /// It did before.
    Before,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The run has no such shard.
    #[error("the run has no such shard")]
    UnknownShard,
    /// The token is not the newest.
    #[error("the shard has been leased again since: the newest token is {current}")]
    Stale {
        /// The newest token.
        current: FencingToken,
    },
    /// The lease ran out or was given back, or its shard is committed.
    #[error("the lease has ended")]
    Ended,
}
