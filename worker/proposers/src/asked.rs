//! What comes of a question: an answer or a failure, and the time it took.

use std::time::Duration;

use crate::failure::Failure;
use crate::message::Answer;

/// An answer of a program, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The answer.
    pub answer: Result<Answer, Failure>,
    /// How long the program worked, its start included; of a process for many records, this record's share.
    pub took: Duration,
}

impl Asked {
    /// The shard stopped before the program was started.
    pub(crate) const STOPPED: Self = Self { answer: Err(Failure::Stopped), took: Duration::ZERO };
}
