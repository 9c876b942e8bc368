//! Ledger in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;

use super::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};

/// The ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    runs: Mutex<Vec<Run>>,
}

#[derive(Debug)]
struct Run {
    entry: RunEntry,
    shards: BTreeMap<ShardIndex, ShardEntry>,
}

impl MemoryLedger {
    fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        // No step can panic half-way, so the values behind a poisoned lock are consistent.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, run_id: &RunId, step: impl FnOnce(&mut Run) -> T) -> LedgerResult<T> {
        let mut runs = self.lock();
        let run = runs.iter_mut().find(|run| run.entry.plan.run_id == *run_id);
        run.map(step).ok_or_else(|| LedgerError::UnknownRun(run_id.clone()))
    }
}

impl Ledger for MemoryLedger {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        let mut runs = self.lock();
        let known = runs.iter().find(|known| known.entry.plan.run_id == run.plan.run_id);
        let created = if let Some(known) = known {
            Created::Existed(Box::new(known.entry.clone()))
        } else {
            runs.push(Run { entry: run, shards: BTreeMap::new() });
            Created::New
        };
        ready(Ok(created)).boxed()
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        ready(Ok(self.with(run_id, |run| run.entry.clone()).ok())).boxed()
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        ready(Ok(self.lock().iter().map(|run| run.entry.clone()).collect())).boxed()
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let swap = self.with(run_id, |run| {
            if run.entry.state != from {
                return Swap::Differs(run.entry.state);
            }
            run.entry.state = to;
            run.entry.failure = None;
            if let Some(FinishedRun { fingerprint, run_file }) = finished {
                run.entry.fingerprint = Some(fingerprint);
                run.entry.run_file = Some(run_file);
            }
            Swap::Done
        });
        ready(swap).boxed()
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let swap = self.with(run_id, |run| {
            if run.entry.state != from {
                return Swap::Differs(run.entry.state);
            }
            (run.entry.state, run.entry.failure) = (RunState::Failed, Some(reason));
            Swap::Done
        });
        ready(swap).boxed()
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        let swap = self.with(run_id, |run| {
            if run.entry.plan.config_hash != config.hash() {
                return Swap::Differs(run.entry.plan.config_hash);
            }
            run.entry.plan.config = config;
            Swap::Done
        });
        ready(swap).boxed()
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        let shards = self.with(run_id, |run| {
            run.shards.range(first..).take(limit).map(|(_, shard)| shard.clone()).collect()
        });
        ready(shards).boxed()
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let swap = self.with(run_id, |run| {
            let known = run.shards.get(&leased.shard.index);
            let token = known.map_or(FencingToken::default(), |shard| shard.token);
            let committed = known.is_some_and(|shard| shard.part.is_some());
            let longer = known.is_some_and(|known| known.shard.len < leased.shard.len);
            let committed = committed && !mutated!(LeaseOverCommit);
            if committed || longer || token != leased.previous || leased.token <= token {
                return Swap::Differs(known.cloned());
            }
            let Leased { shard, token, attempt, lost, worker, .. } = leased;
            let entry = ShardEntry { shard, token, attempt, lost, worker, part: None };
            run.shards.insert(shard.index, entry);
            Swap::Done
        });
        ready(swap).boxed()
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        let verdict = self.with(run_id, |run| match run.shards.get_mut(&shard) {
            None => CommitVerdict::Stale { current: FencingToken::default() },
            Some(known) if known.token != token && !mutated!(FenceNotChecked) => {
                CommitVerdict::Stale { current: known.token }
            }
            Some(known) if known.part.is_some() => CommitVerdict::Already,
            Some(known) => {
                known.part = Some(part);
                CommitVerdict::Committed
            }
        });
        ready(verdict).boxed()
    }

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let swap = self.with(run_id, |run| match run.shards.get_mut(&shard) {
            Some(known) if known.part.as_ref().is_some_and(|known| known.hash == part) => {
                known.part = None;
                Swap::Done
            }
            known => Swap::Differs(known.cloned()),
        });
        ready(swap).boxed()
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let swap = self.with(run_id, |run| {
            let state = run.entry.state;
            if state != RunState::Finishing && !state.has_ended() {
                return Swap::Differs(state);
            }
            run.entry.totals = Some(totals);
            Swap::Done
        });
        ready(swap).boxed()
    }

    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        let recorded = self.with(run_id, |run| run.entry.resources = run.entry.resources.join(resources));
        ready(recorded).boxed()
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let mut runs = self.lock();
        let state = runs.iter().find(|run| run.entry.plan.run_id == *run_id).map(|run| run.entry.state);
        let swap = match state {
            Some(state) if state != RunState::Removing => Swap::Differs(state),
            _ => {
                runs.retain(|run| run.entry.plan.run_id != *run_id);
                Swap::Done
            }
        };
        ready(Ok(swap)).boxed()
    }
}

#[cfg(test)]
mod tests {
    super::super::suite::ledger_suite!(async { (super::MemoryLedger::default(), ()) });
}
