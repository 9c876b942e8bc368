//! Batches and the questions in them: tables of the cache's file. A question is in one batch at most, whoever asks for it.

use domain::ids::{AnswerKey, RunId};
use llm::batch::{Mark, RemoteStatus};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::owner::Owner;
use super::store::{CacheError, ResponseCache};
use super::usage::{signed, unsigned};
use super::{CacheEntry, CacheWrite, LlmUsage, rows};
use crate::batches::record::{BatchRecord, Phase, Target};

type Sql<T> = rusqlite::Result<T>;

/// In how many batches a question may be without an answer; then it is left to live calls.
const MOST_TRIES: u64 = 3;

/// What became of a question that was to be put into a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is in the batch now.
    Claimed,
    /// It was answered before.
    Answered,
    /// It is in another batch.
    Elsewhere(Mark),
    /// It failed for good, or was in batches often enough: it is left to live calls.
    LeftToLive,
}

/// What a line of an output says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tick {
    /// The question was answered.
    Answered(CacheEntry),
    /// It failed for good.
    Failed(String),
    /// It failed, and may be asked again.
    Again(String),
}

/// A line of an output with what it cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticked {
    pub(crate) key: AnswerKey,
    pub(crate) tick: Tick,
    pub(crate) spent: LlmUsage,
}

/// Columns of a batch, in the order of [`read`].
const COLUMNS: &str = "mark, run_id, provider, endpoint, model, phase, detail, lines, owner, created_at_ms";

/// Reads a row; `None` where it is not one that this program has written.
fn read(row: &Row<'_>) -> Sql<Option<BatchRecord>> {
    let text = |column: usize| row.get::<_, String>(column);
    let (mark, run_id) = (Mark::new(text(0)?), RunId::new(text(1)?));
    let target = Target { provider: text(2)?, endpoint: text(3)?, model: text(4)? };
    let phase = Phase::parse(&text(5)?, &text(6)?);
    let (Ok(mark), Ok(run_id), Ok(phase)) = (mark, run_id, phase) else { return Ok(None) };
    Ok(Some(BatchRecord {
        mark,
        run_id,
        target,
        phase,
        lines: unsigned(row.get(7)?),
        owner: Owner::new(text(8)?),
        created_at_ms: unsigned(row.get(9)?),
    }))
}

impl ResponseCache {
    /// Runs `work` in one transaction that is durable when it returns.
    fn transact<T>(&self, work: impl FnOnce(&Connection) -> Sql<T>) -> Result<T, CacheError> {
        let mut writer = self.write();
        let run = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|error| self.failed(error))
    }

    /// Records a new batch.
    pub(crate) fn begin_batch(&self, batch: &BatchRecord) -> Result<(), CacheError> {
        self.transact(|connection| {
            let Target { provider, endpoint, model } = &batch.target;
            connection.execute(
                &format!("INSERT INTO batches ({COLUMNS}, changed_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)"),
                params![
                    batch.mark.as_str(),
                    batch.run_id.as_str(),
                    provider,
                    endpoint,
                    model,
                    batch.phase.as_str(),
                    batch.phase.detail(),
                    signed(batch.lines),
                    batch.owner.as_str(),
                    signed(batch.created_at_ms),
                ],
            )?;
            Ok(())
        })
    }

    /// Every batch, the oldest first; those of other releases in a form that is not known are left out.
    pub(crate) fn batches(&self) -> Result<Vec<BatchRecord>, CacheError> {
        let reader = self.read();
        let read_all = || {
            let mut statement =
                reader.prepare_cached(&format!("SELECT {COLUMNS} FROM batches ORDER BY number"))?;
            let found = statement.query_map([], read)?;
            found.filter_map(Result::transpose).collect::<Sql<Vec<_>>>()
        };
        read_all().map_err(|error| self.failed(error))
    }

    /// Replaces the phase of a batch, unless it is another one or another process works on it; returns whether it did. The
    /// questions of a batch that is done or dropped are free with it.
    pub(crate) fn advance_batch(
        &self,
        known: &BatchRecord,
        to: &Phase,
        now_ms: u64,
    ) -> Result<bool, CacheError> {
        self.transact(|connection| {
            let changed = connection.execute(
                "UPDATE batches SET phase = ?1, detail = ?2, lines = ?3, changed_at_ms = ?4 \
                 WHERE mark = ?5 AND owner = ?6 AND phase = ?7 AND detail = ?8",
                params![
                    to.as_str(),
                    to.detail(),
                    signed(known.lines),
                    signed(now_ms),
                    known.mark.as_str(),
                    known.owner.as_str(),
                    known.phase.as_str(),
                    known.phase.detail(),
                ],
            )?;
            if changed == 1 {
                free(connection, &known.mark, to)?;
            }
            Ok(changed == 1)
        })
    }

    /// Takes a batch over from a process that is gone; returns whether that succeeded.
    pub(crate) fn adopt_batch(&self, known: &BatchRecord, owner: &Owner) -> Result<bool, CacheError> {
        self.transact(|connection| {
            let changed = connection.execute(
                "UPDATE batches SET owner = ?1 WHERE mark = ?2 AND owner = ?3",
                params![owner.as_str(), known.mark.as_str(), known.owner.as_str()],
            )?;
            Ok(changed == 1)
        })
    }

    /// Puts questions with their prompt tokens into a batch; returns what became of each.
    pub(crate) fn claim(
        &self,
        mark: &Mark,
        questions: &[(AnswerKey, u64)],
    ) -> Result<Vec<Claim>, CacheError> {
        self.transact(|connection| {
            questions.iter().map(|question| claim(connection, mark, question)).collect()
        })
    }

    /// The prompt tokens of these questions, as they were estimated; `None`: it is not in the batch.
    pub(crate) fn in_batch(&self, mark: &Mark, keys: &[AnswerKey]) -> Result<Vec<Option<u64>>, CacheError> {
        let reader = self.read();
        let look = || {
            let mut statement = reader
                .prepare_cached("SELECT prompt_tokens FROM batch_lines WHERE key = ?1 AND mark = ?2")?;
            let one = |key: &AnswerKey| {
                statement
                    .query_row(params![key.as_bytes(), mark.as_str()], |row| row.get(0).map(unsigned))
                    .optional()
            };
            keys.iter().map(one).collect::<Sql<Vec<_>>>()
        };
        look().map_err(|error| self.failed(error))
    }

    /// Ticks questions of a batch off, in one transaction with their answers and what they cost; returns for each whether it
    /// counts: a line that comes again, or is about a question that is not in the batch, does not.
    pub(crate) fn tick(&self, batch: &BatchRecord, lines: Vec<Ticked>) -> Result<Vec<bool>, CacheError> {
        self.transact(|connection| {
            let mut counted = Vec::with_capacity(lines.len());
            let mut writes = Vec::with_capacity(lines.len());
            for line in lines {
                let counts = take_out(connection, &batch.mark, &line)?;
                counted.push(counts);
                if counts {
                    writes.push(write(&batch.run_id, line));
                }
            }
            rows::insert_all(connection, &writes)?;
            Ok(counted)
        })
    }
}

