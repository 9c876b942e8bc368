//! Rows of answers and usage in SQL: what a batch touches is read by one round trip, and written by another.

use std::collections::BTreeMap;

use domain::budget::{Charge, Tier, Usage, Usd};
use domain::ids::{AnswerKey, RunId};
use tokio_postgres::{Client, Error, Row, Statement};

use super::changes::{Changes, NewAnswer};
use crate::llm_gateway::response_cache::entry::{StoredAnswer, checksum, finish_word, pack};
use crate::llm_gateway::response_cache::usage::{COUNTS, MOST, signed, unsigned};
use crate::llm_gateway::response_cache::{CachedResponse, LlmUsage};

/// Columns of an answer with their types, in the order in which they are written.
const ANSWER: [(&str, &str); 17] = [
    ("key", "bytea"),
    ("endpoint", "text"),
    ("model", "text"),
    ("answered_by", "text"),
    ("content", "bytea"),
    ("finish", "text"),
    ("run_id", "text"),
    ("checksum", "bytea"),
    ("tier", "text"),
    ("billed_ticks", "bigint"),
    ("prompt_tokens", "bigint"),
    ("completion_tokens", "bigint"),
    ("reasoning_tokens", "bigint"),
    ("cached_tokens", "bigint"),
    ("total_tokens", "bigint"),
    ("estimated_tokens", "bigint"),
    ("created_at_ms", "bigint"),
];

/// Names of columns, separated by commas.
fn names<'n>(columns: impl IntoIterator<Item = &'n str>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}

/// Prepares the query for the answers of keys.
pub(super) async fn prepare_look_up(client: &Client) -> Result<Statement, Error> {
    let columns = names(ANSWER.map(|(name, _)| name));
    client.prepare(&format!("SELECT {columns} FROM answers WHERE key = ANY ($1::bytea[])")).await
}

/// Prepares the statement that writes answers and replaces those that are stored.
pub(super) async fn prepare_answers(client: &Client) -> Result<Statement, Error> {
    let columns = names(ANSWER.map(|(name, _)| name));
    let arrays = (1..).zip(ANSWER).map(|(place, (_, kind))| format!("${place}::{kind}[]"));
    let replaced = ANSWER.iter().skip(1).map(|(name, _)| format!("{name} = excluded.{name}"));
    let statement = format!(
        "INSERT INTO answers ({columns}) SELECT * FROM unnest({}) ON CONFLICT (key) DO UPDATE SET {}",
        arrays.collect::<Vec<_>>().join(", "),
        replaced.collect::<Vec<_>>().join(", ")
    );
    client.prepare(&statement).await
}

/// Prepares the statement that adds to the usage of runs.
pub(super) async fn prepare_spend(client: &Client) -> Result<Statement, Error> {
    // A sum beyond the range of an integer is an error: the bound is applied before it.
    let add = |(name, most): (&str, i64)| {
        format!("{name} = least(s.{name}, {most} - excluded.{name}) + excluded.{name}")
    };
    let sums = COUNTS.map(|name| (name, MOST)).into_iter().chain([("cost_ticks", signed(Usd::MOST.ticks()))]);
    let arrays = (2..=COUNTS.len() + 2).map(|place| format!("${place}::bigint[]"));
    let statement = format!(
        "INSERT INTO spend AS s (run_id, {}, cost_ticks) SELECT * FROM unnest($1::text[], {}) \
         ON CONFLICT (run_id) DO UPDATE SET {}",
        names(COUNTS),
        arrays.collect::<Vec<_>>().join(", "),
        sums.map(add).collect::<Vec<_>>().join(", ")
    );
    client.prepare(&statement).await
}

/// The answers of keys, without those that are damaged.
pub(super) async fn look_up(
    client: &Client,
    statement: &Statement,
    keys: &[AnswerKey],
) -> Result<BTreeMap<AnswerKey, CachedResponse>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
    let rows = client.query(statement, &[&keys]).await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let stored = stored(&row)?;
        let key = <[u8; 32]>::try_from(stored.key.as_slice()).map(AnswerKey::from_bytes).ok();
        if let Some((key, answer)) = stored.check() {
            found.insert(key, answer);
        } else {
            tracing::warn!(?key, "a cached response is damaged: the model is called again");
        }
    }
    Ok(found)
}

fn stored(row: &Row) -> Result<StoredAnswer, Error> {
    let count = |column: usize| row.try_get(column).map(unsigned);
    let billed: Option<i64> = row.try_get(9)?;
    let usage = Usage {
        prompt: count(10)?,
        completion: count(11)?,
        reasoning: count(12)?,
        cached: count(13)?,
        total: count(14)?,
        estimated: count(15)?,
    };
    Ok(StoredAnswer {
        key: row.try_get(0)?,
        packed: row.try_get(4)?,
        finish: row.try_get(5)?,
        answered_by: row.try_get(3)?,
        usage,
        charge: Charge {
            billed: billed.map(unsigned).map(Usd::from_ticks),
            tier: Tier::read(row.try_get(8)?),
        },
        created_at_ms: count(16)?,
        checksum: row.try_get(7)?,
    })
}

