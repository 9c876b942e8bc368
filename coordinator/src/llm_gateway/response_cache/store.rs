//! The cache's file: opened, read, written in batches, listed, pruned.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use domain::budget::Usage;
use domain::ids::{AnswerKey, RunId};
use results::crash::{Point, reach};
use rusqlite::{Connection, TransactionBehavior, params};

use super::below::{Below, Used};
use super::calls::{self, CallsOfRun, OrphanedCall, Process};
use super::rows::{self, CachedRow};
use super::sums::Sums;
use super::usage::signed;
use super::{CacheEntry, CachedResponse, Counted, FailureCounts, LlmUsage, StoreWrite, failures};
use crate::database::Trouble;
use crate::database::sqlite::Layout;
use crate::llm_gateway::PermitKey;

/// Database of the response cache.
const LAYOUT: Layout = Layout {
    // "k8sa"
    application_id: 0x6b38_7361,
    migrations: &[
        include_str!("migrations/0001_answers.sql"),
        include_str!("migrations/0002_permits.sql"),
        include_str!("migrations/0003_failures.sql"),
        include_str!("migrations/0004_estimates.sql"),
        include_str!("migrations/0005_verdicts.sql"),
        include_str!("migrations/0006_scanners.sql"),
        include_str!("migrations/0007_charges.sql"),
        include_str!("migrations/0008_batches.sql"),
        include_str!("migrations/0009_calls.sql"),
    ],
    name: "store of answers",
    elsewhere: "another file (--answers)",
};

/// The response cache. All calls block.
#[derive(Debug)]
pub struct ResponseCache {
    place: String,
    /// Second connection, which reads while the first one waits for the disk; `None` in memory. Closed first: the last one to
    /// close merges the write-ahead log into the file, and this one may not write.
    reader: Option<Mutex<Connection>>,
    writer: Mutex<Connection>,
    /// A cache that is read for what this one does not have.
    pub(super) below: Option<Below>,
    /// `None`: it is in memory.
    path: Option<PathBuf>,
    /// This process among those that permit calls, once it does.
    process: OnceLock<Process>,
    /// Whether the workers of this process may live longer than it.
    workers_may_return: bool,
}

/// Failure of the response cache. Text for users; the variants by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Retry: locked, busy, out of space or not reachable at the moment. A write may have taken effect, and can be repeated.
    #[error("the response cache at {place} cannot be used for now: {reason}")]
    Unavailable {
        /// Path of the file, or URL of the server.
        place: String,
        /// Cause.
        reason: String,
    },
    /// Needs an operator: damaged, not a response cache, or not writable.
    #[error("the response cache at {place} cannot be used: {reason}")]
    Unusable {
        /// Path of the file, or URL of the server.
        place: String,
        /// Cause and remedy.
        reason: String,
    },
}

/// What the gateway needs of a response cache. All calls block.
pub(crate) trait Answers: std::fmt::Debug + Send + Sync {
    /// Usage of each of these runs.
    fn spent_of(&self, runs: &[RunId]) -> Result<Vec<(RunId, LlmUsage)>, CacheError>;

    /// Why calls of a run gave no answer.
    fn failures_of(&self, run_id: &RunId) -> Result<FailureCounts, CacheError>;

    /// Cached responses of keys. A damaged one counts as missing.
    fn look_up(&self, keys: &[AnswerKey]) -> Result<Vec<(AnswerKey, Option<CachedResponse>)>, CacheError>;

    /// Makes a batch durable, in its order and in one transaction. Returns for each item what of it counts.
    fn apply(&self, batch: &[&StoreWrite]) -> Result<Vec<Counted>, CacheError>;

    /// Gives this process the calls under way of processes that have ended, and those of `runs`, which no other process drives
    /// any more. Returns each once.
    fn take_up_calls(&self, runs: &[RunId]) -> Result<Vec<OrphanedCall>, CacheError>;

