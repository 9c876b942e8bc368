//! Calls under way in SQL: recorded before their permits are sent, deleted with their results, taken up by the next process.

use std::collections::BTreeSet;

use domain::budget::Usd;
use domain::ids::{AnswerKey, RunId, WorkerName};
use tokio_postgres::{Client, Error, Row, Statement};

use super::changes::Changes;
use crate::llm_gateway::response_cache::usage::{signed, unsigned};
use crate::llm_gateway::response_cache::{CallId, OrphanedCall, RecordedCall};

/// Records calls. Done twice, it changes nothing.
pub(super) async fn prepare_begin(client: &Client) -> Result<Statement, Error> {
    client
        .prepare(
            "INSERT INTO calls \
             (call, key, run_id, worker, tokens, estimated_ticks, started_at_ms, deadline_ms, process) \
             SELECT t.*, $9::bigint FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], \
             $6::bigint[], $7::bigint[], $8::bigint[]) AS t \
             ON CONFLICT (call) DO UPDATE SET key = excluded.key, run_id = excluded.run_id, worker = excluded.worker, \
             tokens = excluded.tokens, estimated_ticks = excluded.estimated_ticks, \
             started_at_ms = excluded.started_at_ms, deadline_ms = excluded.deadline_ms, process = excluded.process",
        )
        .await
}

/// Deletes calls.
pub(super) async fn prepare_end(client: &Client) -> Result<Statement, Error> {
    client.prepare("DELETE FROM calls WHERE call = ANY ($1::bigint[])").await
}

/// Which of some calls have a row.
pub(super) async fn prepare_open(client: &Client) -> Result<Statement, Error> {
    client.prepare("SELECT call FROM calls WHERE call = ANY ($1::bigint[])").await
}

fn numbers<'c>(calls: impl IntoIterator<Item = &'c CallId>) -> Vec<i64> {
    calls.into_iter().map(|call| signed(call.number())).collect()
}

/// Which of these calls have a row.
pub(super) async fn open(
    client: &Client,
    statement: &Statement,
    calls: &[CallId],
) -> Result<BTreeSet<CallId>, Error> {
    if calls.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = client.query(statement, &[&numbers(calls)]).await?;
    rows.iter().map(|row| row.try_get(0).map(unsigned).map(CallId::new)).collect()
}

/// Deletes the calls of a batch that have ended.
pub(super) async fn end(client: &Client, statement: &Statement, changes: &Changes<'_>) -> Result<(), Error> {
    if !changes.ended.is_empty() {
        client.execute(statement, &[&numbers(&changes.ended)]).await?;
    }
    Ok(())
}

/// Records the calls of a batch.
pub(super) async fn begin(
    client: &Client,
    statement: &Statement,
    changes: &Changes<'_>,
    process: i64,
) -> Result<(), Error> {
    if changes.begun.is_empty() {
        return Ok(());
    }
    let calls: Vec<&RecordedCall> = changes.begun.values().copied().collect();
    let count =
        |of: fn(&RecordedCall) -> u64| calls.iter().map(|call| signed(of(call))).collect::<Vec<i64>>();
    let keys: Vec<&[u8]> = calls.iter().map(|call| call.key.as_bytes().as_slice()).collect();
    let runs: Vec<&str> = calls.iter().map(|call| call.run_id.as_str()).collect();
    let workers: Vec<&str> = calls.iter().map(|call| call.worker.as_str()).collect();
    client
        .execute(
            statement,
            &[
                &count(|call| call.id.number()),
                &keys,
                &runs,
                &workers,
                &count(|call| call.tokens),
                &count(|call| call.estimated_cost.ticks()),
                &count(|call| call.started_at_ms),
                &count(|call| call.deadline_ms),
                &process,
            ],
        )
        .await?;
    Ok(())
}

/// Gives `process` the calls of all others: one coordinator at a time permits calls. Returns them.
pub(super) async fn take_up(client: &Client, process: i64) -> Result<Vec<OrphanedCall>, Error> {
    let rows = client
        .query(
            "SELECT call, key, run_id, worker, tokens, estimated_ticks, started_at_ms, deadline_ms FROM calls \
             WHERE process <> $1 ORDER BY call",
            &[&process],
        )
        .await?;
    let mut taken = Vec::new();
    for row in &rows {
        if let Some(call) = read(row)? {
            // Workers may live longer than their coordinator.
            taken.push(OrphanedCall { call, may_return: true });
        } else {
            tracing::warn!("a call under way cannot be read: it is not counted");
            client.execute("DELETE FROM calls WHERE call = $1", &[&row.try_get::<_, i64>(0)?]).await?;
        }
    }
    client.execute("UPDATE calls SET process = $1 WHERE process <> $1", &[&process]).await?;
    client.execute("DELETE FROM processes WHERE process <> $1", &[&process]).await?;
    Ok(taken)
}

/// Reads a row; `None` where it is not one that this program has written.
fn read(row: &Row) -> Result<Option<RecordedCall>, Error> {
    let count = |column: usize| row.try_get(column).map(unsigned);
    let text = |column: usize| row.try_get::<_, String>(column);
    let key = <[u8; 32]>::try_from(row.try_get::<_, Vec<u8>>(1)?);
    let (Ok(key), Ok(run_id), Ok(worker)) = (key, RunId::new(text(2)?), WorkerName::new(text(3)?)) else {
        return Ok(None);
    };
    Ok(Some(RecordedCall {
        id: CallId::new(count(0)?),
        key: AnswerKey::from_bytes(key),
        run_id,
        worker,
        tokens: count(4)?,
        estimated_cost: count(5).map(Usd::from_ticks)?,
        started_at_ms: count(6)?,
        deadline_ms: count(7)?,
    }))
}
