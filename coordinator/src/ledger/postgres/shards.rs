//! Steps on shards in SQL: all leases of a batch are one statement, and so are all commits.

use std::collections::HashMap;

use tokio_postgres::{Client, Row, Statement};

use domain::ids::{FencingToken, PartHash, RunId, ShardIndex, WorkerName};
use domain::run::Shard;

use super::runs::{number, number_of, signed};
use super::step::{CommitStep, LeaseStep, Queued, StepError, StepResult, damaged};
use crate::database::postgres::Session;
use crate::ledger::contract::{CommitVerdict, CommittedPart, ShardEntry, Swap};

/// Records leases. A row for each whose run is known: its place in the input, and whether it was recorded. The rows of runs are
/// locked against their removal.
const LEASE: &str = "
WITH input AS (
    SELECT t.*, r.run
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])
        WITH ORDINALITY AS t (run_id, shard, len, previous, token, attempt, lost, worker, place)
    JOIN runs r USING (run_id)
    FOR KEY SHARE OF r
), first AS (
    INSERT INTO shards (run, shard, len, token, attempt, lost, worker)
    SELECT run, shard, len, token, attempt, lost, worker FROM input WHERE previous = 0 AND token > 0 ORDER BY run, shard
    ON CONFLICT DO NOTHING
    RETURNING run, shard
), again AS (
    UPDATE shards s SET len = i.len, token = i.token, attempt = i.attempt, lost = i.lost, worker = i.worker
    FROM input i
    WHERE i.previous > 0 AND s.run = i.run AND s.shard = i.shard AND s.token = i.previous AND i.token > s.token
      AND s.part_key IS NULL AND s.len >= i.len
    RETURNING s.run, s.shard
)
SELECT i.place, d.run IS NOT NULL
FROM input i LEFT JOIN (SELECT * FROM first UNION ALL SELECT * FROM again) d USING (run, shard)";

/// Commits parts. A row for each whose run is known, as above.
const COMMIT: &str = "
WITH input AS (
    SELECT t.*, r.run
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[], $7::text[])
        WITH ORDINALITY AS t (run_id, shard, token, part_key, part_bytes, part_hash, tally, place)
    JOIN runs r USING (run_id)
), done AS (
    UPDATE shards s SET part_key = i.part_key, part_bytes = i.part_bytes, part_hash = i.part_hash, tally = i.tally
    FROM input i
    WHERE s.run = i.run AND s.shard = i.shard AND s.token = i.token AND s.part_key IS NULL
    RETURNING s.run, s.shard
)
SELECT i.place, d.run IS NOT NULL FROM input i LEFT JOIN done d USING (run, shard)";

/// Columns of an entry, in the order of [`entry`].
const COLUMNS: &str =
    "s.shard, s.len, s.token, s.attempt, s.lost, s.worker, s.part_key, s.part_bytes, s.part_hash, s.tally";

/// The statements of a batch, prepared.
#[derive(Debug)]
pub(super) struct Statements {
    lease: Statement,
    commit: Statement,
    entries: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let entries = format!(
            "SELECT r.run_id, {COLUMNS}
             FROM unnest($1::text[], $2::bigint[]) AS t (run_id, shard)
             JOIN runs r USING (run_id) JOIN shards s ON s.run = r.run AND s.shard = t.shard"
        );
        Ok(Self {
            lease: client.prepare(LEASE).await?,
            commit: client.prepare(COMMIT).await?,
            entries: client.prepare(&entries).await?,
        })
    }
}

/// A session with its prepared statements.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) statements: Statements,
}

/// What became of a step of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    UnknownRun,
    Refused,
    Done,
}

/// Entries of shards by run and index.
type Entries = HashMap<(String, u32), StepResult<ShardEntry>>;

