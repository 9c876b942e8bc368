//! Scheduler state: active runs, connected workers, and the choice of the next shard. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use domain::ids::{RunId, WorkerName};
use domain::run::{Lease, RunPlan, RunState};
use domain::tally::Tally;
use proto::convert::WorkerStatus;
use results::corpus_copy::CorpusReader;

use super::fair_share::FairShare;
use crate::clock::Monotonic;
use crate::clock::Rate;
use crate::ledger::RunResources;
use crate::scheduler::leases::{ExpiredLease, Grant, Leases, Speculation};
use crate::scheduler::worker_registry::WorkerRegistry;

/// Where the finish of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It has not begun.
    Idle,
    /// A task works on it.
    UnderWay,
    /// It failed for good: it begins again when the run is submitted again.
    Failed,
}

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) plan: Arc<RunPlan>,
    /// The configuration as it travels.
    pub(crate) config: Arc<str>,
    pub(crate) source: String,
    pub(crate) created_at_ms: u64,
    /// When this process began to work on it.
    pub(crate) since: Instant,
    /// What it had used before that.
    pub(crate) used_before: RunResources,
    pub(crate) state: RunState,
    pub(crate) leases: Leases,
    pub(crate) tally: Tally,
    /// How fast records are committed.
    pub(crate) rate: Rate,
    /// `None`: the corpus is not there; it has to be submitted again.
    pub(crate) corpus: Option<Arc<CorpusReader>>,
    pub(crate) workers: BTreeSet<WorkerName>,
    /// Whether it is being finished.
    pub(crate) finish: Finish,
    /// Why it cannot go on.
    pub(crate) trouble: Option<String>,
    /// Why it was stopped, until it is submitted again.
    pub(crate) halted: Option<String>,
    /// What of the store or the ledger did not work when it was tried last.
    pub(crate) stalled: Option<String>,
}

impl ActiveRun {
    /// Whether shards of it may be leased.
    fn is_open(&self) -> bool {
        self.state == RunState::Running && self.corpus.is_some() && self.halted.is_none()
    }

    /// The lease that the worker will hear of once the ledger has it.
    fn pending_lease(
        &mut self,
        run_id: &RunId,
        grant: Grant,
        worker: &Arc<WorkerName>,
    ) -> Option<PendingLease> {
        self.workers.insert(WorkerName::clone(worker));
        let lease = Lease {
            run_id: run_id.clone(),
            shard: grant.shard,
            worker: WorkerName::clone(worker),
            token: grant.token,
            ttl_ms: self.leases.terms().ttl_ms,
            attempt: grant.attempt,
        };
        let (config, corpus) = (Arc::clone(&self.config), self.corpus.clone()?);
        Some(PendingLease { grant, lease, config, corpus, speculative: false })
    }
}

/// Every run that has not ended, and the workers that are connected.
#[derive(Debug, Default)]
pub(crate) struct SchedulerState {
    pub(crate) active: BTreeMap<RunId, ActiveRun>,
    /// Runs whose corpus is on its way.
    pub(crate) arriving: BTreeSet<RunId>,
    pub(crate) workers: WorkerRegistry,
    fair_share: FairShare,
}

/// A lease that the ledger has not recorded yet.
#[derive(Debug)]
pub(crate) struct PendingLease {
    pub(crate) grant: Grant,
    pub(crate) lease: Lease,
    pub(crate) config: Arc<str>,
    pub(crate) corpus: Arc<CorpusReader>,
    /// Whether another worker holds a lease on the shard.
    pub(crate) speculative: bool,
}

/// What there is for a worker that asks.
#[derive(Debug)]
pub(crate) enum Next {
    /// A lease.
    Lease(Box<PendingLease>),
    /// Nothing, until something changes or this moment comes.
    Wait(Option<Monotonic>),
}

impl SchedulerState {
    /// Leases a shard of the run whose turn it is, after [`Self::expire`]. Runs take turns, so that none waits for another to
    /// end; where no run has a waiting shard, one of a late or disconnected worker is leased speculatively.
    pub(crate) fn next(&mut self, now: Monotonic, worker: &Arc<WorkerName>) -> Next {
        let fleet = self.workers.count();
        let turns = self.fair_share.order(self.active.keys());
        for run_id in &turns {
            if let Some(run) = self.open_run(run_id)
                && let Some(grant) = run.leases.grant(now, worker, fleet)
                && let Some(pending) = run.pending_lease(run_id, grant, worker)
            {
                self.fair_share.took(run_id, pending.lease.shard.len.into());
                return Next::Lease(Box::new(pending));
            }
        }
        let mut wake = self.next_deadline();
        for run_id in &turns {
            let Some(run) = self.open_run(run_id) else { continue };
            match run.leases.speculate(now, worker, fleet) {
                Speculation::Granted(grant) => {
                    if let Some(pending) = run.pending_lease(run_id, grant, worker) {
                        let pending = PendingLease { speculative: true, ..pending };
                        self.fair_share.took(run_id, pending.lease.shard.len.into());
                        return Next::Lease(Box::new(pending));
                    }
                }
                Speculation::NotBefore(moment) => wake = Some(wake.map_or(moment, |wake| wake.min(moment))),
                Speculation::Nothing => {}
            }
        }
        Next::Wait(wake)
    }

    /// Takes a run out: it has ended.
    pub(crate) fn end(&mut self, run_id: &RunId) -> Option<ActiveRun> {
        self.fair_share.forget(run_id);
        self.active.remove(run_id)
    }

    /// Leases a record that was declared poison to the coordinator itself.
    pub(crate) fn lease_poison(
        &mut self,
        now: Monotonic,
        coordinator: &Arc<WorkerName>,
    ) -> Option<PendingLease> {
        let (run_id, run) =
            self.active.iter_mut().find(|(_, run)| run.is_open() && run.leases.has_poison())?;
        let grant = run.leases.grant_poison(now, coordinator)?;
        let run_id = run_id.clone();
        run.pending_lease(&run_id, grant, coordinator)
    }

    /// Ends the leases that ran out, and returns them.
    pub(crate) fn expire(&mut self, now: Monotonic) -> Vec<(RunId, ExpiredLease)> {
        let mut all = Vec::new();
        for (run_id, run) in &mut self.active {
            let expired = run.leases.expire(now, self.workers.last_contact);
            all.extend(expired.into_iter().map(|expired| (run_id.clone(), expired)));
        }
        all
    }

    /// When the next lease ends.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.active.values().filter_map(|run| run.leases.next_deadline()).min()
    }

    fn open_run(&mut self, run_id: &RunId) -> Option<&mut ActiveRun> {
        self.active.get_mut(run_id).filter(|run| run.is_open())
    }
}

impl SchedulerState {
    /// The workers as clients see them, by name.
    pub(crate) fn worker_statuses(&self, now: Monotonic) -> Vec<WorkerStatus> {
        let mut leased: BTreeMap<&WorkerName, u32> = BTreeMap::new();
        for run in self.active.values() {
            for worker in run.leases.holders() {
                *leased.entry(worker).or_default() += 1;
            }
        }
        let ago = |moment: Monotonic| Duration::from_millis(now.0.saturating_sub(moment.0));
        self.workers
            .connected
            .iter()
            .map(|(worker, member)| WorkerStatus {
                worker: worker.clone(),
                version: member.version.clone(),
                slots: member.slots,
                leased: leased.get(worker).copied().unwrap_or(0),
                shards: member.shards,
                records: member.records,
                records_per_s: member.rate.per_second(now),
                connected: ago(member.connected),
                silent: ago(member.last_contact),
                draining: *member.drain_requested.borrow(),
            })
            .collect()
    }
}
