//! What the coordinator knows of runs that live, and which shard comes next. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use dataset::corpus::CorpusReader;
use domain::ids::{RunId, WorkerName};
use domain::run::{Lease, RunPlan, RunState};
use domain::tally::Tally;

use super::roster::{Member, Rate};
use super::turns::Turns;
use crate::leases::{Grant, Leases, Moment};

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) plan: Arc<RunPlan>,
    /// The configuration as it travels.
    pub(crate) config: Arc<str>,
    pub(crate) source: String,
    pub(crate) created_at_ms: u64,
    /// When this process took it up.
    pub(crate) since: Instant,
    pub(crate) state: RunState,
    pub(crate) leases: Leases,
    pub(crate) tally: Tally,
    /// How fast records are committed.
    pub(crate) rate: Rate,
    /// `None`: the corpus is not there; it has to be submitted again.
    pub(crate) corpus: Option<Arc<CorpusReader>>,
    pub(crate) workers: BTreeSet<WorkerName>,
    /// Why it cannot go on.
    pub(crate) trouble: Option<String>,
}

impl Live {
    /// Whether shards of it may be leased.
    fn is_open(&self) -> bool {
        self.state == RunState::Running && self.corpus.is_some()
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
    turns: Turns,
}

/// A lease that the ledger has not recorded yet.
#[derive(Debug)]
pub(crate) struct Tentative {
    pub(crate) grant: Grant,
    pub(crate) lease: Lease,
    pub(crate) config: Arc<str>,
    pub(crate) corpus: Arc<CorpusReader>,
}

impl Book {
    /// Leases a shard of the run whose turn it is, so that none waits for another to end.
    pub(crate) fn grant(&mut self, now: Moment, worker: &Arc<WorkerName>) -> Option<Tentative> {
        for run_id in self.turns.order(self.live.keys()) {
            let Some(live) = self.live.get_mut(&run_id).filter(|live| live.is_open()) else { continue };
            for expired in live.leases.expire(now) {
                tracing::warn!(run = %run_id, shard = %expired.shard, token = %expired.token, worker = %expired.worker, "a lease ran out");
            }
            let Some(corpus) = live.corpus.clone() else { continue };
            if let Some(grant) = live.leases.grant(now, worker) {
                live.workers.insert(WorkerName::clone(worker));
                let lease = Lease {
                    run_id: run_id.clone(),
                    shard: live.plan.shard(grant.shard),
                    worker: WorkerName::clone(worker),
                    token: grant.token,
                    ttl_ms: live.leases.ttl_ms(),
                    attempt: grant.attempt,
                };
                let config = Arc::clone(&live.config);
                self.turns.took(&run_id, lease.shard.len);
                return Some(Tentative { grant, lease, config, corpus });
            }
        }
        None
    }

    /// Takes a run out: it has ended.
    pub(crate) fn end(&mut self, run_id: &RunId) -> Option<Live> {
        self.turns.forget(run_id);
        self.live.remove(run_id)
    }

    /// When the next lease of any open run ends.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.live.values().filter(|live| live.is_open()).filter_map(|live| live.leases.next_deadline()).min()
    }
}
