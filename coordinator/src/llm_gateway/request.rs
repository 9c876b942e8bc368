//! Requests, in-flight keys and calls: the plain data of the gateway's state.

use std::collections::{BTreeMap, VecDeque};

use domain::budget::{Pool, Usd};
use domain::ids::{AnswerKey, RunId, WorkerName};
use llm::limit::Ticket;

use super::effect::RequestId;
use super::response_cache::{CachedResponse, CallId};

/// State of a request at the gateway. A worker's requests have states of the same names, see the table in the README: one
/// that is queued is not known here, one that is persisting is a [`PendingWrite`](super::effect::PendingWrite).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestState {
    /// Waits for a cached response, or for its turn to call the model.
    Waiting,
    /// Its call is about to be permitted: that is not durable yet. For its worker it is waiting.
    Recording(CallId),
    /// Its worker has a permit and calls the model.
    Calling(CallId),
}

/// Request of a stream.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) run_id: RunId,
    pub(super) key: AnswerKey,
    pub(super) tokens: u64,
    pub(super) state: RequestState,
}

impl PendingRequest {
    /// Whether its permit was sent.
    pub(super) const fn is_calling(&self) -> bool {
        matches!(self.state, RequestState::Calling(_))
    }
}

/// Stream of a worker, with its requests by number.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) worker: WorkerName,
    pub(super) requests: BTreeMap<u64, PendingRequest>,
}

/// Single-flight entry of one key.
#[derive(Debug, Default)]
pub(super) struct InFlightKey {
    /// Waiting requests in the order of their arrival. The first one has a turn when the key needs a call.
    pub(super) waiters: VecDeque<RequestId>,
    /// A look-up in the response cache is under way.
    pub(super) looking: bool,
    /// The response cache has been looked up.
    pub(super) looked: bool,
    /// Cached response; stays here while requests wait that need a fresher one.
    pub(super) stored: Option<CachedResponse>,
    /// Place in the fair queue: the run of the first waiter, and the sequence number of its entry.
    pub(super) turn: Option<(RunId, u64)>,
    /// Calls under way: one, unless a worker reconnects late with another.
    pub(super) calling: u32,
    /// Answers that are written to the response cache.
    pub(super) persisting: u32,
}

impl InFlightKey {
    /// Whether the entry can be dropped.
    pub(super) fn is_over(&self) -> bool {
        self.waiters.is_empty() && !self.looking && self.calling == 0 && self.persisting == 0
    }

    /// Whether the first waiter has to call the model.
    pub(super) fn needs_a_call(&self) -> bool {
        let alone = self.calling == 0 || mutated!(SingleFlightBroken);
        !self.waiters.is_empty() && self.looked && alone && self.persisting == 0
    }
}

/// Call under way, as far as the gateway knows.
#[derive(Debug)]
pub(super) struct Call {
    /// Pool and ticket of its permit. `None`: the policy of its run is not known.
    pub(super) permit: Option<(Pool, Ticket)>,
    /// It tries the provider again during an outage.
    pub(super) probe: bool,
    pub(super) run_id: RunId,
    pub(super) key: AnswerKey,
    /// Its request; `None` while its worker is disconnected.
    pub(super) request_id: Option<RequestId>,
    /// Estimated cost.
    pub(super) estimated_cost: Usd,
    pub(super) deadline_ms: u64,
}
