//! Embedded ledger: one `SQLite` file in the state folder, with a write-ahead log that is synced at every commit.
//!
//! *Owns* the connection: one thread applies all steps, and steps that wait together share one transaction and one sync
//! (group commit). Dropping the ledger waits until every queued step is durable and the file is closed.

mod open;
mod steps;

use std::path::Path;
use std::thread::JoinHandle;

use futures::future::{BoxFuture, FutureExt};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;
use results::crash::{Point, reach};

use super::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};

/// Capacity of the queue of steps; further callers wait (backpressure).
const QUEUE: usize = 1024;

/// Most steps in a transaction.
const BATCH: usize = 256;

/// The ledger in a `SQLite` file.
#[derive(Debug)]
pub struct SqliteLedger {
    place: String,
    /// `None` while it is being dropped.
    steps: Option<mpsc::Sender<Step>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        // Without a sender the thread ends after the queued steps.
        self.steps = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(place = self.place, "the thread of the ledger panicked");
        }
    }
}

/// A step: runs inside the transaction (or gets the error where there is none), and returns the callback that sends the
/// result to the caller after the transaction has ended.
type Step = Box<dyn FnOnce(Result<&Connection, LedgerError>) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

impl SqliteLedger {
    /// Version of the file's layout.
    pub const LAYOUT_VERSION: usize = open::LAYOUT_VERSION;

    /// Opens the ledger at `path`, creating it where it is missing, and migrates it to the newest layout.
    ///
    /// # Errors
    /// `Unusable` when the file is not a ledger, damaged, of a newer version or not writable; `Unavailable` when another process
    /// has it locked.
    pub fn open(path: &Path) -> LedgerResult<Self> {
        Self::serve(path, open::open)
    }

    /// Opens an existing ledger for reading, also while a coordinator writes to it. Steps that write fail.
    ///
    /// # Errors
    /// As [`SqliteLedger::open`]; `Unusable` also when it has an older layout.
    pub fn open_read_only(path: &Path) -> LedgerResult<Self> {
        Self::serve(path, open::open_read_only)
    }

    /// Checks the whole file for damage.
    ///
    /// # Errors
    /// `Unusable` when there is any.
    pub async fn check(&self) -> LedgerResult<()> {
        self.apply(steps::check).await
    }

    fn serve(path: &Path, open: fn(&Path, &str) -> LedgerResult<Connection>) -> LedgerResult<Self> {
        let place = path.display().to_string();
        let connection = open(path, &place)?;
        let behavior = if connection.is_readonly(rusqlite::MAIN_DB).unwrap_or(false) {
            TransactionBehavior::Deferred
        } else {
            TransactionBehavior::Immediate
        };
        let (steps, queue) = mpsc::channel(QUEUE);
        let thread_place = place.clone();
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || serve(connection, behavior, queue, &thread_place))
            .map_err(|error| LedgerError::Unavailable { place: place.clone(), reason: error.to_string() })?;
        Ok(Self { place, steps: Some(steps), thread: Some(thread) })
    }

    /// Sends `step` to the thread, and waits until its effect is durable.
    fn apply<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> Result<T, steps::StepError> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        let (reply, replied) = oneshot::channel();
        let place = self.place.clone();
        let step: Step = Box::new(move |connection| {
            let applied =
                connection.and_then(|connection| step(connection).map_err(|error| error.at(&place)));
            Box::new(move |ended: Result<(), LedgerError>| {
                // The send fails where the caller has dropped its future.
                let _ = reply.send(applied.and_then(|value| ended.map(|()| value)));
            })
        });
        async move {
            let gone = || LedgerError::Unavailable {
                place: self.place.clone(),
                reason: "its thread has ended".to_owned(),
            };
            self.steps.as_ref().ok_or_else(gone)?.send(step).await.map_err(|_| gone())?;
            replied.await.map_err(|_| gone())?
        }
        .boxed()
    }
}

