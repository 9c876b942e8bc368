//! Finalizes a run: compacts parts, computes the fingerprint, writes `run.json`, advances the ledger, sweeps the rest.
//!
//! *Invariant*: the process may be killed after any step, and the next process repeats all of them; so nothing that a
//! repetition needs is deleted before the ledger has recorded the state *finished*.
//!
//! After a transient failure of disk, store or ledger it is retried with exponential backoff and a bound on the number of
//! tries; work of an earlier try is not repeated. Too many tries halt the run: its status has the reason, and it is tried again
//! when the run is resubmitted or another process resumes it. A damaged part is taken back, and its shard leased again. A
//! permanent failure ends the run in the state *failed*, with the reason; it can be removed, or submitted again.

mod error;
mod reopen;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::Instrument as _;

use domain::ids::{RunId, ShardIndex};
use domain::run::RunState;
use domain::tally::Tally;
use proto::status::ApiError;
use results::compact::{Compacted, merge};
use results::crash::{Point, reach};
use results::layout::{CORPUS_FILE, FINAL, RUN_FILE, STAGED, final_part};
use results::run_file::{FormatVersion, PartEntry, RunFile};
use results::scan::Part;
use results::store::{Store, StoreError};

use crate::ledger::{LedgerError, RunResources, ShardEntry, Swap, Totals};
use crate::refusals::is_transient;
use crate::refusals::storage;
use crate::run::Coordinator;
use crate::scheduler::state::{ActiveRun, Finish};

use error::FinalizeError;
use reopen::{located, verify};

/// Most rows of a final part.
const ROWS_PER_PART: u64 = 1_000_000;

/// Shards in a page of the ledger.
const PAGE: usize = 1000;

/// Delay before the second try; doubled for each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest delay between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Most tries; with these delays they take about an hour.
const TRIES: u32 = 64;

/// Work of earlier tries that later ones do not repeat.
#[derive(Debug, Default)]
struct Progress {
    merged: Option<Merged>,
}

/// The final parts of a run.
#[derive(Debug)]
struct Merged {
    fingerprint: String,
    totals: Totals,
    /// Parts that are at their final names.
    entries: Vec<PartEntry>,
    /// Parts that are not yet, in order.
    unplaced: VecDeque<Compacted>,
}

impl Coordinator {
    /// Starts the background task that finalizes a run.
    pub(crate) fn begin_finalize(self: &Arc<Self>, run_id: RunId) {
        // Only one task for a run: two would delete each other's files.
        let begun = self.with_run(&run_id, |run| {
            let idle = run.finish == Finish::Idle;
            if idle {
                run.finish = Finish::UnderWay;
            }
            idle
        });
        if begun != Some(true) {
            return;
        }
        // Weak, because the coordinator owns the task.
        let coordinator = Arc::downgrade(self);
        self.spawn(async move {
            let mut progress = Progress::default();
            for tries in 1.. {
                let Some(coordinator) = coordinator.upgrade() else { return };
                let span = tracing::info_span!("finish", run = %run_id);
                let finalizing = async {
                    match coordinator.finalize(&run_id, &mut progress).await {
                        Err(FinalizeError::Damaged { parts, reason }) => {
                            coordinator.reopen(&run_id, parts, reason).await
                        }
                        finalized => finalized,
                    }
                };
                let Err(error) = finalizing.instrument(span).await else { return };
                if let FinalizeError::Permanent(reason) = &error
                    && coordinator.fail(&run_id, reason).await
                {
                    return;
                }
                if !matches!(error, FinalizeError::Unavailable(_)) || tries >= TRIES {
                    coordinator.fail_finish(&run_id, &error, tries);
                    return;
                }
                let delay = retry_delay(tries);
                tracing::error!(run = %run_id, %error, tries, ?delay, "cannot finish a run; trying again");
                coordinator.metrics.retry("finish");
                coordinator.stall(&run_id, format!("cannot finish: {error}"));
                drop(coordinator);
                tokio::time::sleep(delay).await;
            }
        });
    }

