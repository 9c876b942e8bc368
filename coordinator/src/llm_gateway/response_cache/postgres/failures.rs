//! Why calls gave no answer, in SQL.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::RunId;
use tokio_postgres::{Client, Error};

use super::changes::{Changes, Held};
use crate::llm_gateway::response_cache::FailureCounts;
use crate::llm_gateway::response_cache::usage::{MOST, signed, unsigned};

/// Labels of the failures of runs.
pub(super) async fn labels(
    client: &Client,
    runs: &[&RunId],
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if runs.is_empty() {
        return Ok(labels);
    }
    let runs: Vec<&str> = runs.iter().map(|run_id| run_id.as_str()).collect();
    let rows = client.query("SELECT run_id, label FROM failures WHERE run_id = ANY ($1)", &[&runs]).await?;
    for row in &rows {
        labels.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?);
    }
    Ok(labels)
}

/// Adds the failures of a batch to those of its runs.
pub(super) async fn add(client: &Client, changes: &Changes<'_>, held: &Held) -> Result<(), Error> {
    let (mut runs, mut labels, mut examples, mut calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (run_id, counts) in &changes.sums.failed {
        let known = held.labels.get(run_id.as_str()).cloned().unwrap_or_default();
        for (label, (example, count)) in counts.beside(known).0 {
            runs.push(run_id.as_str());
            labels.push(label);
            examples.push(example);
            calls.push(signed(count).min(MOST));
        }
    }
    if runs.is_empty() {
        return Ok(());
    }
    client
        .execute(
            "INSERT INTO failures AS f (run_id, label, example, calls) \
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
             ON CONFLICT (run_id, label) DO UPDATE SET calls = least(f.calls + excluded.calls, $5)",
            &[&runs, &labels, &examples, &calls, &MOST],
        )
        .await?;
    Ok(())
}

/// Counts of a run.
pub(super) async fn of(client: &Client, run_id: &RunId) -> Result<FailureCounts, Error> {
    let query = "SELECT label, example, calls FROM failures WHERE run_id = $1";
    let rows = client.query(query, &[&run_id.as_str()]).await?;
    let read =
        |row: &tokio_postgres::Row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2).map(unsigned)?)));
    rows.iter().map(read).collect::<Result<BTreeMap<_, _>, _>>().map(FailureCounts)
}
