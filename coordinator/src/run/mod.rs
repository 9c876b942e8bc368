//! The life of runs: submitted, leased shard by shard, committed, finalized. Every call of the two services ends here.
//!
//! *Owns* the `SchedulerState` behind one std mutex that is never held across an await; the ledger has the last word
//! on every token and commit, the scheduler state follows it.

mod attribution;
pub(crate) mod commit;
pub(crate) mod finalize;
mod lease_reaper;
mod lease_service;
mod llm_policy;
mod observability;
pub(crate) mod part_check;
mod plan;
mod recovery;
pub(crate) mod removal;
mod resources;
mod status;
mod submission;
mod upload_limit;
mod workers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use domain::ids::RunId;
use proto::status::ApiError;
use results::run_file::CORPUS_FILE;
use results::store::Store;

use crate::clock::Monotonic;
use crate::ledger::Ledger;
use crate::llm_gateway::RunLink;
use crate::metrics::Metrics;
use crate::refusals::storage;
use crate::run::upload_limit::UploadLimit;
use crate::scheduler::state::SchedulerState;

#[cfg(test)]
pub(crate) use lease_reaper::dead_letter_outcome;
pub use lease_service::{Granted, Renewal};
pub use llm_policy::Standstill;
pub use submission::Submission;

/// What a coordinator is made of.
pub struct Parts {
    /// The durable record.
    pub ledger: Arc<dyn Ledger>,
    /// Where results go: a folder per run.
    pub store: Store,
    /// Where corpora lie while a store elsewhere takes the results.
    pub scratch: PathBuf,
    /// What to think of leases that an earlier process granted.
    pub recovery: Recovery,
}

/// What to think of leases that an earlier process granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Their workers may live: they get a whole time to live to renew them.
    Grace,
    /// Their workers ended with that process: the shards wait at once.
    Forfeit,
}

/// What changed, for those who watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Counts every change.
    pub(crate) changes: u64,
    /// Counts runs that ended.
    pub(crate) ended: u64,
}

/// Every run of this coordinator.
pub struct Coordinator {
    pub(crate) ledger: Arc<dyn Ledger>,
    store: Store,
    scratch: PathBuf,
    started: tokio::time::Instant,
    scheduler: Mutex<SchedulerState>,
    /// There may be something to lease.
    pub(crate) work: Notify,
    /// There may be a record to give up.
    pub(crate) reaper_wake: Notify,
    pub(crate) changed: watch::Sender<Change>,
    pub(crate) uploads: UploadLimit,
    pub(crate) metrics: Arc<Metrics>,
    /// Messages from and to the LLM gateway, and its status snapshot.
    pub(crate) llm: Arc<RunLink>,
    /// Tasks beside the calls. They hold no strong reference to this while they wait.
    background: Mutex<JoinSet<()>>,
    /// What of this process is known to be used for its runs.
    attribution: attribution::Attribution,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Coordinator {
    pub(crate) fn scheduler(&self) -> MutexGuard<'_, SchedulerState> {
        // A panic between two statements of the scheduler state would be a bug; going on with what the ledger still guards is
        // better than refusing every call from then on.
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, on the clock of the leases.
    pub(crate) fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The folder of a run in the store.
    pub(crate) fn folder(&self, run_id: &RunId) -> Result<Store, ApiError> {
        self.store.folder(run_id.as_str()).map_err(|error| storage(&error))
    }

    /// Where the corpus of a run lies on this machine.
    pub(crate) fn corpus_path(&self, run_id: &RunId) -> Result<PathBuf, ApiError> {
        let here = self.folder(run_id)?.local_path(CORPUS_FILE);
        Ok(here.unwrap_or_else(|| self.scratch.join(format!("{run_id}.{CORPUS_FILE}"))))
    }

    /// Tells those who watch.
    pub(crate) fn notify_watchers(&self, ended: bool) {
        self.changed.send_modify(|change| {
            change.changes += 1;
            change.ended += u64::from(ended);
        });
    }

    /// Ends at once, as a killed process does.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// The tasks beside the calls, to be ended.
    fn take_background(&self) -> JoinSet<()> {
        std::mem::take(&mut self.background.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something beside the calls; it ends with the coordinator at the latest. What waits in it must not keep the
    /// coordinator alive.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        background.spawn(task);
    }
}
