//! Steps in the queue of a session. A step can be applied again where its transaction was rolled back.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;
use tokio_postgres::Client;

use domain::ids::{FencingToken, RunId, ShardIndex};

use crate::ledger::contract::{
    CommitVerdict, CommittedPart, Leased, LedgerError, LedgerResult, ShardEntry, Swap,
};

/// Why a step has no result.
#[derive(Debug)]
pub(super) enum StepError {
    /// Its transaction is broken.
    Postgres(tokio_postgres::Error),
    /// A stored value is not valid.
    Damaged(String),
    UnknownRun(RunId),
}

impl From<tokio_postgres::Error> for StepError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Error for a stored value that is not valid.
pub(super) fn damaged(what: &str, reason: impl std::fmt::Display) -> StepError {
    StepError::Damaged(format!("{what} in it cannot be read ({reason})"))
}

pub(super) type StepResult<T> = Result<T, StepError>;

/// Result of a step until its transaction has ended, and its caller.
#[derive(Debug)]
pub(super) struct Pending<T> {
    place: Arc<str>,
    outcome: Option<LedgerResult<T>>,
    reply: oneshot::Sender<LedgerResult<T>>,
}

impl<T> Pending<T> {
    pub(super) fn new(place: Arc<str>, reply: oneshot::Sender<LedgerResult<T>>) -> Self {
        Self { place, outcome: None, reply }
    }

    /// Notes the result of the step, unless its transaction is broken.
    pub(super) fn note(&mut self, result: StepResult<T>) -> Result<(), tokio_postgres::Error> {
        self.outcome = Some(match result {
            Ok(value) => Ok(value),
            Err(StepError::Postgres(error)) => return Err(error),
            Err(StepError::Damaged(reason)) => {
                Err(LedgerError::Unusable { place: self.place.to_string(), reason })
            }
            Err(StepError::UnknownRun(run_id)) => Err(LedgerError::UnknownRun(run_id)),
        });
        Ok(())
    }

    /// Sends the result to the caller, or why the transaction failed.
    fn finish(self, ended: Result<(), LedgerError>) {
        let unknown = || LedgerError::Unavailable {
            place: self.place.to_string(),
            reason: "the step was not applied".to_owned(),
        };
        let outcome = self.outcome.unwrap_or_else(|| Err(unknown()));
        // The send fails where the caller has dropped its future.
        let _ = self.reply.send(ended.and(outcome));
    }
}

/// A lease to be recorded.
#[derive(Debug)]
pub(super) struct LeaseStep {
    pub(super) run_id: RunId,
    pub(super) leased: Leased,
    pub(super) pending: Pending<Swap<Option<ShardEntry>>>,
}

/// A part to be committed.
#[derive(Debug)]
pub(super) struct CommitStep {
    pub(super) run_id: RunId,
    pub(super) shard: ShardIndex,
    pub(super) token: FencingToken,
    pub(super) part: CommittedPart,
    pub(super) pending: Pending<CommitVerdict>,
}

/// A step of any kind.
pub(super) enum Queued {
    Lease(LeaseStep),
    Commit(CommitStep),
    /// One that has statements of its own.
    Single(Box<dyn Single>),
}

impl Queued {
    pub(super) fn single<T: Send + 'static>(
        work: impl for<'c> Fn(&'c Client) -> BoxFuture<'c, StepResult<T>> + Send + 'static,
        pending: Pending<T>,
    ) -> Self {
        Self::Single(Box::new(Work { work, pending }))
    }

    /// The shard, if it is a step on one.
    pub(super) fn shard(&self) -> Option<(&RunId, ShardIndex)> {
        match self {
            Self::Lease(step) => Some((&step.run_id, step.leased.shard.index)),
            Self::Commit(step) => Some((&step.run_id, step.shard)),
            Self::Single(_) => None,
        }
    }

    /// Sends the result to the caller, or why the transaction failed.
    pub(super) fn finish(self, ended: Result<(), LedgerError>) {
        match self {
            Self::Lease(step) => step.pending.finish(ended),
            Self::Commit(step) => step.pending.finish(ended),
            Self::Single(step) => step.finish(ended),
        }
    }
}

/// A step that has statements of its own.
pub(super) trait Single: Send {
    /// Applies it, and notes its result.
    fn apply<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<(), tokio_postgres::Error>>;

    /// Sends the result to the caller, or why the transaction failed.
    fn finish(self: Box<Self>, ended: Result<(), LedgerError>);
}

struct Work<T, F> {
    work: F,
    pending: Pending<T>,
}

impl<T, F> Single for Work<T, F>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c Client) -> BoxFuture<'c, StepResult<T>> + Send,
{
    fn apply<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        let result = (self.work)(client);
        let pending = &mut self.pending;
        async move { pending.note(result.await) }.boxed()
    }

    fn finish(self: Box<Self>, ended: Result<(), LedgerError>) {
        self.pending.finish(ended);
    }
}
