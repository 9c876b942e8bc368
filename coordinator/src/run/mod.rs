//! The life cycle of runs: submission, leases, commits, finalization. Both gRPC services call [`Coordinator`].
//!
//! *Owns* the `SchedulerState` behind one std mutex that is never held across an await. The ledger is authoritative for
//! every fencing token and commit; the scheduler state is updated after it.

pub(crate) mod commit;
mod corpora;
pub(crate) mod finalize;
mod judges;
mod lease_reaper;
mod lease_service;
mod llm_policy;
mod observability;
pub(crate) mod part_check;
mod plan;
mod recovery;
pub(crate) mod removal;
mod resources;
mod retry;
pub(crate) mod run_folder;
mod status;
mod submission;
mod upload_limit;
mod workers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use domain::ids::RunId;
use proto::status::ApiError;
use results::store::Store;

use crate::clock::Monotonic;
use crate::ledger::Ledger;
use crate::llm_gateway::RunLink;
use crate::llm_gateway::response_cache::Verdicts;
use crate::metrics::Metrics;
use crate::refusals::storage;
use crate::run::upload_limit::UploadLimit;
use crate::scheduler::state::SchedulerState;

pub use crate::database::postgres::ownership::OwnerDeadline;
#[cfg(test)]
pub(crate) use lease_reaper::dead_letter_outcome;
pub use lease_service::{Granted, Renewal};
pub use llm_policy::Standstill;
pub use submission::Submission;

/// Dependencies of a coordinator.
pub struct Parts {
    /// The durable state.
    pub ledger: Arc<dyn Ledger>,
    /// Store of the results: a folder for each run.
    pub store: Store,
    /// Local folder for the corpora of runs whose results are in an object store.
    pub scratch: PathBuf,
    /// How to treat leases that an earlier coordinator process granted.
    pub recovery: Recovery,
    /// Until when this coordinator may act, where others may take over from it.
    pub owner: OwnerDeadline,
}

/// How to treat leases that an earlier coordinator process granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Their workers may be alive: each lease can be renewed within one more full time to live.
    Grace,
    /// Their workers ended with that process: the shards can be leased at once.
    Forfeit,
}

/// Change counters. A change of either wakes the clients that watch a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Number of changes.
    pub(crate) changes: u64,
    /// Number of runs that ended.
    pub(crate) ended: u64,
}

/// Owner of all runs: their leases, commits and life cycle.
pub struct Coordinator {
    pub(crate) ledger: Arc<dyn Ledger>,
    store: Store,
    scratch: PathBuf,
    started: tokio::time::Instant,
    scheduler: Mutex<SchedulerState>,
    /// Notified when there may be a shard to lease.
    pub(crate) work: Notify,
    /// Notified when there may be a poison record.
    pub(crate) reaper_wake: Notify,
    /// Sends the change counters to the clients that watch a run.
    pub(crate) changed: watch::Sender<Change>,
    pub(crate) uploads: UploadLimit,
    /// Parts that are checked at the same time: each may take the memory of a row group.
    checking: Semaphore,
    pub(crate) metrics: Arc<Metrics>,
    /// Messages from and to the LLM gateway, and its status snapshot.
    pub(crate) llm: Arc<RunLink>,
    /// Verdicts of API servers; handed in when the server starts.
    verdicts: OnceLock<Arc<dyn Verdicts>>,
    /// Background tasks. While they wait, they hold no strong reference to the coordinator, which owns them: such a
    /// cycle would keep both alive.
    background: Mutex<JoinSet<()>>,
    /// Until when what no step of the ledger guards may be done.
    pub(crate) owner: OwnerDeadline,
    /// Attributes CPU and memory of this process to a run.
    attribution: resources::Attribution,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Coordinator {
    pub(crate) fn scheduler(&self) -> MutexGuard<'_, SchedulerState> {
        // A panic while the lock was held has poisoned it. To continue is safe, because the ledger checks every token
        // and commit; to fail here would fail every later call.
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current time on the coordinator's monotonic clock.
    pub(crate) fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The folder of a run in the store.
    pub(crate) fn folder(&self, run_id: &RunId) -> Result<Store, ApiError> {
        self.store.folder(run_id.as_str()).map_err(|error| storage(&error))
    }

    /// Wakes the clients that watch a run; `ended`: the change is the end of a run.
    pub(crate) fn notify_watchers(&self, ended: bool) {
        self.changed.send_modify(|change| {
            change.changes += 1;
            change.ended += u64::from(ended);
        });
    }

    /// Ends all background tasks at once, like a killed process.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Moves the background tasks out, so that the caller can end them.
    fn take_background(&self) -> JoinSet<()> {
        std::mem::take(&mut self.background.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a background task, which ends with the coordinator at the latest. While it waits, it must not hold a strong
    /// reference to the coordinator.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        background.spawn(task);
    }
}