    /// Ends a run that cannot be finished; returns whether the ledger has recorded it.
    async fn fail(&self, run_id: &RunId, reason: &str) -> bool {
        let reason =
            format!("cannot finish: {reason}; once that is repaired, submit the run again, or remove it");
        for from in [RunState::Finishing, RunState::Running] {
            match self.ledger.fail(run_id, from, reason.clone()).await {
                Ok(Swap::Done) => {
                    tracing::error!(run = %run_id, reason, "a run failed");
                    if let Some(run) = self.end(run_id) {
                        self.record_ended(&run, RunState::Failed).await;
                    }
                    self.notify_watchers(true);
                    return true;
                }
                Ok(Swap::Differs(state)) if state.has_ended() => {
                    self.deactivate(run_id, state).await;
                    return true;
                }
                Ok(Swap::Differs(_)) => {}
                Err(error) => {
                    tracing::error!(run = %run_id, %error, "cannot record that a run failed");
                    return false;
                }
            }
        }
        false
    }

    /// Halts a run that could not be finalized.
    fn fail_finish(&self, run_id: &RunId, error: &FinalizeError, tries: u32) {
        let suffix = if tries > 1 { format!(" after {tries} tries") } else { String::new() };
        self.with_run(run_id, |run| {
            run.finish = Finish::Failed;
            run.stalled = None;
        });
        self.halt(
            run_id,
            format!("cannot finish{suffix}: {error}; once that is repaired, submit the run again"),
        );
    }

    /// Finalizes a resubmitted run again, where that had failed.
    pub(crate) fn retry_finish(self: &Arc<Self>, run_id: &RunId) {
        let failed = self.with_run(run_id, |run| {
            let failed = run.finish == Finish::Failed;
            if failed {
                run.finish = Finish::Idle;
            }
            failed
        });
        if failed == Some(true) {
            self.begin_finalize(run_id.clone());
        }
    }

    async fn finalize(
        self: &Arc<Self>,
        run_id: &RunId,
        progress: &mut Progress,
    ) -> Result<(), FinalizeError> {
        let swap = self.ledger.advance(run_id, RunState::Running, RunState::Finishing, None).await?;
        match swap {
            Swap::Done | Swap::Differs(RunState::Finishing) => {}
            // It was cancelled meanwhile, or finished before and the reply was lost.
            Swap::Differs(state) => {
                self.deactivate(run_id, state).await;
                return Ok(());
            }
        }
        reach(Point::FinishBegun);
        self.with_run(run_id, |run| run.state = RunState::Finishing);
        self.notify_watchers(false);
        let folder = self.folder(run_id)?;
        let merged = match &mut progress.merged {
            Some(merged) => merged,
            empty => empty.insert(self.merged(run_id, &folder).await?),
        };
        if let Err(error) = place(&folder, merged).await {
            if folder.local_path(".").is_some() {
                // A local file is deleted when it cannot be renamed: merge again.
                progress.merged = None;
            }
            return Err(error);
        }
        self.with_run(run_id, |run| run.stalled = None);
        self.record_finished(run_id, &folder, merged).await
    }

    /// Writes `run.json` and records the end of the run. A cancellation that came before wins: the final parts are deleted.
    async fn record_finished(
        self: &Arc<Self>,
        run_id: &RunId,
        folder: &Store,
        merged: &Merged,
    ) -> Result<(), FinalizeError> {
        let cancelled = async || Ok(sweep(folder, |key| key.starts_with(FINAL)).await?);
        let Some(ending) = self.with_run(run_id, |run| Arc::clone(&run.ending)) else {
            return cancelled().await;
        };
        let _ending = ending.lock().await;
        self.recall_judge(run_id).await;
        self.recall_scanners(run_id).await;
        let described = self.with_run(run_id, |run| {
            let used = self.resources_of(run);
            (describe(run, RunState::Finished, merged.entries.clone(), used), used)
        });
        let Some((run_file, used)) = described else { return cancelled().await };
        run_file.save(folder).await?;
        self.ledger.record_resources(run_id, used).await?;
        reach(Point::RunFileWritten);
        self.store_corpus(run_id, folder).await?;
        self.ledger.record_totals(run_id, merged.totals.clone()).await?;
        let fingerprint = Some(merged.fingerprint.clone());
        let swap = self.ledger.advance(run_id, RunState::Finishing, RunState::Finished, fingerprint).await?;
        let state = match swap {
            // Finished before, where the reply of an earlier try was lost.
            Swap::Done => RunState::Finished,
            Swap::Differs(state) => state,
        };
        reach(Point::RunFinished);
        self.deactivate(run_id, state).await;
        tracing::info!(run = %run_id, state = state.as_str(), "ended");
        Ok(())
    }

