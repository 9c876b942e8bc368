//! Status snapshot of the LLM calls of each run, for the status of a run.
//!
//! *Owns* the statuses that the task published last: of active runs, and of ended runs whose last results are not durable
//! yet. The usage of any other run is read from the store on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use domain::ids::RunId;
use proto::convert::LlmStatus;

use crate::llm_gateway::response_cache::{Answers, CacheError, LlmUsage};

/// LLM status of each run, written by the gateway and read by the coordinator.
#[derive(Debug, Default)]
pub(crate) struct LlmStatusSnapshot {
    published: Mutex<BTreeMap<RunId, LlmStatus>>,
    store: OnceLock<Arc<dyn Answers>>,
    /// Notified after each change of `published`.
    changed: Notify,
}

impl LlmStatusSnapshot {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, LlmStatus>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the usage of other runs from `store` from now on.
    pub(super) fn attach(&self, store: Arc<dyn Answers>) {
        // Set twice only by a second gateway over the same runs, which has the same store.
        let _ = self.store.set(store);
    }

    /// Published status of a run; `None` where it has not used a model, or has ended.
    pub(crate) fn of(&self, run_id: &RunId) -> Option<LlmStatus> {
        self.lock().get(run_id).cloned()
    }

    /// Usage of a run, active or ended; `None` where there is none, or the store fails.
    pub(crate) async fn total(&self, run_id: &RunId) -> Option<LlmStatus> {
        let published = self.of(run_id);
        let Some(store) = self.store.get().map(Arc::clone) else { return published };
        let asked = run_id.clone();
        let read = tokio::task::spawn_blocking(move || {
            Ok::<_, CacheError>((store.spent_of(std::slice::from_ref(&asked))?, store.failures_of(&asked)?))
        });
        match read.await.ok()? {
            Ok((totals, failures)) => {
                let spent = totals.into_iter().next().map(|(_, spent)| spent);
                let stored = spent.filter(|spent| *spent != LlmUsage::default()).map(|spent| spent.status());
                // What is published has the failures of this process alone.
                published.or(stored).map(|status| LlmStatus { failures: failures.listed(), ..status })
            }
            Err(error) => {
                tracing::warn!(run = %run_id, %error, "cannot read the LLM usage of a run");
                published
            }
        }
    }

    /// Replaces what is published.
    pub(super) fn replace(&self, statuses: BTreeMap<RunId, LlmStatus>) {
        let mut known = self.lock();
        let changed = *known != statuses;
        *known = statuses;
        drop(known);
        if changed {
            self.changed.notify_one();
        }
    }

    /// Waits until the published statuses have changed since this returned last. For one reader.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
