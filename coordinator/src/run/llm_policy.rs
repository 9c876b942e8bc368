//! Whether a run may call an LLM: under which policy, what halts it, what lifts the halt.

use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RunId;
use domain::run::RunPlan;
use proto::convert::config_to_wire;
use proto::status::ApiError;

use super::Coordinator;
use crate::clock::unix_ms;
use crate::ledger::Swap;
use crate::llm_gateway::{LlmAccess, LlmPolicy, NO_MODEL};
use crate::refusals::{ledger_refusal, unknown_run};

/// Why a run makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standstill {
    /// Store, ledger or response cache failed. The run goes on by itself once they work.
    Stalled(String),
    /// The run was halted, and goes on when it is submitted again.
    Halted(String),
}

impl Coordinator {
    /// Whether a run may call an LLM, and under which policy.
    pub(crate) fn llm_access(&self, run_id: &RunId) -> LlmAccess {
        self.with_run(run_id, |run| match (&run.halted, &run.llm_policy) {
            (Some(reason), _) => LlmAccess::Denied(reason.clone()),
            (None, Some(terms)) => LlmAccess::Allowed(Arc::clone(terms)),
            (None, None) => LlmAccess::Denied(NO_MODEL.to_owned()),
        })
        .unwrap_or_else(|| LlmAccess::Denied(format!("run {run_id} has ended, or is not known here")))
    }

    /// Whether a run has not ended.
    pub(crate) fn is_active(&self, run_id: &RunId) -> bool {
        self.scheduler().active.contains_key(run_id)
    }

    /// Halts a run: its shards are not leased until it is submitted again.
    pub(crate) fn halt(&self, run_id: &RunId, reason: String) {
        tracing::error!(run = %run_id, reason, "a run was halted");
        self.with_run(run_id, |run| run.halted = Some(reason));
        self.notify_watchers(false);
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
        self.with_run(run_id, |run| {
            run.halted = None;
            let plan = RunPlan { config, ..RunPlan::clone(&run.plan) };
            run.config = config_to_wire(&plan.config).into();
            run.llm_policy = LlmPolicy::of(&plan.config, run.created_at_ms, unix_ms()).map(Arc::new);
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
