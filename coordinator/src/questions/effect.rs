//! What is to be done for questions: messages to workers, and work for the store.

use std::sync::Arc;

use domain::answer::Answer;
use domain::ids::{AnswerKey, RunId};

use crate::answers::Keep;

/// One stream of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// A question, by its stream and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
}

/// What a worker hears of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// The answer, which is kept.
    Known(Arc<Answer>),
    /// The call may start within so many ms.
    Go { valid_ms: u64 },
    /// What the call came to is kept.
    Kept,
    /// There will be no answer.
    Stopped(String),
}

/// What is to be kept, and who is to hear that it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Keeping {
    pub(crate) place: Option<Place>,
    pub(crate) keep: Keep,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Tell a worker.
    Tell(Place, Reply),
    /// Look for the answer of a key; comes back as `looked`.
    LookUp(AnswerKey),
    /// Make durable, in the order in which it was asked for; comes back as `kept`.
    Keep(Keeping),
    /// Stop a run, for this reason.
    Halt(RunId, String),
    /// Another stream of the same worker has taken its place.
    Close(StreamId),
}
