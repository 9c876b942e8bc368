//! Effects of the gateway's state machine: replies to workers, reads and writes of the response cache.

use std::sync::Arc;

use domain::answer::Answer;
use domain::ids::{AnswerKey, RunId};

use crate::llm_gateway::response_cache::CacheWrite;

/// One stream of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// A question, by its stream and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
}

/// What a worker hears of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// The answer, which is kept.
    CachedResponse(Arc<Answer>),
    /// The call may start within so many ms.
    CallPermit { valid_ms: u64 },
    /// What the call came to is kept.
    ResultPersisted,
    /// There will be no answer.
    Stopped(String),
}

/// What is to be kept, and who is to hear that it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PendingWrite {
    pub(crate) request_id: Option<RequestId>,
    pub(crate) write: CacheWrite,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Tell a worker.
    Send(RequestId, Reply),
    /// Look for the answer of a key; comes back as `looked`.
    LookUp(AnswerKey),
    /// Make durable, in the order in which it was asked for; comes back as `kept`.
    Persist(PendingWrite),
    /// Stop a run, for this reason.
    Halt(RunId, String),
    /// Another stream of the same worker has taken its place.
    Close(StreamId),
}
