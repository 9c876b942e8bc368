//! The task of a session: applies the waiting steps in one transaction, commits it, then replies to the callers.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use results::crash::{Point, reach};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;

use super::connector::{Connector, Mode, PATIENCE, RETRY};
use super::shards::{self, Open};
use super::step::Queued;
use crate::database::Trouble;
use crate::database::postgres::{is_deposed, is_lost, trouble};

/// Most steps in a transaction.
const BATCH: usize = 256;

/// Longest wait for an answer. After it the session is dropped, and nothing is cancelled.
const ANSWER: Duration = Duration::from_secs(30);

/// Why a transaction failed.
enum Failure {
    /// It took no effect, and may succeed when tried again.
    NotApplied(Trouble),
    /// It took no effect, because one of its steps is not possible.
    Refused(Trouble),
    /// It is not known whether it took effect.
    Unknown(String),
}

/// Applies the steps of the queue until its last sender is dropped.
pub(super) async fn serve(mut connector: Connector, mut queue: mpsc::Receiver<Queued>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        settle(&mut connector, std::mem::take(&mut batch)).await;
    }
}

/// Applies a batch and replies to its callers.
fn settle(connector: &mut Connector, mut batch: Vec<Queued>) -> BoxFuture<'_, ()> {
    async move {
        let until = Instant::now() + PATIENCE;
        let ended = loop {
            match attempt(connector, &mut batch, until).await {
                Ok(()) => break Ok(()),
                Err(Failure::NotApplied(Trouble::Unavailable(reason))) if Instant::now() < until => {
                    tracing::warn!(reason, steps = batch.len(), "steps of the ledger took no effect; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                // One impossible step must not fail the others.
                Err(Failure::Refused(_)) if batch.len() > 1 => {
                    for step in batch {
                        settle(connector, vec![step]).await;
                    }
                    return;
                }
                Err(Failure::NotApplied(trouble) | Failure::Refused(trouble)) => {
                    break Err(connector.failed(trouble));
                }
                Err(Failure::Unknown(reason)) => {
                    let reason =
                        format!("the answer to a commit was lost, and it may have taken effect: repeat the step ({reason})");
                    break Err(connector.failed(Trouble::Unavailable(reason)));
                }
            }
        };
        for step in batch {
            step.finish(ended.clone());
        }
    }
    .boxed()
}

/// Applies the batch once.
async fn attempt(connector: &mut Connector, batch: &mut [Queued], until: Instant) -> Result<(), Failure> {
    let mode = connector.mode;
    let open = connector.session(until).await.map_err(Failure::NotApplied)?;
    let applied = timeout(ANSWER, async {
        if mode == Mode::Steps {
            open.session.begin().await?;
        }
        apply(open, batch).await
    });
    match applied.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let failure = classify(&error);
            let is_usable = !is_lost(&error)
                && (mode == Mode::Reads || open.session.client.batch_execute("ROLLBACK").await.is_ok());
            if !is_usable {
                connector.drop_session();
            }
            return Err(failure);
        }
        // Without a COMMIT it cannot take effect.
        Err(_) => {
            connector.drop_session();
            return Err(Failure::NotApplied(Trouble::Unavailable(silent())));
        }
    }
    if mode == Mode::Reads {
        return Ok(());
    }
    reach(Point::LedgerApplied);
    let ended = match timeout(ANSWER, open.session.commit()).await {
        Ok(ended) => ended,
        Err(_) => Err(silent()),
    };
    if let Err(reason) = ended {
        connector.drop_session();
        return Err(Failure::Unknown(reason));
    }
    reach(Point::LedgerDurable);
    Ok(())
}

fn silent() -> String {
    format!("no answer for {} s", ANSWER.as_secs())
}

/// Classifies the failure of a transaction whose COMMIT was not sent.
fn classify(error: &tokio_postgres::Error) -> Failure {
    let conflict = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    if is_lost(error) || conflict.iter().any(|state| error.code() == Some(state)) {
        return Failure::NotApplied(Trouble::Unavailable(match trouble(error) {
            Trouble::Unavailable(reason) | Trouble::Unusable(reason) => reason,
        }));
    }
    if is_deposed(error) {
        return Failure::NotApplied(trouble(error));
    }
    Failure::Refused(trouble(error))
}

/// Applies the steps in their order: those on different shards together, any other alone.
async fn apply(open: &Open, batch: &mut [Queued]) -> Result<(), tokio_postgres::Error> {
    let mut rest = batch;
    while !rest.is_empty() {
        let count = together(rest);
        let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
        match now {
            [Queued::Single(step)] => step.apply(&open.session.client).await?,
            steps => shards::apply(open, steps).await?,
        }
        rest = later;
    }
    Ok(())
}

/// How many of the first steps can be applied together; at least one.
fn together(steps: &[Queued]) -> usize {
    let mut seen = HashSet::new();
    let first = steps.iter().take_while(|step| step.shard().is_some_and(|shard| seen.insert(shard)));
    first.count().max(1)
}
