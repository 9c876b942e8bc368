//! Steps of the contract in SQL. Each runs inside the transaction of its batch.

use rusqlite::{Connection, OptionalExtension, Row, params};

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunFileHash, RunId, ShardIndex, WorkerName};
use domain::run::{RunPlan, RunState, Shard};

use super::open::classify;
use crate::ledger::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, LedgerError, RunEntry, RunResources,
    ShardEntry, Swap, Totals,
};

/// An error of a step, without the path of the ledger.
#[derive(Debug)]
pub(super) enum StepError {
    Sqlite(rusqlite::Error),
    Damaged(String),
    UnknownRun(RunId),
}

impl StepError {
    pub(super) fn at(self, place: &str) -> LedgerError {
        match self {
            Self::Sqlite(error) => classify(&error, place),
            Self::Damaged(reason) => LedgerError::Unusable { place: place.to_owned(), reason },
            Self::UnknownRun(run_id) => LedgerError::UnknownRun(run_id),
        }
    }
}

impl From<rusqlite::Error> for StepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Error for a stored value that is not valid.
fn damaged(what: &str) -> impl FnOnce(String) -> StepError {
    move |reason| StepError::Damaged(format!("{what} in it cannot be read ({reason})"))
}

type StepResult<T> = Result<T, StepError>;

const RUN_COLUMNS: &str = "plan, state, source, created_at_ms, fingerprint, committed, tally, wall_ms, cpu_ms, \
    peak_rss_bytes, failure, run_file";

pub(super) fn create_run(connection: &Connection, run: &RunEntry) -> StepResult<Created> {
    let plan = serde_json::to_string(&run.plan).map_err(|error| damaged("a plan")(error.to_string()))?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO runs (run_id, plan, state, source, created_at_ms, fingerprint, wall_ms, cpu_ms, peak_rss_bytes)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (run_id) DO NOTHING",
        )?
        .execute(params![
            run.plan.run_id.as_str(),
            plan,
            run.state.as_str(),
            run.source,
            signed(run.created_at_ms),
            run.fingerprint,
            run.resources.wall_ms.map(signed),
            run.resources.cpu_ms.map(signed),
            run.resources.peak_rss_bytes.map(signed)
        ])?;
    if inserted == 1 {
        return Ok(Created::New);
    }
    let known = self::run(connection, &run.plan.run_id)?;
    known
        .map(|known| Created::Existed(Box::new(known)))
        .ok_or_else(|| StepError::UnknownRun(run.plan.run_id.clone()))
}

pub(super) fn run(connection: &Connection, run_id: &RunId) -> StepResult<Option<RunEntry>> {
    connection
        .prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?"))?
        .query_row([run_id.as_str()], run_row)
        .optional()?
        .map(run_entry)
        .transpose()
}

pub(super) fn runs(connection: &Connection) -> StepResult<Vec<RunEntry>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs ORDER BY run"))?;
    let rows = statement.query_map([], run_row)?;
    rows.map(|row| run_entry(row?)).collect()
}

pub(super) fn advance(
    connection: &Connection,
    run_id: &RunId,
    from: RunState,
    to: RunState,
    finished: Option<&FinishedRun>,
) -> StepResult<Swap<RunState>> {
    let changed = connection
        .prepare_cached(
            "UPDATE runs SET state = ?, fingerprint = coalesce(?, fingerprint), \
             run_file = coalesce(?, run_file), failure = NULL \
             WHERE run_id = ? AND state = ?",
        )?
        .execute(params![
            to.as_str(),
            finished.map(|finished| finished.fingerprint.as_str()),
            finished.map(|finished| finished.run_file.as_bytes().as_slice()),
            run_id.as_str(),
            from.as_str()
        ])?;
    swapped(connection, run_id, changed)
}

pub(super) fn fail(
    connection: &Connection,
    run_id: &RunId,
    from: RunState,
    reason: &str,
) -> StepResult<Swap<RunState>> {
    let changed = connection
        .prepare_cached("UPDATE runs SET state = ?, failure = ? WHERE run_id = ? AND state = ?")?
        .execute(params![RunState::Failed.as_str(), reason, run_id.as_str(), from.as_str()])?;
    swapped(connection, run_id, changed)
}

/// Result of a change of a run's state, of which `changed` rows were affected.
fn swapped(connection: &Connection, run_id: &RunId, changed: usize) -> StepResult<Swap<RunState>> {
    if changed == 1 {
        return Ok(Swap::Done);
    }
    let known = run(connection, run_id)?;
    known.map(|known| Swap::Differs(known.state)).ok_or_else(|| StepError::UnknownRun(run_id.clone()))
}

pub(super) fn reconfigure(
    connection: &Connection,
    run_id: &RunId,
    config: RunConfig,
) -> StepResult<Swap<ConfigHash>> {
    let known = run(connection, run_id)?.ok_or_else(|| StepError::UnknownRun(run_id.clone()))?;
    if known.plan.config_hash != config.hash() {
        return Ok(Swap::Differs(known.plan.config_hash));
    }
    let plan = RunPlan { config, ..known.plan };
    let plan = serde_json::to_string(&plan).map_err(|error| damaged("a plan")(error.to_string()))?;
    connection
        .prepare_cached("UPDATE runs SET plan = ? WHERE run_id = ?")?
        .execute(params![plan, run_id.as_str()])?;
    Ok(Swap::Done)
}

