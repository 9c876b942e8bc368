//! The task of a session: applies the waiting steps in one transaction, commits it, then replies to the callers.

use std::collections::HashSet;

use futures::future::{BoxFuture, FutureExt};
use results::crash::{Point, reach};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connector::{Connector, Mode, PATIENCE};
use super::shards::{self, Open};
use super::step::Queued;
use crate::database::Trouble;
use crate::database::postgres::{Failed, Failure, RETRY, read, transact};

/// Most steps in a transaction.
const BATCH: usize = 256;

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
    let work = apply(open, batch);
    let ended = match mode {
        Mode::Steps => transact(&open.session, work, || reach(Point::LedgerApplied)).await,
        Mode::Reads => read(work).await,
    };
    if let Err(Failed { failure, session_is_usable }) = ended {
        if !session_is_usable {
            connector.drop_session();
        }
        return Err(failure);
    }
    if mode == Mode::Steps {
        reach(Point::LedgerDurable);
    }
    Ok(())
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
