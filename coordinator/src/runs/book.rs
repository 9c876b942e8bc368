//! What the coordinator knows of runs that live, and which shard comes next. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use dataset::corpus::CorpusReader;
use domain::ids::{RunId, WorkerName};
use domain::run::{Lease, RunPlan, RunState};
use domain::tally::Tally;

use super::roster::{Member, Rate};
use super::turns::Turns;
use crate::leases::{Grant, Leases, Moment, Take};
use crate::ledger::RunResources;
use crate::metrics::{LeaseEvent, Metrics};
use crate::questions::Terms;

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
pub(crate) struct Live {
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
    /// Under which terms it asks a model; `None`: it asks none.
    pub(crate) terms: Option<Arc<Terms>>,
    /// Why it was stopped, until it is submitted again.
    pub(crate) halted: Option<String>,
    /// What of the store or the ledger did not work when it was tried last.
    pub(crate) stalled: Option<String>,
}

impl Live {
    /// Whether shards of it may be leased.
    fn is_open(&self) -> bool {
        self.state == RunState::Running && self.corpus.is_some() && self.halted.is_none()
    }

    /// The lease that the worker will hear of once the ledger has it.
    fn tentative(&mut self, run_id: &RunId, grant: Grant, worker: &Arc<WorkerName>) -> Option<Tentative> {
        self.workers.insert(WorkerName::clone(worker));
        let lease = Lease {
            run_id: run_id.clone(),
            shard: grant.shard,
            worker: WorkerName::clone(worker),
            token: grant.token,
            ttl_ms: self.leases.terms().ttl_ms,
            attempt: grant.attempt,
        };
        Some(Tentative { grant, lease, config: Arc::clone(&self.config), corpus: self.corpus.clone()? })
    }
}

/// Every run that has not ended, and the workers that are connected.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) live: BTreeMap<RunId, Live>,
    /// Runs whose corpus is on its way.
    pub(crate) arriving: BTreeSet<RunId>,
    /// Connected workers.
    pub(crate) workers: BTreeMap<WorkerName, Member>,
    /// Names that were given to workers which are about to connect, and until when they are kept for them.
    pub(crate) promised: BTreeMap<WorkerName, Moment>,
    /// When any worker was last heard.
    pub(crate) heard: Moment,
    turns: Turns,
    metrics: Arc<Metrics>,
}

/// A lease that the ledger has not recorded yet.
#[derive(Debug)]
pub(crate) struct Tentative {
    pub(crate) grant: Grant,
    pub(crate) lease: Lease,
    pub(crate) config: Arc<str>,
    pub(crate) corpus: Arc<CorpusReader>,
}

/// What there is for a worker that asks.
#[derive(Debug)]
pub(crate) enum Next {
    /// A lease.
    Lease(Box<Tentative>),
    /// Nothing, until something changes or this moment comes.
    Wait(Option<Moment>),
}

impl Book {
    /// Nothing yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Leases a shard of the run whose turn it is. Runs take turns, so that none waits for another to end; where no run
    /// has a shard that waits, one is taken from a worker that is late or gone.
    pub(crate) fn next(&mut self, now: Moment, worker: &Arc<WorkerName>) -> Next {
        self.expire(now);
        let fleet = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let turns = self.turns.order(self.live.keys());
        for run_id in &turns {
            if let Some(live) = self.open_run(run_id)
                && let Some(grant) = live.leases.grant(now, worker, fleet)
                && let Some(tentative) = live.tentative(run_id, grant, worker)
            {
                self.turns.took(run_id, tentative.lease.shard.len.into());
                return Next::Lease(Box::new(tentative));
            }
        }
        let mut wake = self.next_deadline();
        for run_id in &turns {
            let Some(live) = self.open_run(run_id) else { continue };
            match live.leases.take(now, worker, fleet) {
                Take::Granted(grant) => {
                    tracing::warn!(run = %run_id, shard = %grant.shard.index, token = %grant.token, to = %worker, "a shard is late: leasing it again");
                    if let Some(tentative) = live.tentative(run_id, grant, worker) {
                        self.metrics.lease(LeaseEvent::Hedged, 1);
                        self.turns.took(run_id, tentative.lease.shard.len.into());
                        return Next::Lease(Box::new(tentative));
                    }
                }
                Take::NotBefore(moment) => wake = Some(wake.map_or(moment, |wake| wake.min(moment))),
                Take::Nothing => {}
            }
        }
        Next::Wait(wake)
    }

    /// Takes a run out: it has ended.
    pub(crate) fn end(&mut self, run_id: &RunId) -> Option<Live> {
        self.turns.forget(run_id);
        self.live.remove(run_id)
    }

    /// Leases a record that was given up to the coordinator itself.
    pub(crate) fn give_up(&mut self, now: Moment, coordinator: &Arc<WorkerName>) -> Option<Tentative> {
        let (run_id, live) =
            self.live.iter_mut().find(|(_, live)| live.is_open() && live.leases.has_condemned())?;
        let grant = live.leases.give_up(now, coordinator)?;
        let run_id = run_id.clone();
        live.tentative(&run_id, grant, coordinator)
    }

    /// Ends the leases that ran out.
    pub(crate) fn expire(&mut self, now: Moment) -> bool {
        let mut any = false;
        for (run_id, live) in &mut self.live {
            for expired in live.leases.expire(now, self.heard) {
                any = true;
                self.metrics.lease(LeaseEvent::Expired, 1);
                tracing::warn!(run = %run_id, shard = %expired.shard.index, token = %expired.token, worker = %expired.worker, lost = expired.lost, "a lease ran out");
            }
        }
        any
    }

    /// When the next lease ends.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.live.values().filter_map(|live| live.leases.next_deadline()).min()
    }

    fn open_run(&mut self, run_id: &RunId) -> Option<&mut Live> {
        self.live.get_mut(run_id).filter(|live| live.is_open())
    }
}
