//! Ledger wrapper that measures the latency of each step.

use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt};
use tracing::Instrument as _;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;

use super::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};
use crate::metrics::Metrics;

/// Forwards every step and records its latency.
#[derive(Clone)]
pub(crate) struct TimedLedger {
    inner: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
}

impl TimedLedger {
    /// Wraps `inner`.
    pub(crate) fn new(inner: Arc<dyn Ledger>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn timed<'a, T: Send + 'a>(
        &'a self,
        step: &'static str,
        answer: BoxFuture<'a, LedgerResult<T>>,
    ) -> BoxFuture<'a, LedgerResult<T>> {
        async move {
            let begun = Instant::now();
            // Created when polled, so that the caller's span is its parent.
            let answer = answer.instrument(tracing::info_span!("ledger", step)).await;
            let error = match &answer {
                Err(error @ (LedgerError::Unavailable { .. } | LedgerError::Unusable { .. })) => {
                    Some(error.to_string())
                }
                Ok(_) | Err(LedgerError::UnknownRun(_)) => None,
            };
            self.metrics.ledger(step, begun.elapsed(), error);
            answer
        }
        .boxed()
    }
}

impl Ledger for TimedLedger {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        self.timed("create_run", self.inner.create_run(run))
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        self.timed("run", self.inner.run(run_id))
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        self.timed("runs", self.inner.runs())
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.timed("advance", self.inner.advance(run_id, from, to, finished))
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.timed("fail", self.inner.fail(run_id, from, reason))
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        self.timed("reconfigure", self.inner.reconfigure(run_id, config))
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        self.timed("shards", self.inner.shards(run_id, first, limit))
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        self.timed("lease", self.inner.lease(run_id, leased))
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        self.timed("commit", self.inner.commit(run_id, shard, token, part))
    }

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        self.timed("reopen", self.inner.reopen(run_id, shard, part))
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.timed("record_totals", self.inner.record_totals(run_id, totals))
    }

    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        self.timed("record_resources", self.inner.record_resources(run_id, resources))
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.timed("remove_run", self.inner.remove_run(run_id))
    }
}
