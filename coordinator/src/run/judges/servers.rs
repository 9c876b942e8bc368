//! The API server that judges a run: one for all of its shards, recorded before the first of them is leased.

use std::sync::Arc;

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::{DocumentHash, RunId, WorkerName};
use domain::run::{RunPlan, RunState};
use proto::convert::{JudgeStatus, LeaseHolder};
use proto::status::{ApiError, ErrorReason};

use crate::llm_gateway::response_cache::{CacheError, JudgedRun, Verdicts};
use crate::refusals::unknown_run;
use crate::run::Coordinator;
use crate::scheduler::state::{ActiveRun, SchedulerState};

/// What no worker of the fleet offers, and how one does.
const START_ONE: &str = "start a worker with --kubeconfig FILE or --control-plane";

impl Coordinator {
    /// Hands in the store of verdicts, once, and reads from it which servers judge the active runs.
    pub(crate) async fn use_verdicts(&self, verdicts: Arc<dyn Verdicts>) {
        if self.verdicts.set(verdicts).is_err() {
            return;
        }
        let runs: Vec<RunId> = self.scheduler().active.keys().cloned().collect();
        for run_id in runs {
            self.recall_judge(&run_id).await;
            self.recall_scanners(&run_id).await;
        }
    }

    /// Reads which server judges a run, unless that is known.
    pub(crate) async fn recall_judge(&self, run_id: &RunId) {
        let unknown = self.with_run(run_id, |run| {
            run.judge.as_ref().filter(|judge| !judge.recorded).map(|_| judged_run(run))
        });
        let Some(Some(run)) = unknown else { return };
        match self.with_verdicts(move |store| store.judge_of(&run)).await {
            Ok(Some(server)) => self.judged_by(run_id, server),
            Ok(None) => {}
            Err(error) => tracing::warn!(run = %run_id, %error, "cannot read which API server judges a run"),
        }
    }

    /// Records the server that a run's first lease chose; returns whether the run is judged by that one.
    pub(crate) async fn settle_judge(&self, run_id: &RunId) -> Result<bool, ApiError> {
        let chosen = self.with_run(run_id, |run| {
            let judge = run.judge.as_ref().filter(|judge| !judge.recorded)?;
            Some((judged_run(run), judge.server.clone()?))
        });
        let Some(Some((run, server))) = chosen else { return Ok(true) };
        let wanted = ServerIdentity::clone(&server);
        let recorded = self.with_verdicts(move |store| store.settle_judge(&run, &wanted)).await?;
        let same = recorded == *server;
        tracing::info!(run = %run_id, server = %recorded, "an API server judges the documents of a run");
        self.judged_by(run_id, recorded);
        Ok(same)
    }

    fn judged_by(&self, run_id: &RunId, server: ServerIdentity) {
        self.with_run(run_id, |run| {
            if let Some(judge) = &mut run.judge {
                judge.server = Some(Arc::new(server));
                judge.recorded = true;
            }
        });
    }

    /// The verdicts that are known among those about these texts, for the holder of a lease.
    pub(crate) async fn verdicts(
        &self,
        holder: &LeaseHolder,
        texts: Vec<DocumentHash>,
    ) -> Result<Vec<(DocumentHash, ServerVerdict)>, ApiError> {
        let server = self.judge_of_lease(holder)?;
        self.with_verdicts(move |store| store.verdicts(&server, &texts)).await
    }

    /// Stores verdicts of the holder of a lease.
    pub(crate) async fn put_verdicts(
        &self,
        holder: &LeaseHolder,
        verdicts: Vec<(DocumentHash, ServerVerdict)>,
    ) -> Result<(), ApiError> {
        let server = self.judge_of_lease(holder)?;
        self.with_verdicts(move |store| store.put_verdicts(&server, &verdicts)).await
    }

