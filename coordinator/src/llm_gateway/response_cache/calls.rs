//! Calls under way: a row each, written before the permit is sent and deleted with the result; and the processes that count
//! them.
//!
//! *Invariant*: a row belongs to one process. Another one takes it up only when that process has ended, which its lock shows.

use std::path::{Path, PathBuf};

use domain::budget::Usd;
use domain::ids::{AnswerKey, RunId, WorkerName};
use rusqlite::{Connection, Row, params};

use super::owner::{Owner, OwnerLock};
use super::usage::{signed, unsigned};

type Sql<T> = rusqlite::Result<T>;

/// Identifier of a call that is permitted: no other call has it, in any process that uses the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId(u64);

impl CallId {
    /// The identifier of a number, of which it keeps the 63 bits that the store can hold.
    pub(crate) const fn new(number: u64) -> Self {
        Self(number & i64::MAX as u64)
    }

    /// The number, of 63 bits.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// One that follows no other: the first of a process.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self::from_bytes(bytes))
    }

    /// The next one of this process.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self::new(u64::from_le_bytes(bytes))
    }

    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// A call as it is recorded before its permit is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordedCall {
    pub(crate) id: CallId,
    pub(crate) key: AnswerKey,
    /// The run that pays for it.
    pub(crate) run_id: RunId,
    pub(crate) worker: WorkerName,
    /// Estimated tokens.
    pub(crate) tokens: u64,
    pub(crate) estimated_cost: Usd,
    /// In ms since the Unix epoch.
    pub(crate) started_at_ms: u64,
    /// When its worker has ended it in any case.
    pub(crate) deadline_ms: u64,
}

/// A call that another process permitted and that this one counts from now on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrphanedCall {
    pub(crate) call: RecordedCall,
    /// Whether its worker may be alive.
    pub(crate) may_return: bool,
}

/// Calls under way of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallsOfRun {
    pub(crate) run_id: RunId,
    pub(crate) calls: u64,
    /// Start of the oldest, in ms since the Unix epoch.
    pub(crate) oldest_ms: u64,
}

/// This process among those that permit calls.
#[derive(Debug)]
pub(super) struct Process {
    number: i64,
    /// `None`: the store is in memory, and no other process can read it.
    lock: Option<OwnerLock>,
}

/// The folder beside a file of answers with the locks of the processes that permit calls.
fn locks_of(answers: &Path) -> PathBuf {
    let mut name = answers.as_os_str().to_owned();
    name.push(".processes");
    PathBuf::from(name)
}

impl Process {
    /// Takes the lock of this process beside the file of answers; `None`: the store is in memory.
    pub(super) fn lock(answers: Option<&Path>) -> std::io::Result<Option<OwnerLock>> {
        answers.map(|path| OwnerLock::take(&locks_of(path))).transpose()
    }

    /// Enters this process.
    pub(super) fn enter(connection: &Connection, lock: Option<OwnerLock>) -> Sql<Self> {
        let name = lock.as_ref().map_or("", |lock| lock.owner().as_str());
        connection.execute("INSERT INTO processes (lock) VALUES (?1)", [name])?;
        Ok(Self { number: connection.last_insert_rowid(), lock })
    }

    fn is_gone(&self, other: &Owner) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.is_gone(other))
    }

    /// Deletes what ended processes left of their locks.
    pub(super) fn clean_up(&self, gone: &[Owner]) {
        for other in gone {
            self.lock.iter().for_each(|lock| lock.remove(other));
        }
    }
}

/// Records a call of this process. Done twice, it changes nothing.
pub(super) fn record(
    connection: &Connection,
    process: &Process,
    call: &RecordedCall,
    may_return: bool,
) -> Sql<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO calls (call, key, run_id, worker, tokens, estimated_ticks, started_at_ms, deadline_ms, \
         may_return, process) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    statement.execute(params![
        signed(call.id.number()),
        call.key.as_bytes(),
        call.run_id.as_str(),
        call.worker.as_str(),
        signed(call.tokens),
        signed(call.estimated_cost.ticks()),
        signed(call.started_at_ms),
        signed(call.deadline_ms),
        may_return,
        process.number,
    ])?;
    Ok(())
}

