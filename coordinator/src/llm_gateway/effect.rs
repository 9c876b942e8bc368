//! Effects of the gateway's state machine: replies to workers, reads and writes of the response cache.

use std::sync::Arc;

use domain::answer::Answer;
use domain::ids::{AnswerKey, RunId};
use proto::convert::Ticket;

use crate::llm_gateway::response_cache::{CallId, StoreWrite};

/// One stream of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// Identifier of a request: its stream, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
}

/// Reply to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// An answer that is durable in the response cache.
    CachedResponse(Arc<Answer>),
    /// First reply of a stream: its ticket.
    Opened(Ticket),
    /// The call may start within so many ms. The task adds the ticket.
    CallPermit { call: CallId, valid_ms: u64, ticket: Option<Ticket> },
    /// The result of the call is durable.
    ResultPersisted,
    /// The same, and its failure is not held against the record: the worker requests again, whatever its retries.
    AskAgain,
    /// There will not be an answer, for this reason.
    Stopped(String),
}

/// Write to the response cache, and the request that is acknowledged after it: a request in state *persisting*. That of a call
/// which is about to be permitted has none: its request is known by the call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PendingWrite {
    pub(crate) request_id: Option<RequestId>,
    pub(crate) write: StoreWrite,
    /// Acknowledge it by [`Reply::AskAgain`].
    pub(crate) ask_again: bool,
}

/// Effect that the task carries out, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Send a reply to a worker.
    Send(RequestId, Reply),
    /// Look a key up in the response cache; the result comes back by `looked_up`.
    LookUp(AnswerKey),
    /// Make a write durable; the acknowledgement comes back by `persisted`.
    Persist(Box<PendingWrite>),
    /// Stop a run, for this reason.
    Halt(RunId, String),
    /// Close a stream: another one of the same worker has replaced it.
    Close(StreamId),
}