    /// The server of a lease's run, which is the server of its holder too.
    fn judge_of_lease(&self, holder: &LeaseHolder) -> Result<Arc<ServerIdentity>, ApiError> {
        let key = &holder.key;
        let scheduler = self.scheduler();
        let run = scheduler.active.get(&key.run_id).ok_or_else(|| unknown_run(&key.run_id))?;
        if !run.leases.held_by(&holder.worker).contains(&(key.shard, key.token)) {
            let message = format!("worker {} holds no such lease of run {}", holder.worker, key.run_id);
            return Err(ApiError::new(ErrorReason::StaleToken, message));
        }
        let judge = run.judge.as_ref().filter(|judge| judge.recorded);
        let server = judge.and_then(|judge| judge.server.clone());
        let own = scheduler.workers.server_of(&holder.worker);
        server.filter(|server| own.as_ref() == Some(server)).ok_or_else(|| {
            let message = format!("worker {} has not the API server of run {}", holder.worker, key.run_id);
            ApiError::new(ErrorReason::PermissionDenied, message)
        })
    }

    /// Runs `call` with the store of verdicts, on a thread that may block.
    pub(crate) async fn with_verdicts<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Verdicts) -> Result<T, CacheError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let failed = |reason: String| ApiError::new(ErrorReason::Storage, reason);
        let Some(store) = self.verdicts.get().cloned() else {
            return Err(failed("the store of verdicts is not open yet".to_owned()));
        };
        let done = tokio::task::spawn_blocking(move || call(&*store)).await;
        done.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// What records of a worker wait for; an empty text: they do not.
    pub(crate) fn worker_waits(&self, worker: &WorkerName, waits_for: &str) {
        let text: String = waits_for.chars().filter(|c| !c.is_control()).take(300).collect();
        let changed = {
            let mut scheduler = self.scheduler();
            let member = scheduler.workers.connected.get_mut(worker);
            member.is_some_and(|member| std::mem::replace(&mut member.waits_for, text.clone()) != text)
        };
        if changed {
            self.notify_watchers(false);
        }
    }

    /// What judges an ended run.
    pub(crate) async fn ended_judge(&self, plan: &RunPlan, created_at_ms: u64) -> Option<JudgeStatus> {
        let depth = plan.config.verifier.depth;
        if !depth.needs_server() {
            return None;
        }
        let run = JudgedRun::new(&plan.run_id, created_at_ms);
        let server = self.with_verdicts(move |store| store.judge_of(&run)).await.unwrap_or_else(|error| {
            tracing::warn!(run = %plan.run_id, %error, "cannot read which API server judged a run");
            None
        });
        Some(JudgeStatus { depth, server, waits_for: None })
    }
}

pub(super) fn judged_run(run: &ActiveRun) -> JudgedRun {
    JudgedRun::new(&run.plan.run_id, run.created_at_ms)
}

/// What judges an active run, and why it waits.
pub(crate) fn active_judge(scheduler: &SchedulerState, run: &ActiveRun) -> Option<JudgeStatus> {
    let judge = run.judge.as_ref()?;
    let waits_for = if run.state == RunState::Running { waits_for(scheduler, run) } else { None };
    let server = judge.server.as_deref().cloned();
    Some(JudgeStatus { depth: run.plan.config.verifier.depth, server, waits_for })
}

fn waits_for(scheduler: &SchedulerState, run: &ActiveRun) -> Option<String> {
    let workers = scheduler.workers.connected.values();
    let able: Vec<_> = workers.filter(|worker| run.admits_server(worker.abilities.server.as_ref())).collect();
    if able.is_empty() {
        return Some(match run.judge.as_ref().and_then(|judge| judge.server.as_ref()) {
            None => format!("no worker can ask an API server: {START_ONE}"),
            Some(server) => format!(
                "no worker can ask API server {server}{}, which judged the first documents of the run: {START_ONE} for that one",
                with_flags(server)
            ),
        });
    }
    let waiting: Vec<&str> =
        able.iter().map(|worker| worker.waits_for.as_str()).filter(|text| !text.is_empty()).collect();
    if waiting.len() < able.len() { None } else { waiting.first().map(|&text| text.to_owned()) }
}

fn with_flags(server: &ServerIdentity) -> String {
    if server.flags().is_empty() { String::new() } else { format!(" with flags {}", server.flags()) }
}
