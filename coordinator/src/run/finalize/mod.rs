//! Finalizes a run: compacts parts, computes the fingerprint, writes `run.json`, advances the ledger, sweeps the rest.
//!
//! *Invariants*: the process may be killed after any step, and the next process repeats all of them; so nothing is deleted
//! before the ledger has recorded that the run has ended. The keys of final parts hold the hashes of their content, and the
//! ledger that of `run.json`: what another process wrote of the same run is neither taken for a part of it nor overwritten.
//!
//! After a transient failure of disk, store or ledger it is retried with exponential backoff and a bound on the number of
//! tries; work of an earlier try is not repeated. Too many tries halt the run: its status has the reason, and it is tried again
//! when the run is resubmitted or another process resumes it. A damaged part is taken back, and its shard leased again. A
//! permanent failure ends the run in the state *failed*, with the reason; it can be removed, or submitted again.

mod committed;
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
use results::compact::Compacted;
use results::crash::{Point, reach};
use results::layout::{FINAL, STAGED, final_part};
use results::run_file::{FormatVersion, PartEntry, RunFile};
use results::store::{Store, StoreError};

use crate::ledger::{FinishedRun, LedgerError, RunResources, ShardEntry, Swap, Totals};
use crate::run::Coordinator;
use crate::scheduler::state::{ActiveRun, Finish};

use committed::{PAGE, merge_parts};
use error::FinalizeError;

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
            // A local file is deleted when it cannot be renamed, any may be by who cleans up a disk: merge again.
            let next = merged.unplaced.front();
            if folder.is_local() || next.is_some_and(|next| !next.file.path().exists()) {
                progress.merged = None;
            }
            return Err(error);
        }
        self.with_run(run_id, |run| run.stalled = None);
        self.record_finished(run_id, &folder, merged).await
    }

    /// Writes `run.json` and records the end of the run with its hash. A cancellation that came before wins: the final parts
    /// are deleted.
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
        self.check_owner()?;
        let written = run_file.save(folder).await?;
        self.ledger.record_resources(run_id, used).await?;
        reach(Point::RunFileWritten);
        self.ledger.record_totals(run_id, merged.totals.clone()).await?;
        let finished = FinishedRun { fingerprint: merged.fingerprint.clone(), run_file: written };
        let swap =
            self.ledger.advance(run_id, RunState::Finishing, RunState::Finished, Some(finished)).await?;
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

    /// Refuses to write what another coordinator may write now: no step of the ledger guards the file.
    fn check_owner(&self) -> Result<(), FinalizeError> {
        if self.owner.is_ahead() {
            return Ok(());
        }
        Err(FinalizeError::Unavailable("another coordinator may have taken over".to_owned()))
    }

    /// Checks the committed parts and merges them into final parts, in temporary files.
    async fn merged(&self, run_id: &RunId, folder: &Store) -> Result<Merged, FinalizeError> {
        let (parts, totals) = self.committed(run_id).await?;
        let records = self.with_run(run_id, |run| run.plan.records);
        let committed: u64 = parts.iter().map(|part| u64::from(part.shard.len)).sum();
        if records.is_some_and(|records| committed < records) {
            // Parts were taken back, and the step after that failed.
            let reason = format!("{committed} of {} records are committed", records.unwrap_or(0));
            return Err(FinalizeError::Damaged { parts: Vec::new(), reason });
        }
        let (files, fingerprint) = match merge_parts(folder, &parts).await {
            // The bytes are those that were committed, so the part was wrong when it was committed.
            Err(FinalizeError::Permanent(reason)) => {
                return Err(self.wrong_parts(run_id, folder, &parts, reason).await);
            }
            merged => merged?,
        };
        reach(Point::CompactionDone);
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        if let Some(records) = records.filter(|records| rows != *records) {
            let reason = format!("the committed parts have {rows} rows, the run {records} records");
            return Err(self.wrong_parts(run_id, folder, &parts, reason).await);
        }
        Ok(Merged { fingerprint, totals, entries: Vec::new(), unplaced: files.into() })
    }

    /// Removes an ended run from memory, and what it does not need any more from the store.
    async fn deactivate(&self, run_id: &RunId, state: RunState) {
        if state == RunState::Finished {
            self.sweep_finished(run_id).await;
        }
        self.end(run_id);
        self.notify_watchers(true);
    }

    /// Deletes the staged parts of a finished run, and before them the final parts that its `run.json` does not name. After a
    /// failure the coordinator tries again at its next start, as long as staged parts are left.
    pub(crate) async fn sweep_finished(&self, run_id: &RunId) {
        let swept = async {
            let folder = self.folder(run_id)?;
            let staged = folder.local_path(STAGED.trim_end_matches('/')).filter(|path| path.is_dir());
            let keys: Vec<String> = folder.list().await?.into_iter().map(|object| object.key).collect();
            if staged.is_none() && !keys.iter().any(|key| key.starts_with(STAGED)) {
                return Ok(());
            }
            let named = RunFile::load(&folder).await?.parts;
            let is_named = |key: &String| named.iter().any(|part| part.name == *key);
            let unnamed = keys.iter().filter(|key| key.starts_with(FINAL) && !is_named(key));
            delete(&folder, unnamed.cloned().collect()).await?;
            delete(&folder, keys.into_iter().filter(|key| key.starts_with(STAGED)).collect()).await?;
            if let Some(path) = staged {
                // Including unfinished files, which no listing contains.
                let _ = std::fs::remove_dir_all(path);
            }
            Ok::<(), FinalizeError>(())
        };
        if let Err(error) = swept.await {
            tracing::warn!(run = %run_id, %error, "cannot sweep what a finished run does not need");
        }
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
            let (parts, totals) = self.committed(run_id).await?;
            let parts = parts.into_iter();
            let parts = parts.map(|part| PartEntry { name: part.key, rows: part.rows, hash: part.hash });
            let used = self.resources_of(run);
            self.check_owner()?;
            describe(run, state, parts.collect(), used).save(&folder).await?;
            // A result that was merged before the run ended otherwise.
            sweep(&folder, |key| key.starts_with(FINAL)).await?;
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

/// Stores the final parts under their names.
async fn place(folder: &Store, merged: &mut Merged) -> Result<(), FinalizeError> {
    while let Some(file) = merged.unplaced.pop_front() {
        let name = final_part(merged.entries.len(), file.hash);
        let entry = PartEntry { name: name.clone(), rows: file.rows, hash: file.hash };
        if folder.is_local() {
            folder.put_file(&name, file.file).await?;
        } else {
            let path = file.file.path().to_owned();
            // Back in the queue until the store has it.
            merged.unplaced.push_front(file);
            folder.send_file(&name, &path).await?;
            merged.unplaced.pop_front();
        }
        reach(Point::FinalPartPlaced);
        merged.entries.push(entry);
    }
    Ok(())
}

/// Deletes the objects whose keys match `which`.
async fn sweep(folder: &Store, which: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    let keys = folder.list().await?.into_iter().map(|object| object.key);
    delete(folder, keys.filter(|key| which(key)).collect()).await
}

/// Deletes objects: elsewhere many in one request.
async fn delete(folder: &Store, keys: Vec<String>) -> Result<(), StoreError> {
    if !folder.is_local() {
        return folder.delete_all(keys).await;
    }
    for key in keys {
        folder.delete(&key).await?;
        reach(Point::Sweeping);
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
