//! Scheduler state: active runs, connected workers, and the choice of the next shard. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use domain::api_server::ServerIdentity;
use domain::config::RunConfig;
use domain::ids::{RunId, WorkerName};
use domain::run::{Lease, RunPlan, RunState};
use domain::scanner::{Scanner, ScannerVersions, Scanners};
use domain::tally::Tally;
use proto::convert::WorkerStatus;
use results::corpus_copy::CorpusReader;

use super::fair_share::FairShare;
use crate::clock::Monotonic;
use crate::clock::Rate;
use crate::ledger::RunResources;
use crate::scheduler::leases::{ExpiredLease, Grant, Leases, Speculation};
use crate::scheduler::worker_registry::{Abilities, WorkerRegistry};

/// State of a run's finalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Not begun.
    Idle,
    /// A task is working on it.
    UnderWay,
    /// Given up for now: it begins again when the run is submitted again.
    Failed,
}

/// The API server of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunJudge {
    /// The server; `None` until a shard is leased to a worker, whose server it is from then on.
    pub(crate) server: Option<Arc<ServerIdentity>>,
    /// Whether that is recorded.
    pub(crate) recorded: bool,
}

impl RunJudge {
    /// Of a run with this configuration; `None` where the embedded rules alone judge.
    pub(crate) fn of(config: &RunConfig) -> Option<Self> {
        config.verifier.depth.needs_server().then(Self::default)
    }
}

/// The scanners of a run, besides the built-in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunScanners {
    wanted: Scanners,
    /// Their versions; `None` until a shard is leased to a worker, whose versions they are from then on.
    pub(crate) versions: Option<ScannerVersions>,
    /// Whether that is recorded.
    pub(crate) recorded: bool,
}

impl RunScanners {
    /// Of a run with this configuration; `None` where the built-in scanner alone judges.
    pub(crate) fn of(config: &RunConfig) -> Option<Self> {
        let wanted = config.verifier.rescan.clone();
        (!wanted.is_builtin_alone()).then_some(Self { wanted, versions: None, recorded: false })
    }

    /// The names of those that are wanted.
    pub(crate) fn names(&self) -> String {
        self.wanted.tools().map(Scanner::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Whether a worker with these may judge: all repairs are judged by the same versions.
    fn admits(&self, of_worker: &ScannerVersions) -> bool {
        let able = of_worker.of(&self.wanted);
        able.is_some_and(|able| self.versions.as_ref().is_none_or(|chosen| *chosen == able))
    }
}

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
    /// Why it was halted, until it is submitted again.
    pub(crate) halted: Option<String>,
    /// The last failure of store or ledger, until it succeeds again.
    pub(crate) stalled: Option<String>,
    /// How often damaged parts of it were found, and their shards leased again.
    pub(crate) reopened: u32,
    /// Held while its end is recorded, so that a cancellation comes before all of that or after.
    pub(crate) ending: Arc<tokio::sync::Mutex<()>>,
    /// The API server of a run that needs one.
    pub(crate) judge: Option<RunJudge>,
    /// The scanners of a run that needs some.
    pub(crate) scanners: Option<RunScanners>,
}

impl ActiveRun {
    /// Whether its shards may be leased.
    fn is_open(&self) -> bool {
        self.state == RunState::Running && self.corpus.is_some() && self.halted.is_none()
    }

    /// Whether its shards may be leased to a worker with these abilities.
    pub(crate) fn admits(&self, abilities: &Abilities) -> bool {
        let has_program =
            self.plan.config.program().is_none_or(|program| abilities.programs.contains(program));
        has_program
            && self.admits_server(abilities.server.as_ref())
            && self.admits_scanners(&abilities.scanners)
    }

    /// Whether a worker with this API server may judge its documents: all of them are judged by one.
    pub(crate) fn admits_server(&self, server: Option<&Arc<ServerIdentity>>) -> bool {
        self.judge.as_ref().is_none_or(|judge| {
            server.is_some_and(|server| judge.server.as_ref().is_none_or(|chosen| chosen == server))
        })
    }

    /// Whether a worker with these scanners may judge its repairs.
    pub(crate) fn admits_scanners(&self, scanners: &ScannerVersions) -> bool {
        self.scanners.as_ref().is_none_or(|run| run.admits(scanners))
    }

    /// Chooses the versions of the first worker that is leased a shard.
    fn choose_scanners(&mut self, of_worker: &ScannerVersions) {
        if let Some(scanners) = &mut self.scanners
            && scanners.versions.is_none()
        {
            scanners.versions = of_worker.of(&scanners.wanted);
        }
    }

    /// Chooses the server of the first worker that is leased a shard.
    fn choose_judge(&mut self, server: Option<&Arc<ServerIdentity>>) {
        if let Some(judge) = &mut self.judge
            && judge.server.is_none()
        {
            judge.server = server.cloned();
        }
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
        let (config, corpus) = (Arc::clone(&self.config), self.corpus.clone()?);
        Some(PendingLease { grant, lease, config, corpus, speculative: false })
    }
}

/// The active runs and the connected workers.
#[derive(Debug, Default)]
pub(crate) struct SchedulerState {
    pub(crate) active: BTreeMap<RunId, ActiveRun>,
    /// Runs that are being submitted.
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

/// The decision for a worker that requests a shard.
#[derive(Debug)]
pub(crate) enum Next {
    /// Lease this shard.
    Lease(Box<PendingLease>),
    /// Wait until the state changes, or until this time.
    Wait(Option<Monotonic>),
}

impl SchedulerState {
    /// Leases a shard of the run that is next in the fair order, after [`Self::expire`]; where no run has a waiting shard, one
    /// of a slow or disconnected worker is leased speculatively.
    pub(crate) fn next(&mut self, now: Monotonic, worker: &Arc<WorkerName>) -> Next {
        let fleet = self.workers.count();
        let abilities = self.workers.abilities_of(worker);
        let order = self.fair_share.order(self.active.keys());
        for run_id in &order {
            if let Some(run) = self.open_run(run_id)
                && run.admits(&abilities)
                && let Some(grant) = run.leases.grant(now, worker, fleet)
                && let Some(pending) = run.pending_lease(run_id, grant, worker)
            {
                run.choose_judge(abilities.server.as_ref());
                run.choose_scanners(&abilities.scanners);
                self.fair_share.took(run_id, pending.lease.shard.len.into());
                return Next::Lease(Box::new(pending));
            }
        }
        let mut wake = self.next_deadline();
        for run_id in &order {
            let Some(run) = self.open_run(run_id).filter(|run| run.admits(&abilities)) else { continue };
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

    /// Expires leases past their deadline, and returns them.
    pub(crate) fn expire(&mut self, now: Monotonic) -> Vec<(RunId, ExpiredLease)> {
        let mut all = Vec::new();
        for (run_id, run) in &mut self.active {
            let expired = run.leases.expire(now, self.workers.last_contact);
            all.extend(expired.into_iter().map(|expired| (run_id.clone(), expired)));
        }
        all
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
                refused_parts: member.refused_parts,
                drained_because: member.drained_because.clone(),
            })
            .collect()
    }
}