    /// Checks the committed parts and merges them into final parts, in temporary files.
    async fn merged(&self, run_id: &RunId, folder: &Store) -> Result<Merged, FinalizeError> {
        // Of a run that was asked again: a description never outlives its parts.
        sweep(folder, |key| key == RUN_FILE).await?;
        sweep(folder, |key| key.starts_with(FINAL)).await?;
        reach(Point::FinishSwept);
        let shards = self.shards(run_id).await?;
        let totals = totals(&shards);
        let records = self.with_run(run_id, |run| run.plan.records);
        let committed = shards.iter().filter(|shard| shard.part.is_some());
        let committed: u64 = committed.map(|shard| u64::from(shard.shard.len)).sum();
        if records.is_some_and(|records| committed < records) {
            // Parts were taken back, and the step after that failed.
            let reason = format!("{committed} of {} records are committed", records.unwrap_or(0));
            return Err(FinalizeError::Damaged { parts: Vec::new(), reason });
        }
        let parts = located(folder, shards).await?;
        verify(parts.clone()).await?;
        let merged = merge_parts(folder, parts.iter().map(|located| located.part.clone()).collect()).await;
        let (files, fingerprint) = match merged {
            // The bytes are those that were committed, so the part was wrong when it was committed.
            Err(FinalizeError::Permanent(reason)) => {
                return Err(self.wrong_parts(run_id, parts, reason).await);
            }
            merged => merged?,
        };
        reach(Point::CompactionDone);
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        if let Some(records) = records.filter(|records| rows != *records) {
            let reason = format!("the committed parts have {rows} rows, the run {records} records");
            return Err(self.wrong_parts(run_id, parts, reason).await);
        }
        Ok(Merged { fingerprint, totals, entries: Vec::new(), unplaced: files.into() })
    }

    /// Removes an ended run from memory, and its staged parts from the store.
    async fn deactivate(&self, run_id: &RunId, state: RunState) {
        if state == RunState::Finished {
            self.sweep_staged(run_id).await;
        }
        self.end(run_id);
        self.notify_watchers(true);
    }

    /// Deletes the staged parts of a finished run. After a failure the coordinator tries again at its next start.
    pub(crate) async fn sweep_staged(&self, run_id: &RunId) {
        let swept = async {
            let folder = self.folder(run_id)?;
            sweep(&folder, |key| key.starts_with(STAGED)).await.map_err(|error| storage(&error))?;
            if let Some(path) = folder.local_path(STAGED.trim_end_matches('/')) {
                // Including unfinished files, which no listing contains. An error means that the folder does not exist.
                let _ = std::fs::remove_dir_all(path);
            }
            Ok::<(), ApiError>(())
        };
        if let Err(refusal) = swept.await {
            tracing::warn!(run = %run_id, error = %refusal, "cannot sweep the staged parts of a finished run");
        }
    }

    /// Copies the corpus to the results, where an export needs it.
    async fn store_corpus(&self, run_id: &RunId, folder: &Store) -> Result<(), FinalizeError> {
        if folder.local_path(CORPUS_FILE).is_some() {
            return Ok(());
        }
        let path = self.corpus_path(run_id)?;
        let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await?.map_err(|error| {
            FinalizeError::of(
                is_transient(error.kind()),
                &format!("cannot read the corpus of run {run_id}: {error}"),
            )
        })?;
        Ok(folder.put(CORPUS_FILE, bytes.into()).await?)
    }

    /// All shards of a run that were ever leased, committed or not.
    pub(crate) async fn shards(&self, run_id: &RunId) -> Result<Vec<ShardEntry>, LedgerError> {
        let mut shards: Vec<ShardEntry> = Vec::new();
        loop {
            let next = shards.last().map_or(ShardIndex(0), |last| ShardIndex(last.shard.end()));
            let page = self.ledger.shards(run_id, next, PAGE).await?;
            if page.is_empty() {
                return Ok(shards);
            }
            shards.extend(page);
        }
    }