/// Applies steps on different shards, in the order of the shards: two programs lock their rows in the same order.
pub(super) async fn apply(open: &Open, steps: &mut [Queued]) -> Result<(), tokio_postgres::Error> {
    let (mut leases, mut commits) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Queued::Lease(step) => leases.push(step),
            Queued::Commit(step) => commits.push(step),
            Queued::Single(_) => {}
        }
    }
    leases.sort_by(|one, other| {
        (&one.run_id, one.leased.shard.index).cmp(&(&other.run_id, other.leased.shard.index))
    });
    commits.sort_by(|one, other| (&one.run_id, one.shard).cmp(&(&other.run_id, other.shard)));
    // Both are sent at once: one way to the server and back.
    let (lease_effects, commit_effects) = futures::try_join!(lease(open, &leases), commit(open, &commits))?;
    let refused_leases = leases.iter().zip(&lease_effects).filter(|(_, effect)| **effect == Effect::Refused);
    let refused_commits =
        commits.iter().zip(&commit_effects).filter(|(_, effect)| **effect == Effect::Refused);
    let refused: Vec<(String, i64)> = refused_leases
        .map(|(step, _)| (step.run_id.to_string(), step.leased.shard.index.0.into()))
        .chain(refused_commits.map(|(step, _)| (step.run_id.to_string(), step.shard.0.into())))
        .collect();
    let mut known = entries(open, &refused).await?;
    for (step, effect) in leases.into_iter().zip(lease_effects) {
        let found = known.remove(&(step.run_id.to_string(), step.leased.shard.index.0)).transpose();
        let result = match effect {
            Effect::UnknownRun => Err(StepError::UnknownRun(step.run_id.clone())),
            Effect::Done => Ok(Swap::Done),
            Effect::Refused => found.map(Swap::Differs),
        };
        step.pending.note(result)?;
    }
    for (step, effect) in commits.into_iter().zip(commit_effects) {
        let found = known.remove(&(step.run_id.to_string(), step.shard.0)).transpose();
        let result = match effect {
            Effect::UnknownRun => Err(StepError::UnknownRun(step.run_id.clone())),
            Effect::Done => Ok(CommitVerdict::Committed),
            Effect::Refused => found.map(|known| match known {
                Some(known) if known.token == step.token && known.part.is_some() => CommitVerdict::Already,
                known => CommitVerdict::Stale {
                    current: known.map_or(FencingToken::default(), |known| known.token),
                },
            }),
        };
        step.pending.note(result)?;
    }
    Ok(())
}

async fn lease(open: &Open, steps: &[&mut LeaseStep]) -> Result<Vec<Effect>, tokio_postgres::Error> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let column = |of: fn(&LeaseStep) -> i64| steps.iter().map(|step| of(step)).collect::<Vec<i64>>();
    let runs: Vec<&str> = steps.iter().map(|step| step.run_id.as_str()).collect();
    let workers: Vec<&str> = steps.iter().map(|step| step.leased.worker.as_str()).collect();
    let rows = open
        .session
        .client
        .query(
            &open.statements.lease,
            &[
                &runs,
                &column(|step| step.leased.shard.index.0.into()),
                &column(|step| step.leased.shard.len.into()),
                &column(|step| signed(step.leased.previous.0)),
                &column(|step| signed(step.leased.token.0)),
                &column(|step| step.leased.attempt.into()),
                &column(|step| step.leased.lost.into()),
                &workers,
            ],
        )
        .await?;
    effects(&rows, steps.len())
}

async fn commit(open: &Open, steps: &[&mut CommitStep]) -> Result<Vec<Effect>, tokio_postgres::Error> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let column = |of: fn(&CommitStep) -> i64| steps.iter().map(|step| of(step)).collect::<Vec<i64>>();
    let runs: Vec<&str> = steps.iter().map(|step| step.run_id.as_str()).collect();
    let keys: Vec<&str> = steps.iter().map(|step| step.part.key.as_str()).collect();
    let hashes: Vec<&[u8]> = steps.iter().map(|step| step.part.hash.as_bytes().as_slice()).collect();
    // A tally has only texts and numbers.
    let tallies: Vec<String> =
        steps.iter().map(|step| serde_json::to_string(&step.part.tally).unwrap_or_default()).collect();
    let rows = open
        .session
        .client
        .query(
            &open.statements.commit,
            &[
                &runs,
                &column(|step| step.shard.0.into()),
                &column(|step| signed(step.token.0)),
                &keys,
                &column(|step| signed(step.part.bytes)),
                &hashes,
                &tallies,
            ],
        )
        .await?;
    effects(&rows, steps.len())
}

