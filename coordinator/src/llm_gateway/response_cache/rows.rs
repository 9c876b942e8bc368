//! Rows of the cache's file. Every function works on a connection that its caller holds.

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::budget::{Charge, Tier, Usage, Usd};
use domain::ids::{AnswerKey, DocumentHash, RunId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::entry::{StoredAnswer, checksum, finish_word, pack};
use super::sums::Sums;
use super::usage::{COUNTS, MOST, signed, unsigned};
use super::{CacheEntry, CacheWrite, CachedResponse, Counted, LlmUsage, calls, failures};

type Sql<T> = rusqlite::Result<T>;

/// Columns of an answer, in the order of [`read`].
pub(super) const COLUMNS: &str = "key, endpoint, model, answered_by, content, finish, prompt_tokens, \
    completion_tokens, reasoning_tokens, cached_tokens, total_tokens, created_at_ms, run_id, checksum, estimated_tokens, \
    billed_ticks, tier";

/// Row to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CachedRow {
    pub(super) key: AnswerKey,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) run_id: String,
    pub(super) stored: CachedResponse,
}

/// Reads a row; `Ok(None)` where its checksum is wrong.
pub(super) fn read(row: &Row<'_>) -> Sql<Option<CachedRow>> {
    let stored = StoredAnswer {
        key: row.get(0)?,
        packed: row.get(4)?,
        finish: row.get(5)?,
        answered_by: row.get(3)?,
        usage: usage(row, 6, 14)?,
        charge: charge(row, 15)?,
        created_at_ms: unsigned(row.get(11)?),
        checksum: row.get(13)?,
    };
    let Some((key, stored)) = stored.check() else { return Ok(None) };
    Ok(Some(CachedRow { key, provider: row.get(1)?, model: row.get(2)?, run_id: row.get(12)?, stored }))
}

fn usage(row: &Row<'_>, first: usize, estimated: usize) -> Sql<Usage> {
    let count = |column: usize| row.get(column).map(unsigned);
    Ok(Usage {
        prompt: count(first)?,
        completion: count(first + 1)?,
        reasoning: count(first + 2)?,
        cached: count(first + 3)?,
        total: count(first + 4)?,
        estimated: count(estimated)?,
    })
}

fn charge(row: &Row<'_>, first: usize) -> Sql<Charge> {
    let billed: Option<i64> = row.get(first)?;
    let tier: String = row.get(first + 1)?;
    Ok(Charge { billed: billed.map(unsigned).map(Usd::from_ticks), tier: Tier::read(&tier) })
}

/// Cached response of a key. A damaged one counts as missing.
pub(super) fn look_up(connection: &Connection, key: &AnswerKey) -> Sql<Option<CachedResponse>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM answers WHERE key = ?1"))?;
    let found = statement.query_row([key.as_bytes()], read).optional()?;
    if matches!(found, Some(None)) {
        tracing::warn!(%key, "a cached response is damaged: the model is called again");
    }
    Ok(found.flatten().map(|kept| kept.stored))
}

/// The verdicts of a server that are known among those about `texts`. A damaged one counts as missing.
pub(super) fn verdicts(
    connection: &Connection,
    server: &ServerIdentity,
    texts: &[DocumentHash],
) -> Sql<Vec<(DocumentHash, ServerVerdict)>> {
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT verdict FROM verdicts JOIN servers USING (server) \
         WHERE version = ?1 AND flags = ?2 AND document = ?3",
    )?;
    for text in texts {
        let found_row =
            statement.query_row(params![server.version(), server.flags(), text.as_bytes()], |row| row.get(0));
        let verdict: Option<String> = found_row.optional()?;
        let verdict = verdict.and_then(|verdict| serde_json::from_str(&verdict).ok());
        found.extend(verdict.map(|verdict| (*text, verdict)));
    }
    Ok(found)
}

/// Writes an answer, unless one is stored that it does not replace. Returns whether the same answer was stored before.
pub(super) fn insert(
    connection: &Connection,
    key: &AnswerKey,
    entry: &CacheEntry,
    run_id: &str,
) -> Sql<bool> {
    if let Some(known) = look_up(connection, key)?.filter(|known| !entry.replaces(known)) {
        return Ok(known.answer == entry.answer);
    }
    write(connection, key, entry, run_id)?;
    Ok(false)
}

/// Writes an answer, and replaces a stored one.
pub(super) fn write(connection: &Connection, key: &AnswerKey, entry: &CacheEntry, run_id: &str) -> Sql<()> {
    let answer = &entry.answer;
    let Usage { prompt, completion, reasoning, cached, total, estimated } = answer.usage;
    let mut statement = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO answers ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    ))?;
    statement.execute(params![
        key.as_bytes(),
        entry.provider,
        entry.model,
        answer.model,
        pack(&answer.content),
        finish_word(&answer.finish),
        signed(prompt),
        signed(completion),
        signed(reasoning),
        signed(cached),
        signed(total),
        signed(entry.created_at_ms),
        run_id,
        checksum(key, answer),
        signed(estimated),
        answer.charge.billed.map(|billed| signed(billed.ticks())),
        answer.charge.tier.as_str(),
    ])?;
    Ok(())
}

