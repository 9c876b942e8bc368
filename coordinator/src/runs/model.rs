//! What models have to do with the life of a run: whether it may ask, what stops it, what lets it go on.

use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RunId;
use domain::run::RunPlan;
use proto::convert::config_to_wire;
use proto::status::Refusal;

use super::{Runs, ledger_refusal, unix_ms, unknown_run};
use crate::ledger::Swap;
use crate::questions::{Standing, Terms, UNASKED};

/// Why a run goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standstill {
    /// Store, ledger or answers do not work. It goes on by itself once they do.
    Stalled(String),
    /// It was stopped, and goes on when it is submitted again.
    Halted(String),
}

impl Runs {
    /// Whether a run may ask a model, and under which terms.
    pub(crate) fn standing(&self, run_id: &RunId) -> Standing {
        self.with_live(run_id, |live| match (&live.halted, &live.terms) {
            (Some(reason), _) => Standing::Closed(reason.clone()),
            (None, Some(terms)) => Standing::Open(Arc::clone(terms)),
            (None, None) => Standing::Closed(UNASKED.to_owned()),
        })
        .unwrap_or_else(|| Standing::Closed(format!("run {run_id} has ended, or is not known here")))
    }

    /// Whether a run has not ended.
    pub(crate) fn lives(&self, run_id: &RunId) -> bool {
        self.book().live.contains_key(run_id)
    }

    /// Stops a run: nothing of it is leased any more until it is submitted again.
    pub(crate) fn halt(&self, run_id: &RunId, reason: String) {
        tracing::error!(run = %run_id, reason, "a run was stopped");
        self.with_live(run_id, |live| live.halted = Some(reason));
        self.tell(false);
    }

    /// A run was submitted again: what stopped it is forgotten, and what its new configuration says beside what decides
    /// outcomes counts from now on.
    pub(crate) async fn lift(&self, run_id: &RunId, config: &RunConfig) -> Result<(), Refusal> {
        // How the corpus is cut and leased was settled when the run began.
        let Some(fleet) = self.with_live(run_id, |live| live.plan.config.fleet.clone()) else {
            return Ok(());
        };
        let config = RunConfig { fleet, ..config.clone() };
        let swap = self.ledger.reconfigure(run_id, config.clone()).await;
        if swap.map_err(|error| ledger_refusal(&error))? != Swap::Done {
            // The hash was compared before: only another coordinator on the same ledger can have come between.
            return Err(unknown_run(run_id));
        }
        self.with_live(run_id, |live| {
            live.halted = None;
            let plan = RunPlan { config, ..RunPlan::clone(&live.plan) };
            live.config = config_to_wire(&plan.config).into();
            live.terms = Terms::of(&plan.config, live.created_at_ms, unix_ms()).map(Arc::new);
            live.plan = Arc::new(plan);
        });
        self.work.notify_waiters();
        self.tell(false);
        Ok(())
    }

    /// Returns when a run goes no further, with why.
    pub async fn wait_for_standstill(&self, run_id: &RunId) -> Standstill {
        let mut changes = self.changed.subscribe();
        loop {
            let standstill = self.with_live(run_id, |live| {
                let halted = live.halted.clone().map(Standstill::Halted);
                halted.or_else(|| live.stalled.clone().map(Standstill::Stalled))
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
