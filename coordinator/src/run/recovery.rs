//! Recovery after a restart: the ledger names the runs that have not ended, and their committed shards.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use domain::ids::{RunId, ShardIndex, WorkerName};
use domain::run::{RunPlan, RunState};
use domain::tally::Tally;
use proto::convert::config_to_wire;
use proto::status::{ApiError, ErrorReason};
use results::corpus_copy::CorpusReader;
use results::store::sweep_unfinished;

use super::lease_service::known;
use super::resources::Attribution;
use super::{Change, Coordinator, Parts, Recovery};
use crate::clock::Rate;
use crate::ledger::{RunEntry, TimedLedger};
use crate::llm_gateway::{LlmPolicy, RunChanged, RunLink};
use crate::metrics::Metrics;
use crate::refusals::{ledger_refusal, unknown_run};
use crate::run::commit::STAGED;
use crate::run::upload_limit::UploadLimit;
use crate::scheduler::leases::{CommitEffect, LeaseTerms, Leases};
use crate::scheduler::state::Finish;
use crate::scheduler::state::{ActiveRun, RunJudge, RunScanners, SchedulerState};

/// Shards in a page of the ledger.
const PAGE: usize = 1000;

/// State of a run as the ledger gives it.
struct Replayed {
    leases: Leases,
    tally: Tally,
    /// Workers that ever held a lease.
    workers: BTreeSet<WorkerName>,
    /// Why the run cannot be resumed.
    trouble: Option<String>,
}

/// Deletes unfinished files that an earlier process left in `folder`.
fn sweep(folder: &Path) -> Result<(), ApiError> {
    sweep_unfinished(folder).map_err(|error| {
        ApiError::new(ErrorReason::Storage, format!("cannot sweep {}: {error}", folder.display()))
    })
}

