//! Requests, in-flight keys and calls: the plain data of the gateway's state.

use super::effect::RequestId;
use crate::llm_gateway::response_cache::CachedResponse;
use domain::budget::Pool;
use domain::ids::AnswerKey;
use domain::ids::RunId;
use domain::ids::WorkerName;
use llm::limit::Ticket;
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// A question of a stream.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) run_id: RunId,
    pub(super) key: AnswerKey,
    pub(super) tokens: u64,
    /// Its call, once that is under way.
    pub(super) call: Option<CallId>,
}

/// A worker's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) worker: WorkerName,
    pub(super) questions: BTreeMap<u64, PendingRequest>,
}

/// Everything about one key.
#[derive(Debug, Default)]
pub(super) struct InFlightKey {
    /// Who waits, in the order of their coming; the first is in its run's queue unless something is under way.
    pub(super) waiters: VecDeque<RequestId>,
    /// Whether the store is being asked, or was.
    pub(super) looking: bool,
    pub(super) looked: bool,
    /// What the store has, kept for those who come while somebody wants it afresh.
    pub(super) stored: Option<CachedResponse>,
    /// Whose queue it stands in, and its place there.
    pub(super) queued: Option<(RunId, u64)>,
    /// Calls that are believed to be under way: one, unless a worker came back late with another.
    pub(super) calls: u32,
    /// Answers on their way to the store.
    pub(super) pending_write: u32,
}

impl InFlightKey {
    pub(super) fn is_over(&self) -> bool {
        self.waiters.is_empty() && !self.looking && self.calls == 0 && self.pending_write == 0
    }

    /// Whether the first waiter has to ask by itself.
    pub(super) fn needs_a_call(&self) -> bool {
        let alone = self.calls == 0 || mutated!(SingleFlightBroken);
        !self.waiters.is_empty() && self.looked && alone && self.pending_write == 0
    }
}

/// Names a call in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallId(pub(super) u64);

/// A call that is believed to be under way.
#[derive(Debug)]
pub(super) struct Call {
    /// Leave for it, and of which pool. `None`: nobody knows the pool of its run any more.
    pub(super) leave: Option<(Pool, Ticket)>,
    pub(super) run_id: RunId,
    pub(super) key: AnswerKey,
    pub(super) worker: WorkerName,
    pub(super) number: u64,
    /// Its question; `None` while the worker is away.
    pub(super) request_id: Option<RequestId>,
    /// What it will cost, as estimated.
    pub(super) estimate_usd: f64,
    pub(super) deadline_ms: u64,
}

#[cfg(test)]
impl Call {
    pub(super) fn run_id(&self) -> &RunId {
        &self.run_id
    }

    pub(super) fn key(&self) -> AnswerKey {
        self.key
    }
}
