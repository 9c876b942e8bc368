//! State of one shard that was begun: its length, fencing token, losses and lease.

use std::sync::Arc;

use domain::ids::{FencingToken, ShardIndex, WorkerName};
use domain::run::Shard;

use crate::clock::Monotonic;

/// Losses that do not count by themselves, of which the last does.
const UNWITNESSED: u32 = 4;

/// A shard that was begun and is not committed.
#[derive(Debug, Clone)]
pub(super) struct ShardState {
    pub(super) len: u32,
    pub(super) token: FencingToken,
    pub(super) attempt: u32,
    /// The grant that made it what it is; 0: what the ledger said.
    pub(super) serial: u64,
    /// Losses that count.
    pub(super) lost: u32,
    /// Losses since then that may have been anybody's.
    pub(super) unwitnessed: u32,
    /// How often it was taken from a holder that was late.
    pub(super) taken: u32,
    pub(super) lease: LeaseState,
}

/// Who holds a shard.
#[derive(Debug, Clone)]
pub(super) enum LeaseState {
    Waiting,
    Leased {
        worker: Arc<WorkerName>,
        since: Monotonic,
        deadline: Monotonic,
        /// The ledger has it.
        recorded: bool,
        /// An earlier process granted it, and nobody has renewed it since.
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

    /// As it is after a restart: its worker has to show itself.
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
            taken: 0,
            lease: LeaseState::Waiting,
        }
    }

    pub(super) fn shard(&self, index: ShardIndex) -> Shard {
        Shard { index, len: self.len }
    }

    /// Its holder was lost.
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