impl Coordinator {
    /// Opens the coordinator and recovers the runs that have not ended.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, ApiError> {
        let metrics = Arc::new(Metrics::default());
        let coordinator = Arc::new(Self {
            ledger: Arc::new(TimedLedger::new(parts.ledger, Arc::clone(&metrics))),
            metrics,
            store: parts.store.with_scratch(&parts.scratch),
            scratch: parts.scratch,
            started: tokio::time::Instant::now(),
            scheduler: Mutex::new(SchedulerState::default()),
            work: Notify::new(),
            reaper_wake: Notify::new(),
            changed: watch::Sender::new(Change::default()),
            uploads: UploadLimit::default(),
            checking: Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
            llm: Arc::new(RunLink::default()),
            verdicts: OnceLock::new(),
            background: Mutex::new(JoinSet::new()),
            owner: parts.owner,
            attribution: Attribution::new(parts.recovery == Recovery::Forfeit),
        });
        sweep(&coordinator.scratch)?;
        for entry in coordinator.ledger.runs().await.map_err(|error| ledger_refusal(&error))? {
            let folder = coordinator.folder(&entry.plan.run_id)?;
            for place in [".", STAGED].iter().filter_map(|name| folder.local_path(name)) {
                sweep(&place)?;
            }
            match entry.state {
                RunState::Planning | RunState::Running | RunState::Finishing => {
                    tracing::info!(run = %entry.plan.run_id, state = entry.state.as_str(), "resuming a run");
                    coordinator.take_up(entry, parts.recovery, coordinator.started).await?;
                }
                // The earlier process may have ended between the ledger's step and the sweep.
                RunState::Finished => coordinator.sweep_finished(&entry.plan.run_id).await,
                RunState::Cancelled | RunState::Failed => {}
                RunState::Removing => coordinator.finish_removal(&entry.plan.run_id).await,
            }
        }
        coordinator.record_periodically();
        coordinator.follow_gateway();
        Ok(coordinator)
    }

    /// Activates a run of the ledger. This process has worked on it since `since`.
    pub(super) async fn take_up(
        self: &Arc<Self>,
        entry: RunEntry,
        recovery: Recovery,
        since: Instant,
    ) -> Result<(), ApiError> {
        let run_id = entry.plan.run_id.clone();
        let Replayed { leases, tally, workers, trouble } = self.replay(&entry.plan, recovery).await?;
        let complete = leases.is_complete();
        let policy =
            LlmPolicy::of(&entry.plan.config, entry.created_at_ms, entry.created_at_ms).map(Arc::new);
        let is_open = !complete && entry.state == RunState::Running && recovery == Recovery::Grace;
        let halt = Self::former_halt(&entry.plan).filter(|_| is_open);
        let run = ActiveRun {
            halted: None,
            judge: RunJudge::of(&entry.plan.config),
            scanners: RunScanners::of(&entry.plan.config),
            config: config_to_wire(&entry.plan.config).into(),
            plan: Arc::new(entry.plan),
            source: entry.source,
            created_at_ms: entry.created_at_ms,
            since,
            used_before: entry.resources,
            state: entry.state,
            leases,
            tally,
            rate: Rate::since(self.now()),
            corpus: None,
            workers,
            finish: Finish::Idle,
            trouble: trouble.clone(),
            stalled: None,
            reopened: 0,
            ending: Arc::default(),
        };
        self.attribution.take_up();
        {
            let mut scheduler = self.scheduler();
            scheduler.active.insert(run_id.clone(), run);
            // Under the lock, so that messages about a run are posted in the order of its changes.
            self.llm.changed.post(RunChanged::Active { run_id: run_id.clone(), policy });
            if let Some(reason) = halt {
                self.halt_run(&mut scheduler, &run_id, reason);
            }
        }
        if let Some(trouble) = trouble {
            tracing::error!(run = %run_id, trouble, "cannot resume a run");
        } else if complete || entry.state == RunState::Finishing {
            self.begin_finalize(run_id);
        } else {
            self.open_corpus(&run_id).await;
        }
        Ok(())
    }

    /// The state of a run as its shards in the ledger give it.
    async fn replay(&self, plan: &RunPlan, recovery: Recovery) -> Result<Replayed, ApiError> {
        let fleet = &plan.config.fleet;
        let terms = LeaseTerms { ttl_ms: u64::from(fleet.lease_seconds) * 1000, max_lost: fleet.max_lost };
        let mut replayed = Replayed {
            leases: Leases::new(plan.cut(), terms),
            tally: Tally::default(),
            workers: BTreeSet::new(),
            trouble: None,
        };
        let mut next = ShardIndex(0);
        loop {
            let page = self.ledger.shards(&plan.run_id, next, PAGE).await;
            let page = page.map_err(|error| ledger_refusal(&error))?;
            let Some(last) = page.last() else { return Ok(replayed) };
            next = ShardIndex(last.shard.end());
            for shard in page {
                let known = known(&shard, recovery == Recovery::Grace);
                match replayed.leases.observe(self.now(), shard.shard.index, Some(&known)) {
                    Ok(CommitEffect::New) => {
                        if let Some(part) = &shard.part
                            && !mutated!(RecoveryForgets)
                        {
                            replayed.tally.add(&part.tally);
                        }
                    }
                    Ok(CommitEffect::Before) => {}
                    Err(_) => {
                        let place = shard.shard.index;
                        replayed.trouble = Some(format!(
                            "its ledger holds a shard at record {place} that its plan does not allow"
                        ));
                    }
                }
                replayed.workers.insert(shard.worker);
            }
        }
    }

    /// Resumes an active run whose parts were taken back in the ledger: their shards can be leased again.
    pub(super) async fn lease_again(self: &Arc<Self>, run_id: &RunId) -> Result<(), ApiError> {
        let plan = self.with_run(run_id, |run| Arc::clone(&run.plan)).ok_or_else(|| unknown_run(run_id))?;
        // No worker holds a lease: all shards had been committed.
        let Replayed { leases, tally, trouble, .. } = self.replay(&plan, Recovery::Forfeit).await?;
        let complete = self.with_run(run_id, |run| {
            (run.leases, run.tally, run.trouble) = (leases, tally, trouble);
            (run.state, run.finish, run.stalled) = (RunState::Running, Finish::Idle, None);
            run.leases.is_complete()
        });
        if complete == Some(true) {
            self.begin_finalize(run_id.clone());
        } else {
            self.open_corpus(run_id).await;
        }
        Ok(())
    }

    /// Opens the corpus of an active run, so that its shards can be leased; reports a failure in the run's status.
    pub(super) async fn open_corpus(&self, run_id: &RunId) {
        let opened = match self.local_corpus(run_id).await {
            Ok(path) => tokio::task::spawn_blocking(move || {
                CorpusReader::open(&path).map_err(|error| error.to_string())
            })
            .await
            .unwrap_or_else(|error| Err(error.to_string())),
            Err(refusal) => Err(refusal.to_string()),
        };
        if let Some(run) = self.scheduler().active.get_mut(run_id) {
            match opened {
                Ok(corpus) if corpus.records() == run.plan.records => {
                    run.corpus = Some(Arc::new(corpus));
                    run.trouble = None;
                }
                Ok(_) => {
                    run.trouble =
                        Some("its corpus has another number of records: submit the run again".to_owned());
                }
                Err(error) => {
                    run.trouble = Some(format!("its corpus cannot be read ({error}): submit the run again"));
                }
            }
        }
        self.work.notify_waiters();
        self.notify_watchers(false);
    }
}