/// Frees the questions of a batch that has ended.
fn free(connection: &Connection, mark: &Mark, to: &Phase) -> Sql<()> {
    match to {
        // Who cancels a batch does not want its questions in the next one.
        Phase::Done { status: RemoteStatus::Cancelled } => {
            let live = "UPDATE batch_lines SET mark = NULL, tries = ?2 WHERE mark = ?1";
            connection.execute(live, params![mark.as_str(), signed(MOST_TRIES)])?;
        }
        Phase::Done { .. } => {
            connection.execute("UPDATE batch_lines SET mark = NULL WHERE mark = ?1", [mark.as_str()])?;
        }
        Phase::Dropped => {
            connection.execute("DELETE FROM batch_lines WHERE mark = ?1 AND tries <= 1", [mark.as_str()])?;
            let again = "UPDATE batch_lines SET mark = NULL, tries = tries - 1 WHERE mark = ?1";
            connection.execute(again, [mark.as_str()])?;
        }
        _ => {}
    }
    Ok(())
}

fn claim(connection: &Connection, mark: &Mark, (key, prompt_tokens): &(AnswerKey, u64)) -> Sql<Claim> {
    if rows::look_up(connection, key)?.is_some() {
        return Ok(Claim::Answered);
    }
    let mut statement = connection
        .prepare_cached("SELECT mark, tries, failure IS NOT NULL FROM batch_lines WHERE key = ?1")?;
    let known = statement
        .query_row([key.as_bytes()], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get(1).map(unsigned)?, row.get::<_, bool>(2)?))
        })
        .optional()?;
    let tries = match known {
        Some((Some(other), _, _)) => {
            return Ok(Mark::new(other).map_or(Claim::LeftToLive, Claim::Elsewhere));
        }
        Some((None, tries, failed)) if failed || tries >= MOST_TRIES => return Ok(Claim::LeftToLive),
        Some((None, tries, _)) => tries,
        None => 0,
    };
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO batch_lines (key, mark, tries, prompt_tokens, failure) VALUES (?1, ?2, ?3, ?4, NULL)",
    )?;
    statement.execute(params![key.as_bytes(), mark.as_str(), signed(tries + 1), signed(*prompt_tokens)])?;
    Ok(Claim::Claimed)
}

/// Takes a question out of its batch; returns whether it was in it.
fn take_out(connection: &Connection, mark: &Mark, line: &Ticked) -> Sql<bool> {
    let (key, mark) = (line.key.as_bytes(), mark.as_str());
    let changed = match &line.tick {
        Tick::Answered(_) => connection
            .prepare_cached("DELETE FROM batch_lines WHERE key = ?1 AND mark = ?2")?
            .execute(params![key, mark])?,
        Tick::Failed(reason) => connection
            .prepare_cached("UPDATE batch_lines SET mark = NULL, failure = ?3 WHERE key = ?1 AND mark = ?2")?
            .execute(params![key, mark, reason])?,
        Tick::Again(_) => connection
            .prepare_cached("UPDATE batch_lines SET mark = NULL WHERE key = ?1 AND mark = ?2")?
            .execute(params![key, mark])?,
    };
    Ok(changed == 1)
}

fn write(run_id: &RunId, line: Ticked) -> CacheWrite {
    let (entry, failure) = match line.tick {
        Tick::Answered(entry) => (Some((line.key, entry)), None),
        Tick::Failed(reason) | Tick::Again(reason) => (None, Some(reason)),
    };
    CacheWrite { run_id: run_id.clone(), spent: line.spent, entry, failure, call: None }
}
