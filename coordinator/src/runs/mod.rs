//! The life of runs: submitted, leased shard by shard, committed, finished; every call of the two services ends here.
//!
//! *Owns* the `Book` behind one std mutex that is never held across an await; the ledger has the last word
//! on every token and commit, the book follows it.

mod book;
mod grant;
mod keep;
mod model;
mod observe;
mod recover;
mod resources;
pub(crate) mod retain;
mod roster;
mod status;
mod submit;
mod turns;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use dataset::run_file::CORPUS_FILE;
use dataset::store::{Store, StoreError};
use domain::ids::RunId;
use proto::status::{Reason, Refusal};

use crate::leases::Moment;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::questions::Board;
use crate::upload_limit::UploadLimit;

pub(crate) use book::{Book, Finish, Live};
pub use grant::{Granted, Renewal};
#[cfg(test)]
pub(crate) use keep::lost;
pub use model::Standstill;
pub(crate) use roster::Rate;
pub use submit::Submission;
pub(crate) use turns::Turns;

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
pub struct Runs {
    pub(crate) ledger: Arc<dyn Ledger>,
    store: Store,
    scratch: PathBuf,
    started: tokio::time::Instant,
    book: Mutex<Book>,
    /// There may be something to lease.
    pub(crate) work: Notify,
    /// There may be a record to give up.
    pub(crate) keeping: Notify,
    pub(crate) changed: watch::Sender<Change>,
    pub(crate) uploads: UploadLimit,
    pub(crate) metrics: Arc<Metrics>,
    /// Where runs stand with their models.
    pub(crate) board: Board,
    /// Tasks beside the calls. They hold no strong reference to this while they wait.
    background: Mutex<JoinSet<()>>,
    /// What of this process is known to be used for its runs.
    attribution: resources::Attribution,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Runs {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        // A panic between two statements of the book would be a bug; going on with what the ledger still guards is
        // better than refusing every call from then on.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, on the clock of the leases.
    pub(crate) fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The folder of a run in the store.
    pub(crate) fn folder(&self, run_id: &RunId) -> Result<Store, Refusal> {
        self.store.folder(run_id.as_str()).map_err(|error| storage(&error))
    }

    /// Where the corpus of a run lies on this machine.
    pub(crate) fn corpus_path(&self, run_id: &RunId) -> Result<PathBuf, Refusal> {
        let here = self.folder(run_id)?.local_path(CORPUS_FILE);
        Ok(here.unwrap_or_else(|| self.scratch.join(format!("{run_id}.{CORPUS_FILE}"))))
    }

    /// Tells those who watch.
    pub(crate) fn tell(&self, ended: bool) {
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

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing new is taken any more.
pub(crate) fn ending() -> Refusal {
    Refusal::new(Reason::Draining, "the coordinator is ending")
}

pub(crate) fn unknown_run(run_id: &RunId) -> Refusal {
    Refusal::new(Reason::UnknownRun, format!("there is no run {run_id}"))
}

pub(crate) fn ledger_refusal(error: &LedgerError) -> Refusal {
    match error {
        LedgerError::UnknownRun(run_id) => unknown_run(run_id),
        LedgerError::Unavailable { .. } | LedgerError::Unusable { .. } => {
            tracing::error!(%error, "the ledger does not work");
            Refusal::new(Reason::Storage, error.to_string())
        }
    }
}

/// Something at rest cannot be read or written.
pub(crate) fn storage_failed(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Reason::Storage, error.to_string())
}

pub(crate) fn storage(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store does not work");
    Refusal::new(Reason::Storage, error.to_string())
}
