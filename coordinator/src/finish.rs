//! The end of a run: parts compacted, fingerprint taken, `run.json` written, the ledger told, the rest swept.
//!
//! Each step may be the last one before the process dies; the next process begins again with the first. Only after the
//! ledger says *finished* is anything deleted that a repetition would need.

use console::usage::Usage;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::Instrument as _;

use dataset::compact::merge;
use dataset::crash::{Point, reach};
use dataset::run_file::{CORPUS_FILE, FormatVersion, PartEntry, RunFile};
use dataset::scan::Part;
use dataset::store::Store;
use domain::ids::{RunId, ShardIndex};
use domain::outcome::Status;
use domain::run::RunState;
use domain::tally::Tally;
use proto::status::{Reason, Refusal};

use crate::commit::STAGED;
use crate::intact::{Damage, check};
use crate::ledger::{ShardEntry, Swap};
use crate::runs::{Live, Runs, ledger_refusal, storage};

/// Rows of a final part at most.
const ROWS_PER_PART: u64 = 1_000_000;

/// Shards that are read from the ledger at once.
const PAGE: usize = 1000;

/// Between two tries of a finish that failed.
const RETRY: Duration = Duration::from_secs(5);

impl Runs {
    /// Finishes a run beside the calls; tries again until it works.
    pub(crate) fn begin_finish(self: &Arc<Self>, run_id: RunId) {
        // Once: two of them would sweep away each other's files.
        if self.with_live(&run_id, |live| std::mem::replace(&mut live.finishing, true)) != Some(false) {
            return;
        }
        let runs = Arc::clone(self);
        self.spawn(async move {
            let span = || tracing::info_span!("finish", run = %run_id);
            while let Err(refusal) = runs.finish(&run_id).instrument(span()).await {
                tracing::error!(run = %run_id, error = %refusal, "cannot finish a run; trying again");
                runs.metrics.retry("finish");
                runs.stall(&run_id, format!("cannot finish: {refusal}"));
                tokio::time::sleep(RETRY).await;
            }
        });
    }

    async fn finish(self: &Arc<Self>, run_id: &RunId) -> Result<(), Refusal> {
        let swap = self.ledger.advance(run_id, RunState::Running, RunState::Finishing, None).await;
        match swap.map_err(|error| ledger_refusal(&error))? {
            Swap::Done | Swap::Differs(RunState::Finishing) => {}
            // It was cancelled meanwhile, or this was done and the answer was lost.
            Swap::Differs(state) => {
                self.forget(run_id, state).await;
                return Ok(());
            }
        }
        reach(Point::FinishBegun);
        self.with_live(run_id, |live| live.state = RunState::Finishing);
        self.tell(false);
        let folder = self.folder(run_id)?;
        sweep(&folder, |key| key.starts_with(dataset::layout::FINAL)).await?;
        reach(Point::FinishSwept);
        let shards = self.committed_shards(run_id).await?;
        let parts = intact_parts(&folder, shards).await?;
        let (entries, fingerprint) = self.merge(&folder, parts).await?;
        let rows: u64 = entries.iter().map(|entry| entry.rows).sum();
        let records = self.with_live(run_id, |live| live.plan.records).unwrap_or(rows);
        if rows != records {
            let message = format!("the parts have {rows} rows, the run {records} records");
            return Err(Refusal::new(Reason::Internal, message));
        }
        self.with_live(run_id, |live| live.stalled = None);
        let run_file = {
            let book = self.book();
            book.live.get(run_id).map(|live| describe(live, RunState::Finished, entries))
        };
        if let Some(run_file) = run_file {
            run_file.save(&folder).await.map_err(|error| Refusal::new(Reason::Storage, error.to_string()))?;
        }
        reach(Point::RunFileWritten);
        self.keep_corpus(run_id, &folder).await?;
        let swap =
            self.ledger.advance(run_id, RunState::Finishing, RunState::Finished, Some(fingerprint)).await;
        swap.map_err(|error| ledger_refusal(&error))?;
        reach(Point::RunFinished);
        self.forget(run_id, RunState::Finished).await;
        tracing::info!(run = %run_id, "finished");
        Ok(())
    }

    /// A run has ended: nothing of it stays in memory, nor in the store what only a running one needs.
    async fn forget(&self, run_id: &RunId, state: RunState) {
        if state == RunState::Finished {
            self.sweep_staged(run_id).await;
        }
        self.book().end(run_id);
        self.tell(true);
    }

    /// Deletes what a finished run staged. What cannot be deleted now is found when the coordinator starts next.
    pub(crate) async fn sweep_staged(&self, run_id: &RunId) {
        let swept = async {
            let folder = self.folder(run_id)?;
            sweep(&folder, |key| key.starts_with(STAGED)).await?;
            if let Some(path) = folder.local_path(STAGED.trim_end_matches('/')) {
                // With what a killed process was writing: no listing shows it. Never made: fine.
                let _ = std::fs::remove_dir_all(path);
            }
            Ok::<(), Refusal>(())
        };
        if let Err(refusal) = swept.await {
            tracing::warn!(run = %run_id, error = %refusal, "cannot sweep the staged parts of a finished run");
        }
    }