const SHARD_COLUMNS: &str =
    "shard, len, token, attempt, lost, worker, part_key, part_bytes, part_hash, tally";

pub(super) fn shards(
    connection: &Connection,
    run_id: &RunId,
    first: ShardIndex,
    limit: usize,
) -> StepResult<Vec<ShardEntry>> {
    let run = run_key(connection, run_id)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {SHARD_COLUMNS} FROM shards WHERE run = ? AND shard >= ? ORDER BY shard LIMIT ?"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![run, first.0, limit], shard_row)?;
    rows.map(|row| shard_entry(row?)).collect()
}

pub(super) fn lease(
    connection: &Connection,
    run_id: &RunId,
    leased: &Leased,
) -> StepResult<Swap<Option<ShardEntry>>> {
    let run = run_key(connection, run_id)?;
    let known = shard(connection, run, leased.shard.index)?;
    let token = known.as_ref().map_or(FencingToken::default(), |known| known.token);
    let committed = known.as_ref().is_some_and(|known| known.part.is_some());
    let longer = known.as_ref().is_some_and(|known| known.shard.len < leased.shard.len);
    if committed || longer || token != leased.previous || leased.token <= token {
        return Ok(Swap::Differs(known));
    }
    // The batch's transaction holds the write lock, so no other step comes between read and write.
    connection
        .prepare_cached(
            "INSERT INTO shards (run, shard, len, token, attempt, lost, worker) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (run, shard) DO UPDATE SET
                len = excluded.len, token = excluded.token, attempt = excluded.attempt, lost = excluded.lost,
                worker = excluded.worker",
        )?
        .execute(params![
            run,
            leased.shard.index.0,
            leased.shard.len,
            signed(leased.token.0),
            leased.attempt,
            leased.lost,
            leased.worker.as_str()
        ])?;
    Ok(Swap::Done)
}

pub(super) fn commit(
    connection: &Connection,
    run_id: &RunId,
    index: ShardIndex,
    token: FencingToken,
    part: &CommittedPart,
) -> StepResult<CommitVerdict> {
    let run = run_key(connection, run_id)?;
    let tally = serde_json::to_string(&part.tally).map_err(|error| damaged("a tally")(error.to_string()))?;
    let changed = connection
        .prepare_cached(
            "UPDATE shards SET part_key = ?, part_bytes = ?, part_hash = ?, tally = ?
             WHERE run = ? AND shard = ? AND token = ? AND part_key IS NULL",
        )?
        .execute(params![
            part.key,
            signed(part.bytes),
            part.hash.as_bytes().as_slice(),
            tally,
            run,
            index.0,
            signed(token.0)
        ])?;
    if changed == 1 {
        return Ok(CommitVerdict::Committed);
    }
    Ok(match shard(connection, run, index)? {
        Some(known) if known.token == token => CommitVerdict::Already,
        known => CommitVerdict::Stale { current: known.map_or(FencingToken::default(), |known| known.token) },
    })
}

pub(super) fn reopen(
    connection: &Connection,
    run_id: &RunId,
    index: ShardIndex,
    part: PartHash,
) -> StepResult<Swap<Option<ShardEntry>>> {
    let run = run_key(connection, run_id)?;
    let changed = connection
        .prepare_cached(
            "UPDATE shards SET part_key = NULL, part_bytes = NULL, part_hash = NULL, tally = NULL
             WHERE run = ? AND shard = ? AND part_hash = ?",
        )?
        .execute(params![run, index.0, part.as_bytes().as_slice()])?;
    Ok(if changed == 1 { Swap::Done } else { Swap::Differs(shard(connection, run, index)?) })
}

pub(super) fn check(connection: &Connection) -> StepResult<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(StepError::Damaged(format!("it is damaged: {found}")))
}

pub(super) fn record_totals(
    connection: &Connection,
    run_id: &RunId,
    totals: &Totals,
) -> StepResult<Swap<RunState>> {
    let known = run(connection, run_id)?.ok_or_else(|| StepError::UnknownRun(run_id.clone()))?;
    if known.state != RunState::Finishing && !known.state.has_ended() {
        return Ok(Swap::Differs(known.state));
    }
    let tally =
        serde_json::to_string(&totals.tally).map_err(|error| damaged("a tally")(error.to_string()))?;
    connection
        .prepare_cached("UPDATE runs SET committed = ?, tally = ? WHERE run_id = ?")?
        .execute(params![totals.committed, tally, run_id.as_str()])?;
    Ok(Swap::Done)
}

pub(super) fn record_resources(
    connection: &Connection,
    run_id: &RunId,
    used: RunResources,
) -> StepResult<()> {
    // max() of several values is NULL where one of them is, so unknown figures stay unknown.
    let changed = connection
        .prepare_cached(
            "UPDATE runs SET wall_ms = max(wall_ms, ?), cpu_ms = max(cpu_ms, ?), peak_rss_bytes = max(peak_rss_bytes, ?)
             WHERE run_id = ?",
        )?
        .execute(params![
            used.wall_ms.map(signed),
            used.cpu_ms.map(signed),
            used.peak_rss_bytes.map(signed),
            run_id.as_str()
        ])?;
    if changed == 1 { Ok(()) } else { Err(StepError::UnknownRun(run_id.clone())) }
}

