//! Status snapshot of the LLM calls of each run, for the status of a run.
//!
//! *Owns* a copy of what the task published last: of runs that live, and of those that ended and whose last results are
//! not durable yet. What any other run has spent is read from the store when it is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use domain::ids::RunId;
use proto::convert::LlmStatus;

use crate::llm_gateway::response_cache::{Answers, LlmUsage};

/// Where runs stand with their models.
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

    /// From now on `store` says what runs have spent that are not published.
    pub(super) fn attach(&self, store: Arc<dyn Answers>) {
        // A second gateway over the same runs has the same store.
        let _ = self.store.set(store);
    }

    /// Where a run stands that lives; `None`: it asked no model.
    pub(crate) fn of(&self, run_id: &RunId) -> Option<LlmStatus> {
        self.lock().get(run_id).copied()
    }

    /// What a run has spent, whether it lives or not; `None`: nothing, or the store does not work.
    pub(crate) async fn total(&self, run_id: &RunId) -> Option<LlmStatus> {
        if let Some(status) = self.of(run_id) {
            return Some(status);
        }
        let (store, asked) = (Arc::clone(self.store.get()?), run_id.clone());
        let read = tokio::task::spawn_blocking(move || store.spent_of(&[asked])).await.ok()?;
        match read {
            Ok(totals) => {
                let spent = totals.into_iter().next().map(|(_, spent)| spent);
                spent.filter(|spent| *spent != LlmUsage::default()).map(|spent| spent.status())
            }
            Err(error) => {
                tracing::warn!(run = %run_id, %error, "what a run has spent on its model cannot be read");
                None
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