/// Writes the answers of a batch.
pub(super) async fn write_answers(
    client: &Client,
    statement: &Statement,
    changes: &Changes<'_>,
) -> Result<(), Error> {
    let answers: Vec<(&AnswerKey, &NewAnswer<'_>)> = changes.answers.iter().collect();
    if answers.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = answers.iter().map(|(key, _)| key.as_bytes().as_slice()).collect();
    let texts = |of: fn(&NewAnswer<'_>) -> String| answers.iter().map(|(_, new)| of(new)).collect::<Vec<_>>();
    let counts =
        |of: fn(&NewAnswer<'_>) -> u64| answers.iter().map(|(_, new)| signed(of(new))).collect::<Vec<i64>>();
    let contents: Vec<Vec<u8>> = answers.iter().map(|(_, new)| pack(&new.answer.content)).collect();
    let checksums: Vec<Vec<u8>> =
        answers.iter().map(|(key, new)| checksum(key, &new.answer).to_vec()).collect();
    let billed: Vec<Option<i64>> = answers
        .iter()
        .map(|(_, new)| new.answer.charge.billed.map(|billed| signed(billed.ticks())))
        .collect();
    client
        .execute(
            statement,
            &[
                &keys,
                &texts(|new| super::changes::text(&new.entry.provider)),
                &texts(|new| super::changes::text(&new.entry.model)),
                &texts(|new| new.answer.model.clone()),
                &contents,
                &texts(|new| finish_word(&new.answer.finish).to_owned()),
                &texts(|new| new.run_id.as_str().to_owned()),
                &checksums,
                &texts(|new| new.answer.charge.tier.as_str().to_owned()),
                &billed,
                &counts(|new| new.answer.usage.prompt),
                &counts(|new| new.answer.usage.completion),
                &counts(|new| new.answer.usage.reasoning),
                &counts(|new| new.answer.usage.cached),
                &counts(|new| new.answer.usage.total),
                &counts(|new| new.answer.usage.estimated),
                &counts(|new| new.entry.created_at_ms),
            ],
        )
        .await?;
    Ok(())
}

/// Adds the usage of a batch to that of its runs.
pub(super) async fn add_spent(
    client: &Client,
    statement: &Statement,
    changes: &Changes<'_>,
) -> Result<(), Error> {
    let (runs, spent): (Vec<&str>, Vec<&LlmUsage>) =
        changes.sums.spent().map(|(run_id, spent)| (run_id.as_str(), spent)).unzip();
    if runs.is_empty() {
        return Ok(());
    }
    let mut columns = vec![Vec::with_capacity(runs.len()); COUNTS.len()];
    for spent in &spent {
        for (column, count) in columns.iter_mut().zip(counts(spent)) {
            column.push(signed(count).min(MOST));
        }
    }
    columns.push(spent.iter().map(|spent| signed(spent.cost.ticks())).collect());
    let columns = columns.iter().map(|column| column as &(dyn tokio_postgres::types::ToSql + Sync));
    let parameters: Vec<_> = std::iter::once(&runs as _).chain(columns).collect();
    client.execute(statement, &parameters).await?;
    Ok(())
}

const fn counts(spent: &LlmUsage) -> [u64; COUNTS.len()] {
    let Usage { prompt, completion, reasoning, cached, total, estimated } = spent.usage;
    let LlmUsage { calls, failed, throttled, reused, unpriced, .. } = *spent;
    [calls, failed, throttled, reused, prompt, completion, reasoning, cached, total, estimated, unpriced]
}

/// Usage of runs; those without usage are left out.
pub(super) async fn spent_of(client: &Client, runs: &[RunId]) -> Result<BTreeMap<String, LlmUsage>, Error> {
    let runs: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    let query = format!("SELECT run_id, {}, cost_ticks FROM spend WHERE run_id = ANY ($1)", names(COUNTS));
    let rows = client.query(&query, &[&runs]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, usage(row)?))).collect()
}

/// The usage in a row, after the id of its run.
fn usage(row: &Row) -> Result<LlmUsage, Error> {
    let count = |column: usize| row.try_get(column).map(unsigned);
    let usage = Usage {
        prompt: count(5)?,
        completion: count(6)?,
        reasoning: count(7)?,
        cached: count(8)?,
        total: count(9)?,
        estimated: count(10)?,
    };
    Ok(LlmUsage {
        calls: count(1)?,
        failed: count(2)?,
        throttled: count(3)?,
        reused: count(4)?,
        usage,
        cost: count(12).map(Usd::from_ticks)?,
        unpriced: count(11)?,
    })
}
