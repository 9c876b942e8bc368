//! The queue in `SQLite`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::error::QueueError;
use crate::schedule::{Terms, Weights};

/// Version of the tables.
const VERSION: i64 = 1;

/// How long a process waits for another one's transaction.
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

/// What waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The run.
    pub run_id: String,
    /// The record.
    pub record_id: String,
    /// Canonical policy.
    pub policy_id: String,
    /// Risk, share of success and expected minutes.
    pub terms: Terms,
}

/// How the next items are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The published score, by the terms that the items came with.
    Score,
    /// The same, with shares and times learnt from the answers so far.
    Learnt,
    /// The highest risk.
    Risk,
    /// The oldest.
    Fifo,
}

/// Who claims, how many, for how long, by which rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Who claims.
    pub holder: String,
    /// At most so many.
    pub count: u32,
    /// Seconds until the claim runs out.
    pub lease_s: f64,
    /// How items are chosen.
    pub rule: Rule,
    /// How the score's terms are weighed.
    pub weights: Weights,
}

/// A claimed item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claimed {
    /// The run.
    pub run_id: String,
    /// The record.
    pub record_id: String,
    /// Canonical policy.
    pub policy_id: String,
    /// Its risk.
    pub risk: f64,
    /// To be given with the answer.
    pub token: i64,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// When the claim runs out, in seconds since 1970.
    pub lease_until: f64,
}

/// What became of a claimed item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// It is rolled out; it took so many seconds, where that was measured.
    Done(Option<f64>),
    /// It must not be rolled out.
    Refused,
    /// It went wrong; it is tried again unless this was the last attempt.
    Again,
}

/// How many items are in which state, and the age of the oldest that waits.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the states'")]
pub struct Stats {
    pub queued: i64,
    pub leased: i64,
    pub done: i64,
    pub failed: i64,
    pub dead: i64,
    /// Of the leased ones, those whose lease ran out.
    pub expired: i64,
    /// Seconds that the oldest queued item has waited.
    pub oldest_s: Option<f64>,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    connection: Connection,
    line: Arc<File>,
}

/// A process's turn to write. `SQLite` alone lets whoever asks at the right moment go first, so that among many busy
/// processes one may ask in vain for longer than it has patience; the lock of a file is handed on in order, and ends
/// with its process.
#[derive(Debug)]
struct Turn(Arc<File>);

impl Turn {
    fn take(line: &Arc<File>) -> Result<Self, QueueError> {
        line.lock().map_err(QueueError::Line)?;
        Ok(Self(Arc::clone(line)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when its process ends.
        let _ = self.0.unlock();
    }
}

impl Queue {
    /// Opens the queue in a file, and makes it when there is none.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        let mut name = path.as_os_str().to_owned();
        name.push("-line");
        let line =
            File::options().create(true).truncate(false).write(true).open(&name).map_err(QueueError::Line)?;
        let line = Arc::new(line);
        let turn = Turn::take(&line)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found == 0 {
            change.execute_batch(TABLES)?;
            change.pragma_update(None, "user_version", VERSION)?;
        } else if found != VERSION {
            return Err(QueueError::Version { found, wanted: VERSION });
        }
        change.commit()?;
        drop(turn);
        Ok(Self { connection, line })
    }

    fn change(&mut self) -> Result<(Turn, Transaction<'_>), QueueError> {
        let turn = Turn::take(&self.line)?;
        Ok((turn, self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }

    /// Puts items in. One that is there already keeps its age, state and attempts, and takes the new terms. Says how
    /// many are new.
    pub fn enqueue(&mut self, items: &[Item], max_attempts: u32, now: f64) -> Result<u64, QueueError> {
        let (_turn, change) = self.change()?;
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

    /// Claims the next items. Claims that ran out count as attempts that went wrong.
    pub fn claim(&mut self, choice: &Choice, now: f64) -> Result<Vec<Claimed>, QueueError> {
        let (_turn, change) = self.change()?;
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

    /// Answers for a claimed item. Refused unless it is leased under this token; a claim that ran out may still be
    /// answered as long as nobody else has it.
    pub fn answer(
        &mut self,
        run_id: &str,
        record_id: &str,
        token: i64,
        answer: Answer,
        now: f64,
    ) -> Result<(), QueueError> {
        let (_turn, change) = self.change()?;
        let state = match answer {
            Answer::Done(_) => "'done'",
            Answer::Refused => "'failed'",
            Answer::Again => "CASE WHEN attempts + 1 < max_attempts THEN 'queued' ELSE 'dead' END",
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

    /// How many items are in which state.
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

/// ?1 α per hour, ?2 now, ?3 ε, ?4 the bonus for what is exploited, ?5 how many, ?6 the lease's end. One total order:
/// key, risk, age, run, record.
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
