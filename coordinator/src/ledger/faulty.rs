//! Test ledger that counts the calls of another one and injects failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};
use tokio::time::Instant;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;

use super::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult,
    MemoryLedger, RunEntry, RunResources, ShardEntry, Swap, Totals,
};

/// Counts the calls of a ledger and lets some fail.
#[derive(Default)]
pub(crate) struct FaultyLedger<L = MemoryLedger> {
    pub(crate) inner: L,
    state: Mutex<State>,
    before: Option<Box<dyn Fn() + Send + Sync>>,
}

impl<L> std::fmt::Debug for FaultyLedger<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyLedger").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<&'static str, u32>,
    /// How many of the next calls of `advance` to [`RunState::Finished`] fail.
    failures_left: u32,
    /// Times of the calls of `advance` to [`RunState::Finished`], failed or not.
    finish_attempts: Vec<Instant>,
}

impl<L> FaultyLedger<L> {
    /// Wraps `inner`.
    pub(crate) fn of(inner: L) -> Self {
        Self { inner, state: Mutex::default(), before: None }
    }

    /// Calls `before` first, in each call.
    pub(crate) fn before_each_call(self, before: impl Fn() + Send + Sync + 'static) -> Self {
        Self { before: Some(Box::new(before)), ..self }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a method of the ledger was called, by its name.
    pub(crate) fn calls(&self, step: &str) -> u32 {
        self.state().calls.get(step).copied().unwrap_or_default()
    }

    /// Lets the next `times` calls of `advance` to [`RunState::Finished`] fail, as with a locked file.
    pub(crate) fn fail_to_finish(&self, times: u32) {
        self.state().failures_left = times;
    }

    /// Times of the calls of `advance` to [`RunState::Finished`], failed or not.
    pub(crate) fn tried_to_finish(&self) -> Vec<Instant> {
        self.state().finish_attempts.clone()
    }

    fn count(&self, step: &'static str) {
        if let Some(before) = &self.before {
            before();
        }
        *self.state().calls.entry(step).or_default() += 1;
    }
}

impl<L: Ledger> Ledger for FaultyLedger<L> {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        self.count("create_run");
        self.inner.create_run(run)
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        self.count("run");
        self.inner.run(run_id)
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        self.count("runs");
        self.inner.runs()
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.count("advance");
        if to == RunState::Finished {
            let mut state = self.state();
            state.finish_attempts.push(Instant::now());
            if state.failures_left > 0 {
                state.failures_left -= 1;
                let (place, reason) = ("a test".to_owned(), "it is locked".to_owned());
                return ready(Err(LedgerError::Unavailable { place, reason })).boxed();
            }
        }
        self.inner.advance(run_id, from, to, finished)
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.count("fail");
        self.inner.fail(run_id, from, reason)
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        self.count("reconfigure");
        self.inner.reconfigure(run_id, config)
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        self.count("shards");
        self.inner.shards(run_id, first, limit)
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        self.count("lease");
        self.inner.lease(run_id, leased)
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        self.count("commit");
        self.inner.commit(run_id, shard, token, part)
    }

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        self.count("reopen");
        self.inner.reopen(run_id, shard, part)
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.count("record_totals");
        self.inner.record_totals(run_id, totals)
    }

    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        self.count("record_resources");
        self.inner.record_resources(run_id, resources)
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        self.count("remove_run");
        self.inner.remove_run(run_id)
    }
}
