//! Asks a finished run again for the records without an answer.
//!
//! The shards that hold such records are leased again; their other records are answered from the response cache. Every other
//! shard keeps its rows: they are written as its part once more, from the files of the finished run.
//!
//! *Invariant*: the run is *running* before the first part is taken back. A process that is killed in between leaves a run whose
//! missing parts are found when it is finalized, and whose shards are then leased again. The files of the finished run stay
//! until then.

use std::sync::Arc;

use bytes::Bytes;
use domain::ids::{FencingToken, PartHash, RunId, ShardIndex};
use domain::outcome::{Outcome, Status};
use domain::run::RunState;
use domain::tally::Tally;
use proto::status::{ApiError, ErrorReason};
use results::layout::staged_part;
use results::part::write_part;
use results::run_file::RunFile;
use results::scan::{self, Part};
use results::store::Store;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Coordinator, Recovery};
use crate::ledger::{CommittedPart, Leased, ShardEntry, Swap};
use crate::refusals::{ledger_refusal, storage, storage_failed, unknown_run};

/// A shard of a finished run.
struct Shard {
    entry: ShardEntry,
    /// Records that are asked again.
    wanted: u64,
    /// Its part, where none is.
    part: Option<(Bytes, Tally)>,
}

/// Whether a record is asked again: it is an error, or its model gave no answer and the rules stood in.
fn is_wanted(outcome: &Outcome) -> bool {
    let unanswered = outcome.usage.samples.is_some() && outcome.usage.total_tokens.is_none();
    outcome.status == Status::Error || unanswered
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorReason::Internal, error.to_string())
}

impl Coordinator {
    /// Makes a finished run running again for its records without an answer; returns how many there are. A run that has not
    /// ended goes on anyway, and one without such records stays as it is: 0.
    pub(crate) async fn retry_errors(self: &Arc<Self>, run_id: &RunId) -> Result<u64, ApiError> {
        let entry = self.ledger.run(run_id).await.map_err(|error| ledger_refusal(&error))?;
        let Some(entry) = entry else { return Err(unknown_run(run_id)) };
        match entry.state {
            RunState::Finished => {}
            state if !state.has_ended() => return Ok(0),
            state => {
                let reason = format!("run {run_id} is {}, not finished", state.as_str());
                return Err(ApiError::new(ErrorReason::RunEnded, reason));
            }
        }
        let folder = self.folder(run_id)?;
        let shards = self.shards(run_id).await.map_err(|error| ledger_refusal(&error))?;
        let parts = final_parts(&folder).await?;
        let counting = (parts.clone(), shards.clone());
        let counted = tokio::task::spawn_blocking(move || {
            let mut wanted = 0;
            each_shard(counting.0, counting.1, |_, rows| {
                wanted += rows.iter().filter(|row| is_wanted(row)).count() as u64;
                Ok(())
            })?;
            Ok::<u64, ApiError>(wanted)
        });
        let wanted = counted.await.map_err(internal)??;
        if wanted == 0 {
            return Ok(0);
        }
        self.reopen_for_retry(run_id, &folder, parts, shards).await?;
        let entry = self.ledger.run(run_id).await.map_err(|error| ledger_refusal(&error))?;
        self.take_up(entry.ok_or_else(|| unknown_run(run_id))?, Recovery::Forfeit, Instant::now()).await?;
        tracing::info!(run = %run_id, records = wanted, "asking a finished run again for records without an answer");
        Ok(wanted)
    }

