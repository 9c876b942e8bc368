//! The queue's `SQLite` database.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cli_support::private;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::error::QueueError;
use crate::schedule::{Terms, Weights};

/// Version of the schema. It is kept in `user_version` by the few lines of [`Queue::open`]: `rusqlite_migration` 2.6 does
/// not support this version of rusqlite.
const VERSION: i64 = 1;

/// What a database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Maximum wait for a transaction of another process.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
    CREATE TABLE items (
        run_id TEXT NOT NULL, record_id TEXT NOT NULL, policy_id TEXT NOT NULL, state TEXT NOT NULL,
        attempts INTEGER NOT NULL, max_attempts INTEGER NOT NULL, enqueued_at REAL NOT NULL,
        last_update REAL NOT NULL, risk REAL NOT NULL, probability REAL NOT NULL, expected_minutes REAL NOT NULL,
        kev INTEGER NOT NULL, token INTEGER NOT NULL, lease_until REAL, holder TEXT,
        PRIMARY KEY (run_id, record_id)
    ) STRICT;
    CREATE INDEX items_by_state ON items (state, enqueued_at);
    CREATE TABLE arms (
        policy_id TEXT PRIMARY KEY, successes INTEGER NOT NULL, failures INTEGER NOT NULL,
        minutes REAL NOT NULL, timed INTEGER NOT NULL
    ) STRICT;";

/// A repair to roll out.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The run that made the repair.
    pub run_id: String,
    /// The record that it repairs.
    pub record_id: String,
    /// Canonical policy.
    pub policy_id: String,
    /// Risk, success rate and expected minutes.
    pub terms: Terms,
}

/// The order in which items are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The paper's score, with the terms of the items.
    Score,
    /// The paper's score, with success rates and times learnt from the answers so far.
    Learnt,
    /// Highest risk first.
    Risk,
    /// Oldest first.
    Fifo,
}

/// The parameters of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Name of the claiming process.
    pub holder: String,
    /// Maximum number of items.
    pub count: u32,
    /// Seconds until the lease expires.
    pub lease_s: f64,
    /// The order of the items.
    pub rule: Rule,
    /// Weights of the score's terms.
    pub weights: Weights,
}

/// A claimed item, with its lease.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claimed {
    /// The run that made the repair.
    pub run_id: String,
    /// The record that it repairs.
    pub record_id: String,
    /// Canonical policy.
    pub policy_id: String,
    /// Risk of the item.
    pub risk: f64,
    /// Fencing token, to be passed with the answer.
    pub token: i64,
    /// Number of the attempt, from 1.
    pub attempt: i64,
    /// Expiry of the lease, in seconds since 1970.
    pub lease_until: f64,
}

/// The outcome of a claimed item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// Rolled out, with the measured seconds if any.
    Done(Option<f64>),
    /// Refused: it must not be rolled out.
    Refused,
    /// Failed: it is tried again unless this was the last attempt.
    Failed,
}

/// Number of items by state, and the age of the oldest queued item.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the states'")]
pub struct Stats {
    pub queued: i64,
    pub leased: i64,
    pub done: i64,
    pub failed: i64,
    pub dead: i64,
    /// Leased items whose lease has expired.
    pub expired: i64,
    /// Age of the oldest queued item in seconds.
    pub oldest_s: Option<f64>,
}

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    connection: Connection,
    path: PathBuf,
    lock_file: Arc<File>,
}

/// Exclusive lock for writing, held until drop. `SQLite`'s own lock is not fair: among many busy processes one may fail
/// to get it within `PATIENCE`. A file lock is granted in order, and released when its process ends.
#[derive(Debug)]
struct WriteLock(Arc<File>);

impl WriteLock {
    fn take(file: &Arc<File>) -> io::Result<Self> {
        file.lock()?;
        Ok(Self(Arc::clone(file)))
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // An unlock that fails happens at the end of the process.
        let _ = self.0.unlock();
    }
}