/// Deletes a call; returns whether it was there.
pub(super) fn delete(connection: &Connection, id: CallId) -> Sql<bool> {
    let mut statement = connection.prepare_cached("DELETE FROM calls WHERE call = ?1")?;
    Ok(statement.execute([signed(id.number())])? == 1)
}

/// Takes over the calls of ended processes, and those of `runs`; returns them with the ended processes.
pub(super) fn take_up(
    connection: &Connection,
    process: &Process,
    runs: &[RunId],
) -> Sql<(Vec<OrphanedCall>, Vec<Owner>)> {
    let mut others = connection.prepare("SELECT process, lock FROM processes WHERE process <> ?1")?;
    let others = others
        .query_map([process.number], |row| Ok((row.get::<_, i64>(0)?, Owner::new(row.get::<_, String>(1)?))))?
        .collect::<Sql<Vec<_>>>()?;
    let mut gone = Vec::new();
    for (number, owner) in others {
        if process.is_gone(&owner) {
            // For a moment they are nobody's: this transaction gives them to this process.
            connection.execute("UPDATE calls SET process = 0 WHERE process = ?1", [number])?;
            connection.execute("DELETE FROM processes WHERE process = ?1", [number])?;
            gone.push(owner);
        }
    }
    let of_run = "UPDATE calls SET process = 0 WHERE run_id = ?1 AND process <> ?2";
    for run_id in runs {
        connection.execute(of_run, params![run_id.as_str(), process.number])?;
    }
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM calls WHERE process = 0"))?;
    let found = statement.query_map([], |row| Ok((CallId::new(row.get(0).map(unsigned)?), read(row)?)))?;
    let mut taken = Vec::new();
    for (id, call) in found.collect::<Sql<Vec<_>>>()? {
        if let Some(call) = call {
            taken.push(call);
        } else {
            tracing::warn!("a call under way cannot be read: it is not counted");
            delete(connection, id)?;
        }
    }
    connection.execute("UPDATE calls SET process = ?1 WHERE process = 0", [process.number])?;
    Ok((taken, gone))
}

/// Calls under way of each run, whichever process counts them.
pub(super) fn by_run(connection: &Connection) -> Sql<Vec<CallsOfRun>> {
    let mut statement = connection
        .prepare("SELECT run_id, count(*), min(started_at_ms) FROM calls GROUP BY run_id ORDER BY run_id")?;
    let read = |row: &Row<'_>| {
        let run_id = RunId::new(row.get::<_, String>(0)?).ok();
        let (calls, oldest_ms) = (row.get(1).map(unsigned)?, row.get(2).map(unsigned)?);
        Ok(run_id.map(|run_id| CallsOfRun { run_id, calls, oldest_ms }))
    };
    statement.query_map([], read)?.filter_map(Result::transpose).collect()
}

/// Columns of a call, in the order of [`read`].
const COLUMNS: &str =
    "call, key, run_id, worker, tokens, estimated_ticks, started_at_ms, deadline_ms, may_return";

/// Reads a row; `None` where it is not one that this program has written.
fn read(row: &Row<'_>) -> Sql<Option<OrphanedCall>> {
    let text = |column: usize| row.get::<_, String>(column);
    let key = <[u8; 32]>::try_from(row.get::<_, Vec<u8>>(1)?);
    let (Ok(key), Ok(run_id), Ok(worker)) = (key, RunId::new(text(2)?), WorkerName::new(text(3)?)) else {
        return Ok(None);
    };
    let call = RecordedCall {
        id: CallId::new(row.get(0).map(unsigned)?),
        key: AnswerKey::from_bytes(key),
        run_id,
        worker,
        tokens: row.get(4).map(unsigned)?,
        estimated_cost: row.get(5).map(unsigned).map(Usd::from_ticks)?,
        started_at_ms: row.get(6).map(unsigned)?,
        deadline_ms: row.get(7).map(unsigned)?,
    };
    Ok(Some(OrphanedCall { call, may_return: row.get(8)? }))
}
