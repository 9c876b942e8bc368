//! Types of the lease protocol: its terms, grants and errors.

use std::sync::Arc;

use domain::ids::{FencingToken, WorkerName};
use domain::run::Shard;

use crate::clock::Monotonic;

/// The terms of a run's leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTerms {
    /// How long a lease lasts without a renewal, in ms.
    pub(crate) ttl_ms: u64,
    /// Losses after which a shard is split, and a shard of one record is poison.
    pub(crate) max_lost: u32,
}

impl LeaseTerms {
    /// Interval of a worker's heartbeats in ms.
    pub(crate) const fn heartbeat_ms(self) -> u64 {
        self.ttl_ms / 3
    }
}

/// A granted lease, which must be recorded in the ledger before it is sent to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The leased shard; it may be shorter than before.
    pub(crate) shard: Shard,
    /// The token that the ledger must hold for the compare-and-set.
    pub(crate) previous: FencingToken,
    pub(crate) token: FencingToken,
    /// How many times the shard has been leased, this lease included.
    pub(crate) attempt: u32,
    /// How many of these leases count as losses.
    pub(crate) lost: u32,
    /// When it expires unless it is renewed.
    pub(crate) deadline: Monotonic,
    /// Serial number among the grants of this process, to detect replies to an earlier grant.
    pub(super) serial: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpiredLease {
    pub(crate) shard: Shard,
    /// Its token, which stays the newest until the shard is granted again.
    pub(crate) token: FencingToken,
    pub(crate) worker: Arc<WorkerName>,
    /// Losses of the shard, this one included if it counts.
    pub(crate) lost: u32,
}

/// The ledger's state of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerShard {
    pub(crate) len: u32,
    pub(crate) token: FencingToken,
    /// How many times it has been leased.
    pub(crate) attempt: u32,
    pub(crate) lost: u32,
    /// Its last holder, where the lease may still be held.
    pub(crate) worker: Option<Arc<WorkerName>>,
    /// Whether its part is committed.
    pub(crate) committed: bool,
}

/// Admission of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The shard is not committed yet; the part must hold exactly these records.
    New(Shard),
    /// The shard is committed; the ledger has the token.
    Over,
}

/// Effect of marking a shard committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitEffect {
    /// The shard newly counts as committed.
    New,
    /// It counted as committed before.
    Before,
}

/// Why an operation on a lease was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaseError {
    /// The run does not have that shard.
    #[error("the run does not have that shard")]
    UnknownShard,
    /// The token is not the newest.
    #[error("the shard has been leased again since: the newest token is {current}")]
    Stale { current: FencingToken },
    /// The lease expired or was released, or its shard is committed.
    #[error("the lease has ended")]
    Ended,
}
