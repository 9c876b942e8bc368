//! State of one open shard: its length, fencing token, losses and lease.

use std::sync::Arc;

use domain::ids::{FencingToken, ShardIndex, WorkerName};
use domain::run::Shard;

use crate::clock::Monotonic;

/// Of so many losses without a witness, one counts.
const UNWITNESSED: u32 = 4;

/// A shard that has been leased and is not committed.
#[derive(Debug, Clone)]
pub(super) struct ShardState {
    pub(super) len: u32,
    pub(super) token: FencingToken,
    pub(super) attempt: u32,
    /// Serial number of the grant that set this state; 0 where it came from the ledger.
    pub(super) serial: u64,
    /// Losses that count.
    pub(super) lost: u32,
    /// Losses since then of which the shard may not be the cause.
    pub(super) unwitnessed: u32,
    /// How often it was leased speculatively because its holder was slow.
    pub(super) speculated: u32,
    pub(super) lease: LeaseState,
}

/// Whether a shard is leased, and to which worker.
#[derive(Debug, Clone)]
pub(super) enum LeaseState {
    Waiting,
    Leased {
        worker: Arc<WorkerName>,
        since: Monotonic,
        deadline: Monotonic,
        /// Whether the ledger has recorded the lease.
        recorded: bool,
        /// Granted by an earlier process and not renewed since.
        recovered: bool,
        /// When the stream of its worker ended, unless it was renewed since.
        gone: Option<Monotonic>,
    },
}

impl LeaseState {
    pub(super) fn leased(worker: &Arc<WorkerName>, since: Monotonic, deadline: Monotonic) -> Self {
        let worker = Arc::clone(worker);
        Self::Leased { worker, since, deadline, recorded: false, recovered: false, gone: None }
    }

    /// A lease of an earlier process: its worker has to renew it.
    pub(super) fn recovered(worker: &Arc<WorkerName>, since: Monotonic, deadline: Monotonic) -> Self {
        let worker = Arc::clone(worker);
        Self::Leased { worker, since, deadline, recorded: true, recovered: true, gone: Some(since) }
    }

    pub(super) fn worker(&self) -> Option<&Arc<WorkerName>> {
        match self {
            Self::Waiting => None,
            Self::Leased { worker, .. } => Some(worker),
        }
    }
}

impl ShardState {
    /// A shard that was never leased.
    pub(super) fn fresh(len: u32, lost: u32) -> Self {
        Self {
            len,
            token: FencingToken::default(),
            attempt: 0,
            serial: 0,
            lost,
            unwitnessed: 0,
            speculated: 0,
            lease: LeaseState::Waiting,
        }
    }

    pub(super) fn shard(&self, index: ShardIndex) -> Shard {
        Shard { index, len: self.len }
    }

    /// Notes the loss of its holder.
    pub(super) fn lose(&mut self, counts: bool) {
        if mutated!(PoisonNeverIsolated) {
            return;
        }
        self.unwitnessed += 1;
        if counts || self.unwitnessed >= UNWITNESSED {
            self.unwitnessed = 0;
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// The token after `token`.
pub(super) fn next_token(token: FencingToken) -> Option<FencingToken> {
    if mutated!(TokenReused) && token.0 > 0 {
        return Some(token);
    }
    token.0.checked_add(1).map(FencingToken)
}