    /// The key of the tickets of permits.
    fn permit_key(&self) -> Result<PermitKey, CacheError>;
}

/// Selection of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Older than this moment, in ms since the Unix epoch.
    pub(crate) before_ms: Option<u64>,
    /// Of this model, by the requested name or by the one in the answer.
    pub(crate) model: Option<String>,
}

/// Stored answers of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByModel {
    /// URL of the model.
    pub(crate) provider: String,
    /// The model.
    pub(crate) model: String,
    /// Number of answers.
    pub(crate) answers: u64,
    /// Their compressed size in bytes.
    pub(crate) bytes: u64,
    /// Their billed tokens.
    pub(crate) tokens: u64,
    /// Arrival of the oldest, in ms since the Unix epoch.
    pub(crate) oldest_ms: u64,
    /// Arrival of the newest.
    pub(crate) newest_ms: u64,
}

impl ResponseCache {
    /// Version of the file's layout.
    pub(crate) const LAYOUT_VERSION: usize = LAYOUT.migrations.len();

    /// Opens the file at `path`, or creates it.
    ///
    /// # Errors
    /// `Unusable` when the file is not a response cache, is damaged, of a newer version or not writable; `Unavailable` when
    /// another process has locked it.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let place = path.display().to_string();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| CacheError::Unusable {
                place: place.clone(),
                reason: format!("cannot make its folder: {error}"),
            })?;
        }
        let failed = |trouble| at(&place, trouble);
        let writer = LAYOUT.open(path).map_err(failed)?;
        let repaired = rows::repair(&writer).map_err(|error| failed(LAYOUT.classify(&error)))?;
        if repaired > 0 {
            tracing::warn!(
                place,
                runs = repaired,
                "the usage of runs was out of bounds in the response cache: set it to its bound"
            );
        }
        let reader = LAYOUT.open_read_only(path).map_err(failed)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Some(Mutex::new(reader)),
            place,
            path: Some(path.to_owned()),
            process: OnceLock::new(),
            workers_may_return: true,
            below: None,
        })
    }

    /// The calls of this process are made by workers that end with it: none of them is waited for after that.
    #[must_use]
    pub fn with_workers_of_this_process(self) -> Self {
        Self { workers_may_return: false, ..self }
    }

    /// A cache in memory, for runs without a model and for tests.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn in_memory() -> Result<Self, CacheError> {
        let place = ":memory:".to_owned();
        let writer = LAYOUT.open(Path::new(&place)).map_err(|trouble| at(&place, trouble))?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: None,
            place,
            path: None,
            process: OnceLock::new(),
            workers_may_return: true,
            below: None,
        })
    }

    /// A cache in memory above the file at `path`, which is only read: a run finds what the file holds, and leaves no trace
    /// in it.
    ///
    /// # Errors
    /// As [`Self::open`], and for a file of an earlier release, which is migrated when it is opened to be written.
    pub(crate) fn above(path: &Path) -> Result<Self, CacheError> {
        let place = path.display().to_string();
        let reader = LAYOUT.open_read_only(path).map_err(|trouble| at(&place, trouble))?;
        Ok(Self { below: Some(Below::of(place, reader)), ..Self::in_memory()? })
    }

    /// What was found in the file below so far, counted anew from now on; nothing where there is no such file.
    pub(crate) fn take_used(&self) -> Used {
        self.below.as_ref().map(Below::take_used).unwrap_or_default()
    }

    pub(super) fn write(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left open was rolled back when it was dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> MutexGuard<'_, Connection> {
        self.reader
            .as_ref()
            .map_or_else(|| self.write(), |reader| reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
    pub(super) fn failed(&self, error: rusqlite::Error) -> CacheError {
        at(&self.place, LAYOUT.classify(&error))
    }

    /// Enters this process among those that permit calls.
    fn process(&self, writer: &mut Connection) -> Result<&Process, CacheError> {
        if let Some(process) = self.process.get() {
            return Ok(process);
        }
        let lock = Process::lock(self.path.as_deref()).map_err(|error| CacheError::Unusable {
            place: self.place.clone(),
            reason: format!("cannot make the lock of this process beside it: {error}"),
        })?;
        let enter = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let process = Process::enter(&transaction, lock)?;
            transaction.commit()?;
            Ok(process)
        };
        let process = enter().map_err(|error| self.failed(error))?;
        Ok(self.process.get_or_init(|| process))
    }

    /// Calls under way of each run.
    pub(crate) fn calls_by_run(&self) -> Result<Vec<CallsOfRun>, CacheError> {
        calls::by_run(&self.read()).map_err(|error| self.failed(error))
    }

    /// Stored answers of each model.
    pub(crate) fn by_model(&self, of: &Selection) -> Result<Vec<ByModel>, CacheError> {
        let query = format!(
            "SELECT endpoint, model, count(*), sum(length(content)), sum(min(max(total_tokens, 0), {})), \
             min(created_at_ms), max(created_at_ms) FROM answers WHERE {SELECTED} GROUP BY endpoint, model ORDER BY endpoint, model",
            Usage::MOST
        );
        let reader = self.read();
        let read = || {
            let mut statement = reader.prepare(&query)?;
            let rows = statement.query_map(params![of.before_ms.map(signed), of.model], |row| {
                let count =
                    |column: usize| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
                Ok(ByModel {
                    provider: row.get(0)?,
                    model: row.get(1)?,
                    answers: count(2)?,
                    bytes: count(3)?,
                    tokens: count(4)?,
                    oldest_ms: count(5)?,
                    newest_ms: count(6)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Deletes the selected answers and frees their space; returns how many.
    pub(crate) fn prune(&self, what: &Selection) -> Result<u64, CacheError> {
        let writer = self.write();
        let delete = || {
            let gone = writer.execute(
                &format!("DELETE FROM answers WHERE {SELECTED}"),
                params![what.before_ms.map(signed), what.model],
            )?;
            writer.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
            Ok(gone as u64)
        };
        delete().map_err(|error| self.failed(error))
    }

    /// Passes every intact answer to `each`, oldest first; returns how many are damaged.
    pub(super) fn each<E: From<CacheError>>(
        &self,
        mut each: impl FnMut(&CachedRow) -> Result<(), E>,
    ) -> Result<u64, E> {
        let reader = self.read();
        let failed = |error| E::from(self.failed(error));
        let query = format!("SELECT {} FROM answers ORDER BY number", rows::COLUMNS);
        let mut statement = reader.prepare(&query).map_err(failed)?;
        let mut found = statement.query([]).map_err(failed)?;
        let mut damaged = 0;
        while let Some(row) = found.next().map_err(failed)? {
            match rows::read(row).map_err(failed)? {
                Some(kept) => each(&kept)?,
                None => damaged += 1,
            }
        }
        Ok(damaged)
    }

    /// Inserts the answers whose keys are missing; returns for each whether it was inserted.
    pub(crate) fn put_absent(&self, batch: &[(AnswerKey, CacheEntry, String)]) -> Result<u64, CacheError> {
        let mut writer = self.write();
        let mut write = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut put = 0;
            for (key, entry, run_id) in batch {
                if rows::look_up(&transaction, key)?.is_none() {
                    rows::write(&transaction, key, entry, run_id)?;
                    put += 1;
                }
            }
            transaction.commit()?;
            Ok(put)
        };
        write().map_err(|error| self.failed(error))
    }
}

impl Answers for ResponseCache {
    fn spent_of(&self, runs: &[RunId]) -> Result<Vec<(RunId, LlmUsage)>, CacheError> {
        let reader = self.read();
        let read =
            |run_id: &RunId| Ok((run_id.clone(), rows::spent_of(&reader, run_id)?.unwrap_or_default()));
        let all = runs.iter().map(read).collect::<rusqlite::Result<Vec<_>>>();
        all.map_err(|error| self.failed(error))
    }

    fn failures_of(&self, run_id: &RunId) -> Result<FailureCounts, CacheError> {
        failures::of(&self.read(), run_id).map_err(|error| self.failed(error))
    }

    fn look_up(&self, keys: &[AnswerKey]) -> Result<Vec<(AnswerKey, Option<CachedResponse>)>, CacheError> {
        let mut reader = self.read();
        let mut look = || {
            // One snapshot and one lock for all keys.
            let transaction = reader.transaction()?;
            let found = keys.iter().map(|key| Ok((*key, rows::look_up(&transaction, key)?)));
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut found = look().map_err(|error| self.failed(error))?;
        if let Some(below) = &self.below {
            below.add_answers(&mut found).map_err(|error| failed_below(below, &error))?;
        }
        Ok(found)
    }

    fn apply(&self, batch: &[&StoreWrite]) -> Result<Vec<Counted>, CacheError> {
        let mut writer = self.write();
        let process =
            if batch.iter().any(|write| begins(write)) { Some(self.process(&mut writer)?) } else { None };
        let mut write = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut sums = Sums::default();
            let mut counted = Vec::with_capacity(batch.len());
            for write in batch {
                counted.push(match write {
                    StoreWrite::Begin(call) => {
                        if let Some(process) = process {
                            calls::record(&transaction, process, call, self.workers_may_return)?;
                        }
                        Counted::Whole
                    }
                    StoreWrite::Unused { call, .. } => {
                        calls::delete(&transaction, *call)?;
                        Counted::Whole
                    }
                    StoreWrite::End(write) => rows::end(&transaction, &mut sums, write)?,
                });
            }
            rows::add(&transaction, &sums)?;
            pass(batch, Point::CallsApplied, Point::AnswersApplied);
            transaction.commit()?;
            pass(batch, Point::CallsDurable, Point::AnswersDurable);
            Ok(counted)
        };
        write().map_err(|error| self.failed(error))
    }

    fn take_up_calls(&self, runs: &[RunId]) -> Result<Vec<OrphanedCall>, CacheError> {
        let mut writer = self.write();
        let process = self.process(&mut writer)?;
        let mut take_up = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (taken, gone) = calls::take_up(&transaction, process, runs)?;
            transaction.commit()?;
            process.clean_up(&gone);
            Ok(taken)
        };
        take_up().map_err(|error| self.failed(error))
    }

    fn permit_key(&self) -> Result<PermitKey, CacheError> {
        let key = self.read().query_row("SELECT key FROM permit_key", [], |row| row.get::<_, [u8; 32]>(0));
        key.map(PermitKey::from_bytes).map_err(|error| self.failed(error))
    }
}

/// Passes the crash points of what is in a batch.
pub(super) fn pass(batch: &[&StoreWrite], calls: Point, answers: Point) {
    if batch.iter().any(|write| begins(write)) {
        reach(calls);
    }
    if batch.iter().any(|write| !begins(write)) {
        reach(answers);
    }
}

fn begins(write: &StoreWrite) -> bool {
    matches!(write, StoreWrite::Begin(_))
}

/// Condition of a [`Selection`], with parameters 1 and 2.
const SELECTED: &str =
    "(?1 IS NULL OR created_at_ms < ?1) AND (?2 IS NULL OR model = ?2 OR answered_by = ?2)";

/// Failure of the file below a cache.
pub(super) fn failed_below(below: &Below, error: &rusqlite::Error) -> CacheError {
    at(&below.place, LAYOUT.classify(error))
}

pub(super) fn at(place: &str, trouble: Trouble) -> CacheError {
    let place = place.to_owned();
    match trouble {
        Trouble::Unavailable(reason) => CacheError::Unavailable { place, reason },
        Trouble::Unusable(reason) => CacheError::Unusable { place, reason },
    }
}
