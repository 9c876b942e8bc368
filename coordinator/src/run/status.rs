//! Status and cancellation of runs.

use std::sync::Arc;

use domain::ids::RunId;
use domain::run::RunState;
use proto::convert::{LlmStatus, RunStatus};
use proto::status::{ApiError, ErrorReason};

use super::Coordinator;
use super::judges::{active_judge, scanners_wait_for};
use crate::ledger::{RunEntry, Swap, Totals};
use crate::llm_gateway::RunChanged;
use crate::refusals::{ledger_refusal, unknown_run};
use crate::run::finalize::totals;
use crate::scheduler::state::{ActiveRun, SchedulerState};

impl Coordinator {
    /// Status of a run.
    pub async fn status(&self, run_id: &RunId) -> Result<RunStatus, ApiError> {
        if let Some(status) = self.active_status(run_id) {
            return Ok(status);
        }
        let entry = self.ledger.run(run_id).await.map_err(|error| ledger_refusal(&error))?;
        self.ended_status(entry.ok_or_else(|| unknown_run(run_id))?).await
    }

    /// Status of every run, oldest first.
    pub async fn list(&self) -> Result<Vec<RunStatus>, ApiError> {
        let mut list = Vec::new();
        for entry in self.ledger.runs().await.map_err(|error| ledger_refusal(&error))? {
            list.push(match self.active_status(&entry.plan.run_id) {
                Some(status) => status,
                None => self.ended_status(entry).await?,
            });
        }
        Ok(list)
    }

    /// Cancels a run that has not ended. What was committed stays.
    pub async fn cancel(self: &Arc<Self>, run_id: &RunId) -> Result<RunStatus, ApiError> {
        // Where its end is being recorded, that is waited for: then there is nothing to cancel.
        let ending = self.with_run(run_id, |run| Arc::clone(&run.ending));
        let _ending = match &ending {
            Some(ending) => Some(ending.lock().await),
            None => None,
        };
        let mut state = RunState::Running;
        // Running and finishing follow each other both ways: a run whose parts are damaged runs again.
        for from in [RunState::Running, RunState::Finishing, RunState::Running] {
            let swap = self.ledger.advance(run_id, from, RunState::Cancelled, None).await;
            match swap.map_err(|error| ledger_refusal(&error))? {
                Swap::Done => {
                    if let Some(run) = self.end(run_id) {
                        self.record_ended(&run, RunState::Cancelled).await;
                    }
                    self.notify_watchers(true);
                    return self.status(run_id).await;
                }
                Swap::Differs(RunState::Cancelled) => return self.status(run_id).await,
                Swap::Differs(other) => state = other,
            }
        }
        Err(ApiError::new(
            ErrorReason::RunEnded,
            format!("run {run_id} is {}: only a run that has not ended can be cancelled", state.as_str()),
        ))
    }

    fn active_status(&self, run_id: &RunId) -> Option<RunStatus> {
        self.apply_halts();
        let now = self.now();
        let mut scheduler = self.scheduler();
        self.expire_leases(&mut scheduler, now);
        let workers = scheduler.workers.count();
        let judge = scheduler.active.get(run_id).and_then(|run| active_judge(&scheduler, run));
        let run = scheduler.active.get(run_id).filter(|run| run.state == RunState::Running && workers > 0);
        let lacking = run
            .and_then(|run| lacking_program(&scheduler, run).or_else(|| scanners_wait_for(&scheduler, run)));
        let run = scheduler.active.get_mut(run_id)?;
        Some(RunStatus {
            run_id: run_id.clone(),
            state: run.state,
            records: run.plan.records,
            shard_size: run.plan.shard_size,
            shards: run.leases.shards(),
            committed: run.leases.committed(),
            leased: run.leases.leased(),
            tally: run.tally.clone(),
            workers,
            created_at_ms: run.created_at_ms,
            results: self.results(run_id),
            fingerprint: None,
            corpus_hash: run.plan.corpus_hash,
            config_hash: run.plan.config_hash,
            trouble: run
                .trouble
                .clone()
                .or_else(|| run.halted.clone())
                .or_else(|| run.stalled.clone())
                .or(lacking),
            records_per_s: run.rate.per_second(now),
            model: self
                .llm
                .status
                .of(run_id)
                .or_else(|| run.plan.config.model().map(|_| LlmStatus::default())),
            judge,
        })
    }

    async fn ended_status(&self, entry: RunEntry) -> Result<RunStatus, ApiError> {
        let run_id = entry.plan.run_id.clone();
        let Totals { tally, committed } = match entry.totals {
            Some(totals) => totals,
            None => self.count(&run_id).await?,
        };
        let model = self.llm.status.total(&run_id).await;
        let judge = self.ended_judge(&entry.plan, entry.created_at_ms).await;
        Ok(RunStatus {
            state: entry.state,
            records: entry.plan.records,
            shard_size: entry.plan.shard_size,
            // A finished run has committed all its shards; of a cancelled one the number after splits is not known.
            shards: entry.plan.cut().shards().max(committed),
            committed,
            leased: 0,
            tally,
            workers: self.scheduler().workers.count(),
            created_at_ms: entry.created_at_ms,
            results: self.results(&run_id),
            fingerprint: entry.fingerprint,
            corpus_hash: entry.plan.corpus_hash,
            config_hash: entry.plan.config_hash,
            trouble: entry.failure,
            records_per_s: 0.0,
            model,
            judge,
            run_id,
        })
    }

    /// Totals of an ended run, counted from its shards and stored. For runs that ended before totals were stored, or whose
    /// process was killed before it could store them.
    async fn count(&self, run_id: &RunId) -> Result<Totals, ApiError> {
        let totals = totals(&self.shards(run_id).await.map_err(|error| ledger_refusal(&error))?);
        if let Err(error) = self.ledger.record_totals(run_id, totals.clone()).await {
            tracing::warn!(run = %run_id, %error, "cannot store the totals of a run");
        }
        Ok(totals)
    }

    fn results(&self, run_id: &RunId) -> String {
        self.folder(run_id).map_or_else(|_| run_id.to_string(), |folder| folder.location().to_owned())
    }

    /// Removes a run that has ended from scheduler and gateway.
    pub(crate) fn end(&self, run_id: &RunId) -> Option<ActiveRun> {
        let mut scheduler = self.scheduler();
        self.llm.changed.post(RunChanged::Ended { run_id: run_id.clone() });
        scheduler.end(run_id)
    }

    /// Applies `change` to an active run; `None` where the run is not active.
    pub(crate) fn with_run<T>(&self, run_id: &RunId, change: impl FnOnce(&mut ActiveRun) -> T) -> Option<T> {
        self.scheduler().active.get_mut(run_id).map(change)
    }
}
/// Why no connected worker can be leased a shard of a run that a program proposes for; `None`: one can, or none is
/// connected.
fn lacking_program(scheduler: &SchedulerState, run: &ActiveRun) -> Option<String> {
    let program = run.plan.config.program()?;
    let mut workers = scheduler.workers.connected.values().peekable();
    if run.state != RunState::Running || workers.peek().is_none() {
        return None;
    }
    let lack = workers.all(|worker| !worker.abilities.programs.contains(program));
    lack.then(|| {
        format!(
            "no worker has the program {program}: start one with a configuration that sets programs.{program}.command \
             (`worker serve --config FILE`)"
        )
    })
}