/// The effect of each of `count` steps, by the places in the rows, which count from 1.
fn effects(rows: &[Row], count: usize) -> Result<Vec<Effect>, tokio_postgres::Error> {
    let mut effects = vec![Effect::UnknownRun; count];
    for row in rows {
        let (place, done): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        if let Some(effect) = place.and_then(|place| effects.get_mut(place)) {
            *effect = if done { Effect::Done } else { Effect::Refused };
        }
    }
    Ok(effects)
}

/// Entries of these shards, as they are now.
async fn entries(open: &Open, shards: &[(String, i64)]) -> Result<Entries, tokio_postgres::Error> {
    if shards.is_empty() {
        return Ok(Entries::new());
    }
    let (runs, indices): (Vec<&str>, Vec<i64>) =
        shards.iter().map(|(run_id, index)| (run_id.as_str(), *index)).unzip();
    let rows = open.session.client.query(&open.statements.entries, &[&runs, &indices]).await?;
    rows.iter()
        .map(|row| {
            let index = u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(u32::MAX);
            Ok(((row.try_get(0)?, index), entry(row, 1)))
        })
        .collect()
}

pub(super) async fn page(
    client: &Client,
    run_id: RunId,
    first: ShardIndex,
    limit: usize,
) -> StepResult<Vec<ShardEntry>> {
    let run = number_of(client, &run_id).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query =
        format!("SELECT {COLUMNS} FROM shards s WHERE run = $1 AND shard >= $2 ORDER BY shard LIMIT $3");
    let rows = client.query(&query, &[&run, &i64::from(first.0), &limit]).await?;
    rows.iter().map(|row| entry(row, 0)).collect()
}

pub(super) async fn reopen(
    client: &Client,
    run_id: RunId,
    index: ShardIndex,
    part: PartHash,
) -> StepResult<Swap<Option<ShardEntry>>> {
    let run = number_of(client, &run_id).await?;
    let index = i64::from(index.0);
    let changed = client
        .execute(
            "UPDATE shards SET part_key = NULL, part_bytes = NULL, part_hash = NULL, tally = NULL
             WHERE run = $1 AND shard = $2 AND part_hash = $3",
            &[&run, &index, &part.as_bytes().as_slice()],
        )
        .await?;
    if changed == 1 {
        return Ok(Swap::Done);
    }
    let query = format!("SELECT {COLUMNS} FROM shards s WHERE run = $1 AND shard = $2");
    let known = client.query_opt(&query, &[&run, &index]).await?;
    Ok(Swap::Differs(known.map(|row| entry(&row, 0)).transpose()?))
}

/// Reads an entry, whose columns begin at `first`.
fn entry(row: &Row, first: usize) -> StepResult<ShardEntry> {
    let count = |column: usize| -> StepResult<u32> { number(row.try_get::<_, i64>(first + column)?) };
    let key: Option<String> = row.try_get(first + 6)?;
    let part = match key {
        None => None,
        Some(key) => {
            let hash: Vec<u8> = row.try_get(first + 8)?;
            let hash: [u8; 32] = hash.try_into().map_err(|_| damaged("a hash", "not 32 bytes"))?;
            let tally: &str = row.try_get(first + 9)?;
            Some(CommittedPart {
                key,
                bytes: number(row.try_get::<_, i64>(first + 7)?)?,
                hash: PartHash::from_bytes(hash),
                tally: serde_json::from_str(tally).map_err(|error| damaged("a tally", error))?,
            })
        }
    };
    let worker: String = row.try_get(first + 5)?;
    Ok(ShardEntry {
        shard: Shard { index: ShardIndex(count(0)?), len: count(1)? },
        token: FencingToken(number(row.try_get::<_, i64>(first + 2)?)?),
        attempt: count(3)?,
        lost: count(4)?,
        worker: WorkerName::new(worker).map_err(|error| damaged("a worker", error))?,
        part,
    })
}