    async fn reopen_for_retry(
        &self,
        run_id: &RunId,
        folder: &Store,
        parts: Vec<Part>,
        shards: Vec<ShardEntry>,
    ) -> Result<(), ApiError> {
        let swap = self.ledger.advance(run_id, RunState::Finished, RunState::Running, None).await;
        if let Swap::Differs(state) = swap.map_err(|error| ledger_refusal(&error))? {
            let reason = format!("run {run_id} is {} by now, not finished", state.as_str());
            return Err(ApiError::new(ErrorReason::RunEnded, reason));
        }
        // One shard at a time is in memory, and one more waits.
        let (sender, mut read) = mpsc::channel(1);
        let (reader_id, reader_shards) = (run_id.clone(), shards);
        let reading = tokio::task::spawn_blocking(move || {
            each_shard(parts, reader_shards, |entry, rows| {
                let wanted = rows.iter().filter(|row| is_wanted(row)).count() as u64;
                let part = if wanted == 0 {
                    let bytes = write_part(&reader_id, &rows).map_err(internal)?;
                    Some((bytes, Tally::of(&rows)))
                } else {
                    None
                };
                sender.blocking_send(Shard { entry, wanted, part }).map_err(internal)
            })
        });
        while let Some(shard) = read.recv().await {
            self.reopen_shard(run_id, folder, shard).await?;
        }
        reading.await.map_err(internal)?
    }

    /// Takes the part of a shard back, and commits the same rows again where none of them is asked again.
    async fn reopen_shard(&self, run_id: &RunId, folder: &Store, shard: Shard) -> Result<(), ApiError> {
        let Shard { entry, wanted, part } = shard;
        let index = entry.shard.index;
        let Some(committed) = &entry.part else { return Ok(()) };
        let reopened = self.ledger.reopen(run_id, index, committed.hash).await;
        reopened.map_err(|error| ledger_refusal(&error))?;
        let Some((bytes, tally)) = part else {
            tracing::debug!(run = %run_id, shard = %index, wanted, "a shard is leased again");
            return Ok(());
        };
        let token = FencingToken(entry.token.0 + 1);
        let hash = PartHash::of(&bytes);
        let key = staged_part(index, token, hash);
        let committed = CommittedPart { key: key.clone(), bytes: bytes.len() as u64, hash, tally };
        folder.put_if_absent(&key, bytes).await.map_err(|error| storage(&error))?;
        let leased = Leased {
            shard: entry.shard,
            previous: entry.token,
            token,
            attempt: entry.attempt,
            lost: entry.lost,
            worker: entry.worker,
        };
        // Where another token was recorded meanwhile, the shard is leased again like one with errors.
        let swap = self.ledger.lease(run_id, leased).await.map_err(|error| ledger_refusal(&error))?;
        if swap == Swap::Done {
            let verdict = self.ledger.commit(run_id, index, token, committed).await;
            verdict.map_err(|error| ledger_refusal(&error))?;
        }
        Ok(())
    }
}

/// The files of a finished run, in the order of the corpus.
async fn final_parts(folder: &Store) -> Result<Vec<Part>, ApiError> {
    let described = RunFile::load(folder).await.map_err(|error| storage_failed(&error))?;
    let mut parts = Vec::with_capacity(described.parts.len());
    for part in described.parts {
        parts.push(folder.part(&part.name).await.map_err(|error| storage(&error))?);
    }
    Ok(parts)
}

/// Calls `each` with every shard and its rows, in the order of the corpus. Blocks.
fn each_shard(
    parts: Vec<Part>,
    shards: Vec<ShardEntry>,
    mut each: impl FnMut(ShardEntry, Vec<Outcome>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut rows = scan::outcomes(parts);
    for entry in shards {
        let len = usize::try_from(entry.shard.len).unwrap_or(usize::MAX);
        let own: Vec<Outcome> =
            rows.by_ref().take(len).collect::<Result<_, _>>().map_err(|error| storage_failed(&error))?;
        let range = position(entry.shard.index)..position(ShardIndex(entry.shard.end()));
        if own.len() != len || own.iter().any(|row| !range.contains(&row.position)) {
            let reason = format!("the results do not hold the rows of shard {}", entry.shard.index);
            return Err(ApiError::new(ErrorReason::DamagedPart, reason));
        }
        each(entry, own)?;
    }
    Ok(())
}

fn position(index: ShardIndex) -> u64 {
    index.0.into()
}