/// The thread: applies the waiting steps in one transaction, commits it, then replies to the callers.
fn serve(
    mut connection: Connection,
    behavior: TransactionBehavior,
    mut queue: mpsc::Receiver<Step>,
    place: &str,
) {
    while let Some(first) = queue.blocking_recv() {
        let begun = connection.transaction_with_behavior(behavior);
        let transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                first(Err(open::classify(&error, place)))(Ok(()));
                continue;
            }
        };
        let mut replies = vec![first(Ok(&transaction))];
        // A full disk can end the transaction early; no step may run outside of one.
        while replies.len() < BATCH
            && !transaction.is_autocommit()
            && let Ok(step) = queue.try_recv()
        {
            replies.push(step(Ok(&transaction)));
        }
        reach(Point::LedgerApplied);
        let ended = transaction.commit().map_err(|error| open::classify(&error, place));
        reach(Point::LedgerDurable);
        for reply in replies {
            reply(ended.clone());
        }
    }
}

impl Ledger for SqliteLedger {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        self.apply(move |connection| steps::create_run(connection, &run))
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::run(connection, &run_id))
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        self.apply(steps::runs)
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::advance(connection, &run_id, from, to, finished.as_ref()))
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::fail(connection, &run_id, from, &reason))
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::reconfigure(connection, &run_id, config))
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::shards(connection, &run_id, first, limit))
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::lease(connection, &run_id, &leased))
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::commit(connection, &run_id, shard, token, &part))
    }

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::reopen(connection, &run_id, shard, part))
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::record_totals(connection, &run_id, &totals))
    }

    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::record_resources(connection, &run_id, resources))
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.apply(move |connection| steps::remove_run(connection, &run_id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::{leased, ledger_suite, part, run};
    use super::*;

    ledger_suite!(async {
        let folder = tempfile::tempdir().unwrap();
        (super::SqliteLedger::open(&folder.path().join("ledger.sqlite")).unwrap(), folder)
    });

    #[tokio::test]
    async fn acknowledged_steps_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let id = RunId::new("r").unwrap();
        let ledger = SqliteLedger::open(&path).unwrap();
        ledger.create_run(run("r")).await.unwrap();
        ledger.lease(&id, leased(0, 0)).await.unwrap();
        ledger.lease(&id, leased(3, 0)).await.unwrap();
        ledger.commit(&id, ShardIndex(3), FencingToken(1), part("p")).await.unwrap();
        drop(ledger);

        let ledger = SqliteLedger::open(&path).unwrap();
        assert_eq!(ledger.run(&id).await.unwrap(), Some(run("r")));
        let shards = ledger.shards(&id, ShardIndex(0), 9).await.unwrap();
        assert_eq!(
            shards.iter().map(|shard| shard.part.clone()).collect::<Vec<_>>(),
            [None, Some(part("p"))]
        );
    }

    #[tokio::test]
    async fn a_dropped_caller_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.sqlite")).unwrap();
        drop(ledger.create_run(run("a")));
        let waiting = ledger.create_run(run("b"));
        assert_eq!(waiting.await.unwrap(), Created::New);
    }

    #[tokio::test]
    async fn a_ledger_of_the_first_layout_is_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(include_str!("../migrations/0001_ledger.sql")).unwrap();
        connection.pragma_update(None, "application_id", 0x6b38_7366).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let plan = serde_json::to_string(&run("r").plan).unwrap();
        connection
            .execute(
                "INSERT INTO runs VALUES (1, 'r', ?, 'running', 'detections.json', 1700000000000, NULL)",
                [plan],
            )
            .unwrap();
        // Ten records in shards of three: the last one holds one.
        connection
            .execute_batch(
                "INSERT INTO shards VALUES (1, 0, 2, 2, 'w', NULL, NULL, NULL, NULL),
                 (1, 1, 1, 1, 'w', NULL, NULL, NULL, NULL), (1, 3, 4, 3, 'w', NULL, NULL, NULL, NULL)",
            )
            .unwrap();
        drop(connection);

        let ledger = SqliteLedger::open(&path).unwrap();
        let id = RunId::new("r").unwrap();
        let before = RunEntry { resources: RunResources::UNKNOWN, ..run("r") };
        assert_eq!(ledger.run(&id).await.unwrap(), Some(before));
        let shards = ledger.shards(&id, ShardIndex(0), 9).await.unwrap();
        let seen: Vec<_> =
            shards.iter().map(|entry| (entry.shard.index.0, entry.shard.len, entry.token.0)).collect();
        assert_eq!(seen, [(0, 3, 2), (3, 3, 1), (9, 1, 4)]);
    }

    #[tokio::test]
    async fn a_ledger_without_totals_is_migrated_and_unknown_figures_stay_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(include_str!("../migrations/0001_ledger.sql")).unwrap();
        connection.execute_batch(include_str!("../migrations/0002_splits.sql")).unwrap();
        connection.pragma_update(None, "application_id", 0x6b38_7366).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        let plan = serde_json::to_string(&run("r").plan).unwrap();
        connection
            .execute(
                "INSERT INTO runs VALUES (1, 'r', ?, 'finished', 'detections.json', 1700000000000, 'f1')",
                [plan],
            )
            .unwrap();
        let committed = part("a");
        connection
            .execute(
                "INSERT INTO shards VALUES (1, 0, 3, 2, 2, 0, 'w', ?, 9, ?, ?)",
                rusqlite::params![
                    committed.key,
                    committed.hash.as_bytes().as_slice(),
                    serde_json::to_string(&committed.tally).unwrap()
                ],
            )
            .unwrap();
        drop(connection);

        let (id, ledger) = (RunId::new("r").unwrap(), SqliteLedger::open(&path).unwrap());
        let known = RunEntry {
            state: RunState::Finished,
            fingerprint: Some("f1".to_owned()),
            resources: RunResources::UNKNOWN,
            ..run("r")
        };
        assert_eq!(ledger.runs().await.unwrap(), std::slice::from_ref(&known));
        assert_eq!(ledger.shards(&id, ShardIndex(0), 9).await.unwrap()[0].part, Some(committed.clone()));
        let totals = Totals { tally: committed.tally, committed: 1 };
        assert_eq!(ledger.record_totals(&id, totals.clone()).await.unwrap(), Swap::Done);
        ledger.record_resources(&id, RunResources::ZERO).await.unwrap();
        drop(ledger);
        let ledger = SqliteLedger::open_read_only(&path).unwrap();
        assert_eq!(ledger.run(&id).await.unwrap(), Some(RunEntry { totals: Some(totals), ..known }));
    }

    #[tokio::test]
    async fn dropping_the_ledger_makes_queued_steps_durable_and_closes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let ledger = SqliteLedger::open(&path).unwrap();
        let mut slow = ledger.apply(|connection| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            steps::create_run(connection, &run("r"))
        });
        assert!(futures::poll!(&mut slow).is_pending(), "the step is queued");
        // Its caller drops the future.
        drop(slow);
        drop(ledger);
        assert!(!path.with_extension("sqlite-wal").exists(), "closing the last connection removes the log");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let runs: u32 = connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(runs, 1);
    }

    #[test]
    fn a_file_that_is_not_a_ledger_is_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "this is a text of some length, and no database at all".repeat(20)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = SqliteLedger::open(&path).unwrap_err();
        assert!(matches!(&error, LedgerError::Unusable { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_ledger_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        drop(SqliteLedger::open(&path).unwrap());
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = SqliteLedger::open(&path).unwrap_err().to_string();
        assert!(error.contains("version 99") && error.contains("newer"), "{error}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(connection);
        let error = SqliteLedger::open(&path).unwrap_err().to_string();
        assert!(error.contains("another program"), "{error}");
    }
}
