//! One use of a session: a transaction, or reads; and what its failure means for the caller.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::errors::{is_deposed, is_lost, trouble};
use super::session::Session;
use crate::database::Trouble;

/// Pause before the next try of what took no effect.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// Longest wait for an answer. After it the session is dropped, and nothing is cancelled.
const ANSWER: Duration = Duration::from_secs(30);

/// Why a use of a session failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It took no effect, and may succeed when tried again.
    NotApplied(Trouble),
    /// It took no effect, because one of its statements is not possible.
    Refused(Trouble),
    /// It is not known whether it took effect.
    Unknown(String),
}

/// A failed use, and whether the session can be used again.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) session_is_usable: bool,
}

impl Failed {
    /// The answer did not come, before a COMMIT was sent: without one the work cannot take effect.
    fn silent() -> Self {
        Self { failure: Failure::NotApplied(Trouble::Unavailable(no_answer())), session_is_usable: false }
    }
}

/// Runs `work` in a transaction, calls `applied`, and commits it.
pub(crate) async fn transact<T>(
    session: &Session,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    applied: impl FnOnce(),
) -> Result<T, Failed> {
    let begun = timeout(ANSWER, async {
        session.begin().await?;
        work.await
    });
    let value = match begun.await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            let rolled_back = timeout(ANSWER, session.client.batch_execute("ROLLBACK"));
            let session_is_usable = !is_lost(&error) && matches!(rolled_back.await, Ok(Ok(())));
            return Err(Failed { failure: classify(&error), session_is_usable });
        }
        Err(_) => return Err(Failed::silent()),
    };
    applied();
    let ended = timeout(ANSWER, session.commit()).await.unwrap_or_else(|_| Err(no_answer()));
    let unknown = |reason| Failed { failure: Failure::Unknown(reason), session_is_usable: false };
    ended.map(|()| value).map_err(unknown)
}

/// Runs reads, each a statement of its own.
pub(crate) async fn read<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failed> {
    match timeout(ANSWER, work).await {
        Ok(ended) => {
            ended.map_err(|error| Failed { failure: classify(&error), session_is_usable: !is_lost(&error) })
        }
        Err(_) => Err(Failed::silent()),
    }
}

fn no_answer() -> String {
    format!("no answer for {} s", ANSWER.as_secs())
}

/// Classifies the failure of a transaction whose COMMIT was not sent.
fn classify(error: &tokio_postgres::Error) -> Failure {
    let conflict = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    if is_lost(error) || conflict.iter().any(|state| error.code() == Some(state)) {
        return Failure::NotApplied(Trouble::Unavailable(trouble(error).to_string()));
    }
    if is_deposed(error) {
        return Failure::NotApplied(trouble(error));
    }
    Failure::Refused(trouble(error))
}
