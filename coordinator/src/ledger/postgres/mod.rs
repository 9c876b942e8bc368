//! Ledger in PostgreSQL.
//!
//! *Owns* two sessions: one applies the steps, and steps that wait together share one transaction; one answers reads. A step
//! whose transaction broke before its COMMIT was sent took no effect, and is tried again for some seconds. One whose answer
//! to the COMMIT was lost is unknown: its caller gets an error and may repeat it. Dropping the ledger does not wait.
//!
//! *Invariant*: where the server is fenced by an epoch, no step of a coordinator that was replaced takes effect
//! ([`ownership`](crate::database::postgres::ownership)).

mod batch;
mod connector;
mod runs;
mod shards;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;

use super::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};
use crate::database::postgres::Engine;
use connector::{Connector, Mode};
use step::{CommitStep, LeaseStep, Pending, Queued, StepResult};

/// Capacity of a queue of steps; further callers wait (backpressure).
const QUEUE: usize = 1024;

/// The ledger in a PostgreSQL server.
#[derive(Debug)]
pub(crate) struct PostgresLedger {
    place: Arc<str>,
    /// `None`: opened for reading.
    steps: Option<mpsc::Sender<Queued>>,
    reads: mpsc::Sender<Queued>,
}

impl PostgresLedger {
    /// Version of the tables.
    pub(crate) const LAYOUT_VERSION: usize = connector::LAYOUT.migrations.len();

    /// Opens the ledger, and migrates it to the newest layout.
    ///
    /// # Errors
    /// `Unusable` when the server may forget what it acknowledges, another coordinator uses it, its tables are of a newer
    /// version or its answers refuse this user; `Unavailable` when it cannot be reached for some seconds.
    pub(crate) async fn open(engine: Arc<Engine>) -> LedgerResult<Self> {
        let steps = start(Connector::open(Arc::clone(&engine), Mode::Steps).await?);
        let reads = start(Connector::open(Arc::clone(&engine), Mode::Reads).await?);
        Ok(Self { place: engine.place().into(), steps: Some(steps), reads })
    }

    /// Opens the ledger for reading, also while a coordinator uses it. Steps that write fail.
    ///
    /// # Errors
    /// As [`PostgresLedger::open`]; `Unusable` also when it has an older layout.
    pub(crate) async fn open_read_only(engine: Arc<Engine>) -> LedgerResult<Self> {
        let reads = start(Connector::open(Arc::clone(&engine), Mode::Reads).await?);
        Ok(Self { place: engine.place().into(), steps: None, reads })
    }

    /// Queues a step, and waits until its effect is durable.
    fn queue<T: Send + 'static>(
        &self,
        queue: Option<&mpsc::Sender<Queued>>,
        step: impl FnOnce(Pending<T>) -> Queued + Send + 'static,
    ) -> BoxFuture<'static, LedgerResult<T>> {
        let (reply, replied) = oneshot::channel();
        let step = step(Pending::new(Arc::clone(&self.place), reply));
        let (queue, place) = (queue.cloned(), Arc::clone(&self.place));
        async move {
            let failed = |reason: &str| LedgerError::Unavailable {
                place: place.to_string(),
                reason: reason.to_owned(),
            };
            let queue = queue.ok_or_else(|| failed("it was opened for reading"))?;
            queue.send(step).await.map_err(|_| failed("its task has ended"))?;
            replied.await.map_err(|_| failed("its task has ended"))?
        }
        .boxed()
    }

    fn apply<T: Send + 'static>(
        &self,
        work: impl for<'c> Fn(&'c Client) -> BoxFuture<'c, StepResult<T>> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        self.queue(self.steps.as_ref(), |pending| Queued::single(work, pending))
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> Fn(&'c Client) -> BoxFuture<'c, StepResult<T>> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        self.queue(Some(&self.reads), |pending| Queued::single(work, pending))
    }
}

/// Starts the task of a session. It ends when the last sender is dropped, after the queued steps.
fn start(connector: Connector) -> mpsc::Sender<Queued> {
    let (steps, queue) = mpsc::channel(QUEUE);
    tokio::spawn(batch::serve(connector, queue));
    steps
}

impl Ledger for PostgresLedger {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        let run = Arc::new(run);
        self.apply(move |client| runs::create(client, Arc::clone(&run)).boxed())
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        let run_id = run_id.clone();
        self.read(move |client| runs::one(client, run_id.clone()).boxed())
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        self.read(|client| runs::all(client).boxed())
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |client| runs::advance(client, run_id.clone(), from, to, finished.clone()).boxed())
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |client| runs::fail(client, run_id.clone(), from, reason.clone()).boxed())
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        let (run_id, config) = (run_id.clone(), Arc::new(config));
        self.apply(move |client| runs::reconfigure(client, run_id.clone(), Arc::clone(&config)).boxed())
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        let run_id = run_id.clone();
        self.read(move |client| shards::page(client, run_id.clone(), first, limit).boxed())
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let run_id = run_id.clone();
        self.queue(self.steps.as_ref(), |pending| Queued::Lease(LeaseStep { run_id, leased, pending }))
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        let run_id = run_id.clone();
        self.queue(self.steps.as_ref(), move |pending| {
            Queued::Commit(CommitStep { run_id, shard, token, part, pending })
        })
    }

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let run_id = run_id.clone();
        self.apply(move |client| shards::reopen(client, run_id.clone(), shard, part).boxed())
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let (run_id, totals) = (run_id.clone(), Arc::new(totals));
        self.apply(move |client| runs::record_totals(client, run_id.clone(), Arc::clone(&totals)).boxed())
    }

    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        let run_id = run_id.clone();
        self.apply(move |client| runs::record_resources(client, run_id.clone(), resources).boxed())
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |client| runs::remove(client, run_id.clone()).boxed())
    }
}