impl Queue {
    /// Opens the queue in a file, and creates it if missing. Its files are its owner's alone, so that no other user can hold
    /// its lock.
    ///
    /// # Errors
    /// When the file is something else, which stays as it is, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        let failed = |source| QueueError::File { path: path.to_owned(), source };
        if !may_be_queue(path).map_err(failed)? {
            return Err(QueueError::Foreign(path.to_owned()));
        }
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let lock_file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(beside("-line"))
            .map_err(failed)?;
        let lock_file = Arc::new(lock_file);
        let lock = WriteLock::take(&lock_file).map_err(failed)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if found == 0 && tables > 0 {
            return Err(QueueError::Foreign(path.to_owned()));
        }
        if found != 0 && found != VERSION {
            return Err(QueueError::Version { found, wanted: VERSION });
        }
        for end in ["", "-line", "-wal", "-shm"] {
            private::close_to_others(&beside(end)).map_err(failed)?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if found == 0 {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change.execute_batch(TABLES)?;
            change.pragma_update(None, "user_version", VERSION)?;
            change.commit()?;
        }
        drop(lock);
        Ok(Self { connection, path: path.to_owned(), lock_file })
    }

    fn change(&mut self) -> Result<(WriteLock, Transaction<'_>), QueueError> {
        let failed = |source| QueueError::File { path: self.path.clone(), source };
        let lock = WriteLock::take(&self.lock_file).map_err(failed)?;
        Ok((lock, self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }

    /// Adds items and returns the number of new ones. An item already in the queue keeps its age, state and attempts,
    /// and gets the new terms.
    pub fn enqueue(&mut self, items: &[Item], max_attempts: u32, now: f64) -> Result<u64, QueueError> {
        let (_lock, change) = self.change()?;
        let mut new = 0;
        {
            let mut known = change.prepare("SELECT 1 FROM items WHERE run_id = ?1 AND record_id = ?2")?;
            let mut put = change.prepare(
                "INSERT INTO items VALUES (?1, ?2, ?3, 'queued', 0, ?4, ?5, ?5, ?6, ?7, ?8, ?9, 0, NULL, NULL)
                 ON CONFLICT (run_id, record_id) DO UPDATE SET risk = ?6, probability = ?7, expected_minutes = ?8,
                     kev = ?9",
            )?;
            for item in items {
                new += u64::from(!known.exists(params![item.run_id, item.record_id])?);
                put.execute(params![
                    item.run_id,
                    item.record_id,
                    item.policy_id,
                    max_attempts,
                    now,
                    item.terms.risk,
                    item.terms.probability,
                    item.terms.expected_time,
                    item.terms.kev,
                ])?;
            }
        }
        change.commit()?;
        Ok(new)
    }

    /// Claims the next items. Expired claims count as failed attempts.
    pub fn claim(&mut self, choice: &Choice, now: f64) -> Result<Vec<Claimed>, QueueError> {
        let (_lock, change) = self.change()?;
        change.execute(
            "UPDATE items SET attempts = attempts + 1, last_update = ?1, lease_until = NULL, holder = NULL,
                 state = CASE WHEN attempts + 1 < max_attempts THEN 'queued' ELSE 'dead' END
             WHERE state = 'leased' AND lease_until <= ?1",
            params![now],
        )?;
        let until = now + choice.lease_s;
        let claimed: Vec<Claimed> = {
            let weights = &choice.weights;
            let mut best = change.prepare(&next_items(choice.rule))?;
            let rows = best.query_map(
                params![weights.alpha, now, weights.epsilon, weights.kev, choice.count, until],
                claimed,
            )?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        {
            let mut lease = change.prepare(
                "UPDATE items SET state = 'leased', token = ?3, lease_until = ?4, holder = ?5, last_update = ?6
                 WHERE run_id = ?1 AND record_id = ?2",
            )?;
            for item in &claimed {
                lease.execute(params![item.run_id, item.record_id, item.token, until, choice.holder, now])?;
            }
        }
        change.commit()?;
        Ok(claimed)
    }

    /// Records the outcome of a claimed item. Fails unless the item is leased under this token; an expired claim may
    /// still be answered until the item is claimed again.
    pub fn answer(
        &mut self,
        run_id: &str,
        record_id: &str,
        token: i64,
        answer: Answer,
        now: f64,
    ) -> Result<(), QueueError> {
        let (_lock, change) = self.change()?;
        let state = match answer {
            Answer::Done(_) => "'done'",
            Answer::Refused => "'failed'",
            Answer::Failed => "CASE WHEN attempts + 1 < max_attempts THEN 'queued' ELSE 'dead' END",
        };
        let policy: Option<String> = change
            .query_row(
                &format!(
                    "UPDATE items SET state = {state}, attempts = attempts + 1, last_update = ?4, lease_until = NULL,
                         holder = NULL
                     WHERE run_id = ?1 AND record_id = ?2 AND token = ?3 AND state = 'leased' RETURNING policy_id"
                ),
                params![run_id, record_id, token, now],
                |row| row.get(0),
            )
            .optional()?;
        let Some(policy) = policy else {
            return Err(QueueError::NotLeased {
                run_id: run_id.to_owned(),
                record_id: record_id.to_owned(),
                token,
            });
        };
        let seconds = if let Answer::Done(seconds) = answer { seconds } else { None };
        let done = matches!(answer, Answer::Done(_));
        change.execute(
            "INSERT INTO arms VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (policy_id) DO UPDATE SET
                 successes = successes + ?2, failures = failures + ?3, minutes = minutes + ?4, timed = timed + ?5",
            params![policy, done, !done, seconds.unwrap_or(0.0) / 60.0, seconds.is_some()],
        )?;
        change.commit()?;
        Ok(())
    }

    /// Number of items by state.
    pub fn stats(&self, now: f64) -> Result<Stats, QueueError> {
        let count = |state: &str| {
            self.connection
                .query_row("SELECT count(*) FROM items WHERE state = ?1", [state], |row| row.get(0))
        };
        let expired = "SELECT count(*) FROM items WHERE state = 'leased' AND lease_until <= ?1";
        let oldest = "SELECT ?1 - min(enqueued_at) FROM items WHERE state = 'queued'";
        Ok(Stats {
            queued: count("queued")?,
            leased: count("leased")?,
            done: count("done")?,
            failed: count("failed")?,
            dead: count("dead")?,
            expired: self.connection.query_row(expired, [now], |row| row.get(0))?,
            oldest_s: self.connection.query_row(oldest, [now], |row| row.get(0))?,
        })
    }
}

/// Whether the file is missing, empty, or a database of `SQLite`.
fn may_be_queue(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut head)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(head.is_empty() || head == MAGIC)
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed {
        run_id: row.get(0)?,
        record_id: row.get(1)?,
        policy_id: row.get(2)?,
        risk: row.get(3)?,
        token: row.get(4)?,
        attempt: row.get(5)?,
        lease_until: row.get(6)?,
    })
}

/// The query for the next items. ?1: α per hour, ?2: now, ?3: ε, ?4: bonus for known exploited vulnerabilities, ?5:
/// maximum number, ?6: expiry of the lease. The order is total: key, risk, age, run, record.
fn next_items(rule: Rule) -> String {
    let rest = "+ ?1 * (?2 - enqueued_at) / 3600.0 + ?4 * kev";
    let key = match rule {
        Rule::Score => format!("risk * probability / max(expected_minutes, ?3) {rest}"),
        Rule::Learnt => format!(
            "risk * (coalesce(successes, 0) + 1.0) / (coalesce(successes + failures, 0) + 2.0)
                 / max((expected_minutes + coalesce(minutes, 0)) / (1 + coalesce(timed, 0)), ?3) {rest}"
        ),
        Rule::Risk => "risk + 0 * (?1 + ?2 + ?3 + ?4)".to_owned(),
        Rule::Fifo => "-enqueued_at + 0 * (?1 + ?2 + ?3 + ?4)".to_owned(),
    };
    format!(
        "SELECT run_id, record_id, items.policy_id, risk, token + 1, attempts + 1, ?6
         FROM items LEFT JOIN arms ON arms.policy_id = items.policy_id
         WHERE state = 'queued'
         ORDER BY {key} DESC, risk DESC, enqueued_at, run_id, record_id LIMIT ?5"
    )
}