    /// The final parts and the fingerprint.
    async fn merge(&self, folder: &Store, parts: Vec<Part>) -> Result<(Vec<PartEntry>, String), Refusal> {
        let failed = |error: String| Refusal::new(Reason::Storage, error);
        let scratch = folder.scratch();
        let span = tracing::info_span!("merge", parts = parts.len());
        let merging = tokio::task::spawn_blocking(move || {
            let _merging = span.entered();
            merge(parts, &scratch, ROWS_PER_PART).map_err(|error| error.to_string())
        });
        let (compacted, fingerprint) =
            merging.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        reach(Point::CompactionDone);
        let mut entries = Vec::with_capacity(compacted.len());
        for (number, file) in compacted.into_iter().enumerate() {
            let name = dataset::layout::final_part(number);
            let entry = PartEntry { name: name.clone(), rows: file.rows, hash: file.hash };
            folder.put_file(&name, file.file).await.map_err(|error| storage(&error))?;
            reach(Point::FinalPartPlaced);
            entries.push(entry);
        }
        Ok((entries, fingerprint.to_string()))
    }

    /// The corpus stays with the results: an export needs it.
    async fn keep_corpus(&self, run_id: &RunId, folder: &Store) -> Result<(), Refusal> {
        if folder.local_path(CORPUS_FILE).is_some() {
            return Ok(());
        }
        let path = self.corpus_path(run_id)?;
        let failed = |error: std::io::Error| {
            Refusal::new(Reason::Storage, format!("cannot read the corpus of run {run_id}: {error}"))
        };
        let bytes = tokio::task::spawn_blocking(move || std::fs::read(path))
            .await
            .map_err(|error| failed(std::io::Error::other(error)))?
            .map_err(failed)?;
        folder.put(CORPUS_FILE, bytes.into()).await.map_err(|error| storage(&error))
    }

    async fn committed_shards(&self, run_id: &RunId) -> Result<Vec<ShardEntry>, Refusal> {
        let mut shards: Vec<ShardEntry> = Vec::new();
        loop {
            let next = shards.last().map_or(ShardIndex(0), |last| ShardIndex(last.shard.end()));
            let page =
                self.ledger.shards(run_id, next, PAGE).await.map_err(|error| ledger_refusal(&error))?;
            if page.is_empty() {
                return Ok(shards);
            }
            shards.extend(page);
        }
    }

    /// Leaves a `run.json` with what a cancelled run had committed.
    pub(crate) async fn record_cancelled(&self, live: &Live) {
        let run_id = &live.plan.run_id;
        let recorded = async {
            let folder = self.folder(run_id)?;
            let shards = self.committed_shards(run_id).await?;
            let parts = shards.into_iter().filter_map(|shard| shard.part);
            let parts =
                parts.map(|part| PartEntry { name: part.key, rows: part.tally.records, hash: part.hash });
            let run_file = describe(live, RunState::Cancelled, parts.collect());
            run_file.save(&folder).await.map_err(|error| Refusal::new(Reason::Storage, error.to_string()))
        };
        if let Err(refusal) = recorded.await {
            tracing::error!(run = %run_id, error = %refusal, "cannot describe a cancelled run");
        }
    }
}

/// The committed parts, each as it was committed.
async fn intact_parts(folder: &Store, shards: Vec<ShardEntry>) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::with_capacity(shards.len());
    for committed in shards.into_iter().filter_map(|shard| shard.part) {
        let part = match folder.local_path(&committed.key) {
            Some(path) => Part::File(path),
            None => folder.part(&committed.key).await.map_err(|error| storage(&error))?,
        };
        parts.push((part, committed));
    }
    let checking = tokio::task::spawn_blocking(move || {
        parts.iter().try_for_each(|(part, committed)| check(part, committed))?;
        Ok::<_, Damage>(parts.into_iter().map(|(part, _)| part).collect())
    });
    let checked = checking.await.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
    checked.map_err(|damage| Refusal::new(Reason::Storage, damage.to_string()))
}

/// Deletes what a finished run does not need, orphan parts of lost leases included.
async fn sweep(folder: &Store, which: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    for object in folder.list().await.map_err(|error| storage(&error))? {
        if which(&object.key) {
            folder.delete(&object.key).await.map_err(|error| storage(&error))?;
            reach(Point::Sweeping);
        }
    }
    Ok(())
}

fn describe(live: &Live, state: RunState, parts: Vec<PartEntry>) -> RunFile {
    let plan = &live.plan;
    let usage = Usage::of_this_process();
    let created_at = UNIX_EPOCH + Duration::from_millis(live.created_at_ms);
    RunFile {
        format: FormatVersion::CURRENT,
        run_id: plan.run_id.clone(),
        state,
        version: plan.version.clone(),
        created_at: Some(created_at),
        finished_at: Some(std::time::SystemTime::now()),
        records: plan.records,
        counts: counts(&live.tally),
        corpus_hash: plan.corpus_hash,
        corpus: live.source.clone(),
        documents: plan.config.documents,
        seed: plan.config.seed,
        shard_size: plan.shard_size,
        workers: u32::try_from(live.workers.len()).unwrap_or(u32::MAX),
        wall_s: Some(live.since.elapsed().as_secs_f64()),
        cpu_s: usage.map(|usage| usage.cpu_s),
        peak_rss_mb: usage.map(|usage| usage.peak_rss_mb),
        parts,
        imported_from: None,
        config_hash: plan.config_hash,
        config: plan.config.clone(),
    }
}

/// How many records ended how.
pub(crate) fn counts(tally: &Tally) -> std::collections::BTreeMap<Status, u64> {
    [
        (Status::Accepted, tally.accepted),
        (Status::Rejected, tally.rejected),
        (Status::NeedsReview, tally.needs_review),
        (Status::NotApplicable, tally.not_applicable),
        (Status::Error, tally.errors),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .collect()
}