pub(super) fn remove_run(connection: &Connection, run_id: &RunId) -> StepResult<Swap<RunState>> {
    let Some(known) = run(connection, run_id)? else { return Ok(Swap::Done) };
    if known.state != RunState::Removing {
        return Ok(Swap::Differs(known.state));
    }
    let run = run_key(connection, run_id)?;
    connection.prepare_cached("DELETE FROM shards WHERE run = ?")?.execute([run])?;
    connection.prepare_cached("DELETE FROM runs WHERE run = ?")?.execute([run])?;
    Ok(Swap::Done)
}

fn run_key(connection: &Connection, run_id: &RunId) -> StepResult<i64> {
    connection
        .prepare_cached("SELECT run FROM runs WHERE run_id = ?")?
        .query_row([run_id.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StepError::UnknownRun(run_id.clone()))
}

fn shard(connection: &Connection, run: i64, index: ShardIndex) -> StepResult<Option<ShardEntry>> {
    connection
        .prepare_cached(&format!("SELECT {SHARD_COLUMNS} FROM shards WHERE run = ? AND shard = ?"))?
        .query_row(params![run, index.0], shard_row)
        .optional()?
        .map(shard_entry)
        .transpose()
}

struct RunRow {
    plan: String,
    state: String,
    source: String,
    created_at_ms: i64,
    fingerprint: Option<String>,
    totals: Option<(u32, String)>,
    resources: RunResources,
    failure: Option<String>,
    run_file: Option<[u8; 32]>,
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let unsigned =
        |column: usize| row.get::<_, Option<i64>>(column).map(|value| value.map(i64::unsigned_abs));
    let (committed, tally): (Option<u32>, Option<String>) = (row.get(5)?, row.get(6)?);
    Ok(RunRow {
        plan: row.get(0)?,
        state: row.get(1)?,
        source: row.get(2)?,
        created_at_ms: row.get(3)?,
        fingerprint: row.get(4)?,
        totals: committed.zip(tally),
        resources: RunResources { wall_ms: unsigned(7)?, cpu_ms: unsigned(8)?, peak_rss_bytes: unsigned(9)? },
        failure: row.get(10)?,
        run_file: row.get(11)?,
    })
}

fn run_entry(row: RunRow) -> StepResult<RunEntry> {
    let totals = row.totals.map(|(committed, tally)| {
        let tally = serde_json::from_str(&tally).map_err(|error| damaged("a tally")(error.to_string()))?;
        Ok::<_, StepError>(Totals { tally, committed })
    });
    Ok(RunEntry {
        plan: serde_json::from_str(&row.plan).map_err(|error| damaged("a plan")(error.to_string()))?,
        state: RunState::parse(&row.state).ok_or_else(|| damaged("a state")(row.state))?,
        source: row.source,
        created_at_ms: row.created_at_ms.unsigned_abs(),
        fingerprint: row.fingerprint,
        run_file: row.run_file.map(RunFileHash::from_bytes),
        totals: totals.transpose()?,
        resources: row.resources,
        failure: row.failure,
    })
}

struct ShardRow {
    shard: Shard,
    token: i64,
    attempt: u32,
    lost: u32,
    worker: String,
    part: Option<(String, i64, Vec<u8>, String)>,
}

fn shard_row(row: &Row<'_>) -> rusqlite::Result<ShardRow> {
    let key: Option<String> = row.get(6)?;
    let part = match key {
        None => None,
        Some(key) => Some((key, row.get(7)?, row.get(8)?, row.get(9)?)),
    };
    Ok(ShardRow {
        shard: Shard { index: ShardIndex(row.get(0)?), len: row.get(1)? },
        token: row.get(2)?,
        attempt: row.get(3)?,
        lost: row.get(4)?,
        worker: row.get(5)?,
        part,
    })
}

fn shard_entry(row: ShardRow) -> StepResult<ShardEntry> {
    let part = row
        .part
        .map(|(key, bytes, hash, tally)| {
            let hash: [u8; 32] = hash.try_into().map_err(|_| damaged("a hash")("not 32 bytes".to_owned()))?;
            let tally =
                serde_json::from_str(&tally).map_err(|error| damaged("a tally")(error.to_string()))?;
            Ok::<_, StepError>(CommittedPart {
                key,
                bytes: bytes.unsigned_abs(),
                hash: PartHash::from_bytes(hash),
                tally,
            })
        })
        .transpose()?;
    Ok(ShardEntry {
        shard: row.shard,
        token: FencingToken(row.token.unsigned_abs()),
        attempt: row.attempt,
        lost: row.lost,
        worker: WorkerName::new(row.worker).map_err(|error| damaged("a worker")(error.to_string()))?,
        part,
    })
}

/// Converts to `SQLite`'s signed integers; values here are far below their limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
