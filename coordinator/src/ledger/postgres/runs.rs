//! Steps on runs in SQL. Each runs inside the transaction of its batch.

use std::sync::Arc;

use tokio_postgres::{Client, Row};

use domain::config::RunConfig;
use domain::ids::{ConfigHash, RunFileHash, RunId};
use domain::run::{RunPlan, RunState};

use super::step::{StepError, StepResult, damaged};
use crate::ledger::contract::{Created, FinishedRun, RunEntry, RunResources, Swap, Totals};

/// A query for runs; the columns are in the order of [`entry`].
const SELECT: &str =
    "SELECT plan, state, source, created_at_ms, fingerprint, committed, tally, wall_ms, cpu_ms,
    peak_rss_bytes, failure, run_file FROM runs";

pub(super) async fn create(client: &Client, run: Arc<RunEntry>) -> StepResult<Created> {
    let run_id = &run.plan.run_id;
    let plan = serde_json::to_string(&run.plan).map_err(|error| damaged("a plan", error))?;
    let resources = run.resources;
    let inserted = client
        .execute(
            "INSERT INTO runs
                 (run_id, plan, state, source, created_at_ms, fingerprint, wall_ms, cpu_ms, peak_rss_bytes)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (run_id) DO NOTHING",
            &[
                &run_id.as_str(),
                &plan,
                &run.state.as_str(),
                &run.source,
                &signed(run.created_at_ms),
                &run.fingerprint,
                &resources.wall_ms.map(signed),
                &resources.cpu_ms.map(signed),
                &resources.peak_rss_bytes.map(signed),
            ],
        )
        .await?;
    if inserted == 1 {
        return Ok(Created::New);
    }
    let known = find(client, run_id, "").await?;
    known.map(|known| Created::Existed(Box::new(known))).ok_or_else(|| StepError::UnknownRun(run_id.clone()))
}

pub(super) async fn one(client: &Client, run_id: RunId) -> StepResult<Option<RunEntry>> {
    find(client, &run_id, "").await
}

pub(super) async fn all(client: &Client) -> StepResult<Vec<RunEntry>> {
    let rows = client.query(&format!("{SELECT} ORDER BY run"), &[]).await?;
    rows.iter().map(entry).collect()
}

pub(super) async fn advance(
    client: &Client,
    run_id: RunId,
    from: RunState,
    to: RunState,
    finished: Option<FinishedRun>,
) -> StepResult<Swap<RunState>> {
    let fingerprint = finished.as_ref().map(|finished| finished.fingerprint.as_str());
    let run_file = finished.as_ref().map(|finished| finished.run_file.as_bytes().as_slice());
    let changed = client
        .execute(
            "UPDATE runs SET state = $1, fingerprint = coalesce($2, fingerprint),
                 run_file = coalesce($5, run_file), failure = NULL
             WHERE run_id = $3 AND state = $4",
            &[&to.as_str(), &fingerprint, &run_id.as_str(), &from.as_str(), &run_file],
        )
        .await?;
    swapped(client, run_id, changed).await
}

pub(super) async fn fail(
    client: &Client,
    run_id: RunId,
    from: RunState,
    reason: String,
) -> StepResult<Swap<RunState>> {
    // The one character that the server cannot store.
    let reason = reason.replace('\0', "\u{fffd}");
    let changed = client
        .execute(
            "UPDATE runs SET state = $1, failure = $2 WHERE run_id = $3 AND state = $4",
            &[&RunState::Failed.as_str(), &reason, &run_id.as_str(), &from.as_str()],
        )
        .await?;
    swapped(client, run_id, changed).await
}

/// Result of a change of a run's state, of which `changed` rows were affected.
async fn swapped(client: &Client, run_id: RunId, changed: u64) -> StepResult<Swap<RunState>> {
    if changed == 1 {
        return Ok(Swap::Done);
    }
    Ok(Swap::Differs(locked(client, run_id).await?.state))
}

pub(super) async fn reconfigure(
    client: &Client,
    run_id: RunId,
    config: Arc<RunConfig>,
) -> StepResult<Swap<ConfigHash>> {
    let known = locked(client, run_id).await?;
    if known.plan.config_hash != config.hash() {
        return Ok(Swap::Differs(known.plan.config_hash));
    }
    let plan = RunPlan { config: RunConfig::clone(&config), ..known.plan };
    let json = serde_json::to_string(&plan).map_err(|error| damaged("a plan", error))?;
    client.execute("UPDATE runs SET plan = $1 WHERE run_id = $2", &[&json, &plan.run_id.as_str()]).await?;
    Ok(Swap::Done)
}

