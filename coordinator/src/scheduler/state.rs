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
use crate::llm_gateway::LlmPolicy;
use crate::metrics::{LeaseEvent, Metrics};
use crate::scheduler::leases::{Grant, Leases, Speculation};
use crate::scheduler::worker_registry::ConnectedWorker;

/// State of a run's finalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Not begun.
    Idle,
    /// A task is working on it.
    UnderWay,
    /// Failed permanently: it begins again when the run is submitted again.
    Failed,
}

/// How long a name is reserved for a worker that has joined and not connected yet.
pub(super) const RESERVE_MS: u64 = 5_000;

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) plan: Arc<RunPlan>,
    /// The configuration in its wire format.
    pub(crate) config: Arc<str>,
    pub(crate) source: String,
    pub(crate) created_at_ms: u64,
    /// When this process began to work on it.
    pub(crate) since: Instant,
    /// Resources that it had used before that.
    pub(crate) used_before: RunResources,
    pub(crate) state: RunState,
    pub(crate) leases: Leases,
    pub(crate) tally: Tally,
    /// Rate of committed records.
    pub(crate) rate: Rate,
    /// `None` where the corpus cannot be read: the run has to be submitted again.
    pub(crate) corpus: Option<Arc<CorpusReader>>,
    pub(crate) workers: BTreeSet<WorkerName>,
    /// State of its finalization.
    pub(crate) finish: Finish,
    /// Why it cannot be resumed.
    pub(crate) trouble: Option<String>,
    /// Policy of its LLM calls; `None` for a run without an LLM proposer.
    pub(crate) llm_policy: Option<Arc<LlmPolicy>>,
    /// Why it was halted, until it is submitted again.
    pub(crate) halted: Option<String>,
    /// The last failure of store or ledger, until it succeeds again.
    pub(crate) stalled: Option<String>,
}

impl ActiveRun {
    /// Whether its shards may be leased.
    fn is_open(&self) -> bool {
        self.state == RunState::Running && self.corpus.is_some() && self.halted.is_none()
    }

    /// The lease that is sent to the worker once the ledger has recorded it.
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
        Some(PendingLease { grant, lease, config: Arc::clone(&self.config), corpus: self.corpus.clone()? })
    }
}

/// The active runs and the connected workers.
#[derive(Debug, Default)]
pub(crate) struct SchedulerState {
    pub(crate) active: BTreeMap<RunId, ActiveRun>,
    /// Runs that are being submitted.
    pub(crate) arriving: BTreeSet<RunId>,
    /// Connected workers.
    pub(crate) workers: BTreeMap<WorkerName, ConnectedWorker>,
    /// Names reserved for workers that have joined and not connected yet, with the end of the reservation.
    pub(crate) reserved: BTreeMap<WorkerName, Monotonic>,
    /// When the last message of any worker arrived.
    pub(crate) last_contact: Monotonic,
    fair_share: FairShare,
    metrics: Arc<Metrics>,
}

/// A lease that the ledger has not recorded yet.
#[derive(Debug)]
pub(crate) struct PendingLease {
    pub(crate) grant: Grant,
    pub(crate) lease: Lease,
    pub(crate) config: Arc<str>,
    pub(crate) corpus: Arc<CorpusReader>,
}

/// The decision for a worker that requests a shard.
#[derive(Debug)]
pub(crate) enum Next {
    /// Lease this shard.
    Lease(Box<PendingLease>),
    /// Wait until the state changes, or until this time.
    Wait(Option<Monotonic>),
}

impl SchedulerState {
    /// A scheduler without runs and workers.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Leases a shard of the run that is next in the fair order; where no run has a waiting shard, leases one speculatively
    /// that a slow or disconnected worker holds.
    pub(crate) fn next(&mut self, now: Monotonic, worker: &Arc<WorkerName>) -> Next {
        self.expire(now);
        let fleet = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let order = self.fair_share.order(self.active.keys());
        for run_id in &order {
            if let Some(run) = self.open_run(run_id)
                && let Some(grant) = run.leases.grant(now, worker, fleet)
                && let Some(pending) = run.pending_lease(run_id, grant, worker)
            {
                self.fair_share.took(run_id, pending.lease.shard.len.into());
                return Next::Lease(Box::new(pending));
            }
        }
        let mut wake = self.next_deadline();
        for run_id in &order {
            let Some(run) = self.open_run(run_id) else { continue };
            match run.leases.speculate(now, worker, fleet) {
                Speculation::Granted(grant) => {
                    tracing::warn!(run = %run_id, shard = %grant.shard.index, token = %grant.token, to = %worker, "leasing a shard of a slow or disconnected worker speculatively");
                    if let Some(pending) = run.pending_lease(run_id, grant, worker) {
                        self.metrics.lease(LeaseEvent::Speculative, 1);
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

    /// Removes a run that has ended.
    pub(crate) fn end(&mut self, run_id: &RunId) -> Option<ActiveRun> {
        self.fair_share.forget(run_id);
        self.active.remove(run_id)
    }

    /// Leases a poison record to the coordinator itself.
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

    /// Expires leases past their deadline; returns whether there were any.
    pub(crate) fn expire(&mut self, now: Monotonic) -> bool {
        let mut any = false;
        for (run_id, run) in &mut self.active {
            for expired in run.leases.expire(now, self.last_contact) {
                any = true;
                self.metrics.lease(LeaseEvent::Expired, 1);
                tracing::warn!(run = %run_id, shard = %expired.shard.index, token = %expired.token, worker = %expired.worker, lost = expired.lost, "a lease expired");
            }
        }
        any
    }

    /// The earliest deadline of all leases.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.active.values().filter_map(|run| run.leases.next_deadline()).min()
    }

    fn open_run(&mut self, run_id: &RunId) -> Option<&mut ActiveRun> {
        self.active.get_mut(run_id).filter(|run| run.is_open())
    }
}

impl SchedulerState {
    /// Reserves a unique name for a worker: the requested one, with a number appended where it is taken. Workers of one host
    /// join under one name, often at the same time.
    pub(crate) fn reserve_name(&mut self, now: Monotonic, requested: WorkerName) -> WorkerName {
        self.reserved.retain(|_, until| *until > now);
        let is_free =
            |name: &WorkerName| !self.workers.contains_key(name) && !self.reserved.contains_key(name);
        let name = if is_free(&requested) {
            requested
        } else {
            let base: String = requested.as_str().chars().take(50).collect();
            // More candidates than names in use: one of them is free.
            (2..=self.workers.len() + self.reserved.len() + 2)
                .filter_map(|number| WorkerName::new(format!("{base}-{number}")).ok())
                .find(is_free)
                .unwrap_or(requested)
        };
        self.reserved.insert(name.clone(), now.after(RESERVE_MS));
        name
    }

    /// Status of the connected workers, by name.
    pub(crate) fn worker_statuses(&self, now: Monotonic) -> Vec<WorkerStatus> {
        let mut leased: BTreeMap<&WorkerName, u32> = BTreeMap::new();
        for run in self.active.values() {
            for worker in run.leases.holders() {
                *leased.entry(worker).or_default() += 1;
            }
        }
        let ago = |moment: Monotonic| Duration::from_millis(now.0.saturating_sub(moment.0));
        self.workers
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