/// Writes the result of a call and deletes its row; returns what of it counts.
pub(super) fn end<'b>(connection: &Connection, sums: &mut Sums<'b>, write: &'b CacheWrite) -> Sql<Counted> {
    let is_open = match write.call {
        Some(call) => calls::delete(connection, call)?,
        None => true,
    };
    let is_stored = match &write.entry {
        Some((key, entry)) => insert(connection, key, entry, write.run_id.as_str())?,
        None => true,
    };
    Ok(sums.count(write, is_open, is_stored))
}

/// Adds the sums to the usage of the runs.
pub(super) fn add(connection: &Connection, sums: &Sums<'_>) -> Sql<()> {
    for (run_id, spent) in sums.spent() {
        add_spent(connection, run_id, spent)?;
    }
    for (run_id, counts) in &sums.failed {
        failures::add(connection, run_id, counts)?;
    }
    Ok(())
}

/// Writes results of which each counts.
pub(super) fn insert_all(connection: &Connection, batch: &[CacheWrite]) -> Sql<()> {
    let mut sums = Sums::default();
    for write in batch {
        end(connection, &mut sums, write)?;
    }
    add(connection, &sums)
}

fn add_spent(connection: &Connection, run_id: &RunId, spent: &LlmUsage) -> Sql<()> {
    let Usage { prompt, completion, reasoning, cached, total, estimated } = spent.usage;
    // A sum beyond the range of an integer becomes a REAL, which a STRICT column refuses: `min` keeps it an integer.
    let mut statement = connection.prepare_cached(
        "INSERT INTO spend (run_id, calls, failed, throttled, reused, prompt_tokens, completion_tokens, reasoning_tokens, \
         cached_tokens, total_tokens, cost_ticks, estimated_tokens, unpriced_calls) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?13, ?14) ON CONFLICT (run_id) DO UPDATE SET \
         calls = min(calls + ?2, ?12), failed = min(failed + ?3, ?12), throttled = min(throttled + ?4, ?12), \
         reused = min(reused + ?5, ?12), prompt_tokens = min(prompt_tokens + ?6, ?12), \
         completion_tokens = min(completion_tokens + ?7, ?12), reasoning_tokens = min(reasoning_tokens + ?8, ?12), \
         cached_tokens = min(cached_tokens + ?9, ?12), total_tokens = min(total_tokens + ?10, ?12), \
         cost_ticks = min(cost_ticks + ?11, ?15), estimated_tokens = min(estimated_tokens + ?13, ?12), \
         unpriced_calls = min(unpriced_calls + ?14, ?12)",
    )?;
    let bounded = |count: u64| signed(count).min(MOST);
    statement.execute(params![
        run_id.as_str(),
        bounded(spent.calls),
        bounded(spent.failed),
        bounded(spent.throttled),
        bounded(spent.reused),
        bounded(prompt),
        bounded(completion),
        bounded(reasoning),
        bounded(cached),
        bounded(total),
        signed(spent.cost.ticks()),
        MOST,
        bounded(estimated),
        bounded(spent.unpriced),
        signed(Usd::MOST.ticks()),
    ])?;
    Ok(())
}

/// Sets usage that is out of bounds to its bound; returns for how many runs. An earlier release stored what a provider or a
/// worker sent, and could not add anything to it any more.
pub(super) fn repair(connection: &Connection) -> Sql<usize> {
    let bounded = |(column, most): (&str, i64)| {
        let set = format!("{column} = min(max({column}, 0), {most})");
        (set, format!("{column} NOT BETWEEN 0 AND {most}"))
    };
    let counts = COUNTS.iter().map(|column| (*column, MOST));
    let columns = counts.chain([("cost_ticks", signed(Usd::MOST.ticks()))]);
    let (set, bad): (Vec<String>, Vec<String>) = columns.map(bounded).unzip();
    connection.execute(&format!("UPDATE spend SET {} WHERE {}", set.join(", "), bad.join(" OR ")), [])
}

/// Usage of a run; `None` where it has none.
pub(super) fn spent_of(connection: &Connection, run_id: &RunId) -> Sql<Option<LlmUsage>> {
    let mut statement = connection.prepare_cached(
        "SELECT calls, failed, throttled, reused, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, \
         total_tokens, cost_ticks, estimated_tokens, unpriced_calls FROM spend WHERE run_id = ?1",
    )?;
    let read = |row: &Row<'_>| {
        Ok(LlmUsage {
            calls: row.get(0).map(unsigned)?,
            failed: row.get(1).map(unsigned)?,
            throttled: row.get(2).map(unsigned)?,
            reused: row.get(3).map(unsigned)?,
            usage: usage(row, 4, 10)?,
            cost: row.get(9).map(unsigned).map(Usd::from_ticks)?,
            unpriced: row.get(11).map(unsigned)?,
        })
    };
    statement.query_row([run_id.as_str()], read).optional()
}