    /// Writes the `run.json` of a run that was cancelled or failed, with the parts that it had committed.
    pub(crate) async fn record_ended(&self, run: &ActiveRun, state: RunState) {
        let run_id = &run.plan.run_id;
        let recorded = async {
            let folder = self.folder(run_id)?;
            // A result that was merged before the run ended otherwise.
            sweep(&folder, |key| key.starts_with(FINAL)).await?;
            let shards = self.shards(run_id).await?;
            let totals = totals(&shards);
            let parts = shards.into_iter().filter_map(|shard| shard.part);
            let parts =
                parts.map(|part| PartEntry { name: part.key, rows: part.tally.records, hash: part.hash });
            let used = self.resources_of(run);
            describe(run, state, parts.collect(), used).save(&folder).await?;
            self.ledger.record_resources(run_id, used).await?;
            self.ledger.record_totals(run_id, totals).await?;
            Ok::<(), FinalizeError>(())
        };
        if let Err(error) = recorded.await {
            tracing::error!(run = %run_id, %error, "cannot write the run.json of a run that ended early");
        }
    }
}

/// Delay before the next try, after `tries` failures.
fn retry_delay(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY)
}

/// Totals of the committed shards among `shards`.
pub(crate) fn totals(shards: &[ShardEntry]) -> Totals {
    let mut totals = Totals { tally: Tally::default(), committed: 0 };
    for part in shards.iter().filter_map(|shard| shard.part.as_ref()) {
        totals.tally.add(&part.tally);
        totals.committed += 1;
    }
    totals
}

/// The final parts in temporary files, and the fingerprint.
async fn merge_parts(folder: &Store, parts: Vec<Part>) -> Result<(Vec<Compacted>, String), FinalizeError> {
    let scratch = folder.scratch();
    let span = tracing::info_span!("merge", parts = parts.len());
    let merging = tokio::task::spawn_blocking(move || {
        let _merging = span.entered();
        merge(parts, &scratch, ROWS_PER_PART)
    });
    let (files, fingerprint) = merging.await??;
    Ok((files, fingerprint.to_string()))
}

/// Stores the final parts under their names.
async fn place(folder: &Store, merged: &mut Merged) -> Result<(), FinalizeError> {
    while let Some(file) = merged.unplaced.pop_front() {
        let name = final_part(merged.entries.len());
        let entry = PartEntry { name: name.clone(), rows: file.rows, hash: file.hash };
        if folder.local_path(&name).is_some() {
            folder.put_file(&name, file.file).await?;
        } else {
            let path = file.file.path().to_owned();
            // Back in the queue until the store has it.
            merged.unplaced.push_front(file);
            let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await?;
            let bytes = read.map_err(|error| FinalizeError::of(is_transient(error.kind()), &error))?;
            folder.put_if_absent(&name, bytes.into()).await?;
            merged.unplaced.pop_front();
        }
        reach(Point::FinalPartPlaced);
        merged.entries.push(entry);
    }
    Ok(())
}

/// Deletes the objects whose keys match `which`.
async fn sweep(folder: &Store, which: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for object in folder.list().await? {
        if which(&object.key) {
            folder.delete(&object.key).await?;
            reach(Point::Sweeping);
        }
    }
    Ok(())
}

fn describe(run: &ActiveRun, state: RunState, parts: Vec<PartEntry>, used: RunResources) -> RunFile {
    let plan = &run.plan;
    let created_at = UNIX_EPOCH + Duration::from_millis(run.created_at_ms);
    RunFile {
        format: FormatVersion::CURRENT,
        run_id: plan.run_id.clone(),
        state,
        version: plan.version.clone(),
        created_at: Some(created_at),
        finished_at: Some(std::time::SystemTime::now()),
        records: plan.records,
        counts: run.tally.counts(),
        corpus_hash: plan.corpus_hash,
        corpus: run.source.clone(),
        documents: plan.config.documents,
        seed: plan.config.seed,
        shard_size: plan.shard_size,
        workers: u32::try_from(run.workers.len()).unwrap_or(u32::MAX),
        wall_s: used.wall_s(),
        cpu_s: used.cpu_s(),
        peak_rss_mb: used.peak_rss_mb(),
        parts,
        imported_from: None,
        judged_by: run.judge.as_ref().and_then(|judge| judge.server.as_deref().cloned()),
        rescanned_by: run.scanners.as_ref().and_then(|run| run.versions.clone()).unwrap_or_default(),
        models: run.tally.models.clone(),
        config_hash: plan.config_hash,
        config: plan.config.clone(),
    }
}
