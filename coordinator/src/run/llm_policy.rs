//! The coordinator's end of the link to the LLM gateway: sends the policy of each run, and halts the runs that the gateway
//! stops.

use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RunId;
use domain::run::RunPlan;
use proto::convert::config_to_wire;
use proto::status::ApiError;

use super::Coordinator;
use crate::clock::unix_ms;
use crate::ledger::Swap;
use crate::llm_gateway::{LlmPolicy, RunChanged, RunHalted};
use crate::refusals::{ledger_refusal, unknown_run};
use crate::scheduler::state::SchedulerState;

/// Why a run makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standstill {
    /// Store, ledger or response cache failed. The run goes on by itself once they work.
    Stalled(String),
    /// The run was halted, and goes on when it is submitted again.
    Halted(String),
}

impl Coordinator {
    /// Background task: applies what the gateway sends, and notifies the watchers of a run when its LLM status changes.
    pub(super) fn follow_gateway(self: &Arc<Self>) {
        let (coordinator, llm) = (Arc::downgrade(self), Arc::clone(&self.llm));
        self.spawn(async move {
            loop {
                tokio::select! {
                    () = llm.halted.arrived() => {
                        let Some(coordinator) = coordinator.upgrade() else { return };
                        coordinator.apply_halts();
                    }
                    () = llm.status.changed() => {
                        let Some(coordinator) = coordinator.upgrade() else { return };
                        coordinator.notify_watchers(false);
                    }
                }
            }
        });
    }

    /// Applies what the gateway has sent. Called before each lease as well: a worker that received the end of its call may
    /// ask for the next shard before the background task runs.
    pub(super) fn apply_halts(&self) {
        {
            // Taken under the lock, so that the messages are applied in the order in which they were posted.
            let mut scheduler = self.scheduler();
            let messages = self.llm.halted.take();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let (run_ids, stalled) = match message {
                    RunHalted::Halted { run_id, reason } => {
                        self.halt_run(&mut scheduler, &run_id, reason);
                        continue;
                    }
                    RunHalted::Stalled { run_ids, reason } => (run_ids, Some(reason)),
                    RunHalted::Recovered { run_ids } => (run_ids, None),
                };
                for run_id in run_ids {
                    if let Some(run) = scheduler.active.get_mut(&run_id) {
                        run.stalled.clone_from(&stalled);
                    }
                }
            }
        }
        self.notify_watchers(false);
    }

    /// Whether a run has not ended.
    #[cfg(test)]
    pub(crate) fn is_active(&self, run_id: &RunId) -> bool {
        self.scheduler().active.contains_key(run_id)
    }

    /// Halts a run: its shards are not leased until it is submitted again.
    pub(crate) fn halt(&self, run_id: &RunId, reason: String) {
        self.halt_run(&mut self.scheduler(), run_id, reason);
        self.notify_watchers(false);
    }

    pub(super) fn halt_run(&self, scheduler: &mut SchedulerState, run_id: &RunId, reason: String) {
        tracing::error!(run = %run_id, reason, "a run was halted");
        if let Some(run) = scheduler.active.get_mut(run_id) {
            run.halted = Some(reason.clone());
            self.llm.changed.post(RunChanged::Halted { run_id: run_id.clone(), reason });
        }
    }

    /// Why a run that an older release planned does not go on by itself: it named the endpoint of its provider, which the
    /// workers choose now. `None`: it may go on.
    pub(super) fn former_halt(plan: &RunPlan) -> Option<String> {
        let endpoint = plan.former_endpoint.as_ref()?;
        let provider = plan.config.proposer.mode.as_str();
        Some(format!(
            "an older release planned this run to call {endpoint:?}; a run no longer names an endpoint, each worker has its own \
             for provider {provider}: submit the run again with the same corpus and configuration to go on with that of the \
             workers, or cancel it"
        ))
    }

    /// Lifts the halt of a run that was submitted again, and applies those keys of its new configuration that do not decide
    /// outcomes.
    pub(crate) async fn lift(&self, run_id: &RunId, config: &RunConfig) -> Result<(), ApiError> {
        // Shard size and terms of leases stay as they were when the run began.
        let Some(fleet) = self.with_run(run_id, |run| run.plan.config.fleet.clone()) else {
            return Ok(());
        };
        let config = RunConfig { fleet, ..config.clone() };
        let swap = self.ledger.reconfigure(run_id, config.clone()).await;
        if swap.map_err(|error| ledger_refusal(&error))? != Swap::Done {
            // The hash was compared before: only another coordinator on the same ledger can have changed it since.
            return Err(unknown_run(run_id));
        }
        self.apply_halts();
        self.with_run(run_id, |run| {
            run.halted = None;
            let plan = RunPlan { config, ..RunPlan::clone(&run.plan) };
            run.config = config_to_wire(&plan.config).into();
            let policy = LlmPolicy::of(&plan.config, run.created_at_ms, unix_ms()).map(Arc::new);
            self.llm.changed.post(RunChanged::Active { run_id: run_id.clone(), policy });
            run.plan = Arc::new(plan);
        });
        self.work.notify_waiters();
        self.notify_watchers(false);
        Ok(())
    }

    /// Waits until a run is stalled or halted.
    pub async fn wait_for_standstill(&self, run_id: &RunId) -> Standstill {
        let mut changes = self.changed.subscribe();
        loop {
            let standstill = self.with_run(run_id, |run| {
                let halted = run.halted.clone().map(Standstill::Halted);
                halted.or_else(|| run.stalled.clone().map(Standstill::Stalled))
            });
            if let Some(standstill) = standstill.flatten() {
                return standstill;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