pub(super) async fn record_totals(
    client: &Client,
    run_id: RunId,
    totals: Arc<Totals>,
) -> StepResult<Swap<RunState>> {
    let known = locked(client, run_id.clone()).await?;
    if known.state != RunState::Finishing && !known.state.has_ended() {
        return Ok(Swap::Differs(known.state));
    }
    let tally = serde_json::to_string(&totals.tally).map_err(|error| damaged("a tally", error))?;
    client
        .execute(
            "UPDATE runs SET committed = $1, tally = $2 WHERE run_id = $3",
            &[&i64::from(totals.committed), &tally, &run_id.as_str()],
        )
        .await?;
    Ok(Swap::Done)
}

pub(super) async fn record_resources(client: &Client, run_id: RunId, used: RunResources) -> StepResult<()> {
    let known = locked(client, run_id.clone()).await?;
    let joined = known.resources.join(used);
    client
        .execute(
            "UPDATE runs SET wall_ms = $1, cpu_ms = $2, peak_rss_bytes = $3 WHERE run_id = $4",
            &[
                &joined.wall_ms.map(signed),
                &joined.cpu_ms.map(signed),
                &joined.peak_rss_bytes.map(signed),
                &run_id.as_str(),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn remove(client: &Client, run_id: RunId) -> StepResult<Swap<RunState>> {
    let known = match locked(client, run_id.clone()).await {
        Err(StepError::UnknownRun(_)) => return Ok(Swap::Done),
        known => known?,
    };
    if known.state != RunState::Removing {
        return Ok(Swap::Differs(known.state));
    }
    let run = number_of(client, &run_id).await?;
    client.execute("DELETE FROM shards WHERE run = $1", &[&run]).await?;
    client.execute("DELETE FROM runs WHERE run = $1", &[&run]).await?;
    Ok(Swap::Done)
}

/// The number of a run in the rows of its shards.
pub(super) async fn number_of(client: &Client, run_id: &RunId) -> StepResult<i64> {
    let row = client.query_opt("SELECT run FROM runs WHERE run_id = $1", &[&run_id.as_str()]).await?;
    row.ok_or_else(|| StepError::UnknownRun(run_id.clone()))?.try_get(0).map_err(StepError::from)
}

/// A run, whose row stays as it is until the transaction ends.
async fn locked(client: &Client, run_id: RunId) -> StepResult<RunEntry> {
    find(client, &run_id, "FOR UPDATE").await?.ok_or(StepError::UnknownRun(run_id))
}

async fn find(client: &Client, run_id: &RunId, lock: &str) -> StepResult<Option<RunEntry>> {
    let row = client.query_opt(&format!("{SELECT} WHERE run_id = $1 {lock}"), &[&run_id.as_str()]).await?;
    row.as_ref().map(entry).transpose()
}

fn entry(row: &Row) -> StepResult<RunEntry> {
    let count = |column: usize| -> StepResult<Option<u64>> {
        row.try_get::<_, Option<i64>>(column)?.map(number).transpose()
    };
    let committed: Option<i64> = row.try_get(5)?;
    let tally: Option<&str> = row.try_get(6)?;
    let totals = committed.zip(tally).map(|(committed, tally)| {
        let tally = serde_json::from_str(tally).map_err(|error| damaged("a tally", error))?;
        Ok::<_, StepError>(Totals { tally, committed: number(committed)? })
    });
    let run_file: Option<&[u8]> = row.try_get(11)?;
    let run_file =
        run_file.map(|bytes| <[u8; 32]>::try_from(bytes).map_err(|error| damaged("a hash", error)));
    let (plan, state): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    Ok(RunEntry {
        plan: serde_json::from_str(plan).map_err(|error| damaged("a plan", error))?,
        state: RunState::parse(state).ok_or_else(|| damaged("a state", state))?,
        source: row.try_get(2)?,
        created_at_ms: number(row.try_get::<_, i64>(3)?)?,
        fingerprint: row.try_get(4)?,
        run_file: run_file.transpose()?.map(RunFileHash::from_bytes),
        totals: totals.transpose()?,
        resources: RunResources { wall_ms: count(7)?, cpu_ms: count(8)?, peak_rss_bytes: count(9)? },
        failure: row.try_get(10)?,
    })
}

/// Converts to the server's signed integers; values here are far below their limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A stored number.
pub(super) fn number<T: TryFrom<i64>>(stored: i64) -> StepResult<T> {
    T::try_from(stored).map_err(|_| damaged("a number", stored))
}
