//! Submission of a run: streams the corpus into the run's folder, hashes it, then plans and records the run, or resumes it.
//!
//! *Invariant*: the corpus is durable under its name, on this machine and in the bucket of the results, before the ledger knows
//! the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use domain::config::RunConfig;
use domain::ids::RunId;
use domain::record::{Record, SourceDocument};
use domain::run::{RunPlan, RunState};
use proto::convert::{BadMessage, RunStatus};
use proto::status::{ApiError, ErrorReason};
use proto::v1;
use results::corpus_copy::{CorpusSummary, CorpusWriter, FileError};
use results::crash::{Point, reach};
use results::layout::UNFINISHED;
use results::store::{rename, sweep_unfinished};

use super::{Coordinator, Recovery};
use crate::clock::unix_ms;
use crate::ledger::{Created, RunEntry, RunResources, Swap};
use crate::refusals::ledger_refusal;
use crate::run::plan;
use crate::run::run_folder::{self, Maker, check_free};

/// Capacity of the queue of slices to the writer.
const QUEUE: usize = 4;

/// Makes the names of concurrently submitted files unique.
static ARRIVALS: AtomicU64 = AtomicU64::new(0);

/// A submission in progress. Dropped before its end, it leaves no files.
pub struct Submission {
    coordinator: Arc<Coordinator>,
    run_id: RunId,
    /// When its corpus began to arrive.
    begun: Instant,
    config: RunConfig,
    source: String,
    incoming: PathBuf,
    slices: Option<mpsc::Sender<v1::Slice>>,
    /// Whether the whole corpus has arrived; otherwise the writer leaves no file.
    complete: Arc<AtomicBool>,
    writer: JoinHandle<Result<CorpusSummary, ApiError>>,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission").field("run_id", &self.run_id).finish_non_exhaustive()
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.coordinator.scheduler().arriving.remove(&self.run_id);
        // Missing where the corpus was renamed to its final path.
        let _ = std::fs::remove_file(&self.incoming);
    }
}

impl Coordinator {
    /// Begins the submission of a run. An existing run of that id must have the same configuration.
    pub async fn submit(
        self: &Arc<Self>,
        run_id: RunId,
        config: RunConfig,
        source: String,
    ) -> Result<Submission, ApiError> {
        plan::check(&config)?;
        let known = self.ledger.run(&run_id).await.map_err(|error| ledger_refusal(&error))?;
        if let Some(known) = &known {
            plan::same_config(&known.plan, &config)?;
        }
        let corpus = self.corpus_path(&run_id)?;
        let arrival = ARRIVALS.fetch_add(1, Ordering::Relaxed);
        let incoming = corpus.with_file_name(format!("{UNFINISHED}{run_id}-{arrival}"));
        if !self.scheduler().arriving.insert(run_id.clone()) {
            let message = format!("run {run_id} is being submitted already: wait for that submission to end");
            return Err(ApiError::new(ErrorReason::Storage, message));
        }
        let free = async {
            match known {
                None => {
                    check_free(&self.folder(&run_id)?, &run_id, Maker::Coordinator, Some(&self.scratch)).await
                }
                Some(_) => Ok(()),
            }
        };
        if let Err(refusal) = free.await {
            self.scheduler().arriving.remove(&run_id);
            return Err(refusal);
        }
        // Nothing else writes to the folder of a run that is not in the ledger. Folders of known runs were swept at startup.
        let leftovers = if known.is_none() { self.folder(&run_id)?.local_path(".") } else { None };
        let (slices, queue) = mpsc::channel(QUEUE);
        let (path, complete) = (incoming.clone(), Arc::new(AtomicBool::new(false)));
        let all_sent = Arc::clone(&complete);
        let writer = tokio::task::spawn_blocking(move || {
            if let Some(folder) = leftovers {
                sweep_unfinished(&folder).map_err(|error| {
                    ApiError::new(ErrorReason::Storage, format!("cannot sweep {}: {error}", folder.display()))
                })?;
            }
            write(&path, queue, &all_sent)
        });
        Ok(Submission {
            coordinator: Arc::clone(self),
            run_id,
            begun: Instant::now(),
            config,
            source,
            incoming,
            slices: Some(slices),
            complete,
            writer,
        })
    }
}

impl Submission {
    /// Writes the next records.
    pub async fn push(&mut self, slice: v1::Slice) -> Result<(), ApiError> {
        if let Some(slices) = &self.slices
            && slices.send(slice).await.is_ok()
        {
            return Ok(());
        }
        // The writer ended early: its result has the reason.
        self.slices = None;
        let ended = (&mut self.writer)
            .await
            .map_err(|error| ApiError::new(ErrorReason::Internal, error.to_string()))?;
        Err(ended
            .err()
            .unwrap_or_else(|| ApiError::new(ErrorReason::Internal, "the writer of the corpus ended early")))
    }

    /// Ends the submission after `sent` records: plans the run, or resumes it. Returns its status and whether it existed.
    pub async fn finish(mut self, sent: u64) -> Result<(RunStatus, bool), ApiError> {
        self.complete.store(true, Ordering::Release);
        self.slices = None;
        let written = (&mut self.writer)
            .await
            .map_err(|error| ApiError::new(ErrorReason::Internal, error.to_string()))?;
        let corpus = written?;
        if corpus.records != sent {
            let message = format!("{} records arrived, {sent} were sent", corpus.records);
            return Err(ApiError::new(ErrorReason::BadMessage, message));
        }
        if !corpus.repeated_ids.is_empty() {
            let examples: Vec<&str> = corpus.repeated_ids.iter().map(domain::ids::RecordId::as_str).collect();
            tracing::warn!(run = %self.run_id, examples = examples.join(", "), "record ids are not unique");
        }
        let (coordinator, run_id) = (Arc::clone(&self.coordinator), self.run_id.clone());
        let known = coordinator.ledger.run(&run_id).await.map_err(|error| ledger_refusal(&error))?;
        let existed = known.is_some();
        if let Some(known) = &known {
            plan::same_config(&known.plan, &self.config)?;
            plan::same_corpus(&known.plan, corpus.records, corpus.corpus_hash)?;
            if known.state.has_ended() && known.state != RunState::Failed {
                return Ok((coordinator.status(&run_id).await?, true));
            }
        }
        let planned = plan::plan(run_id.clone(), self.config.clone(), corpus.records, corpus.corpus_hash)?;
        let place = coordinator.corpus_path(&run_id)?;
        reach(Point::CorpusArrived);
        if !existed {
            run_folder::mark(&coordinator.folder(&run_id)?, &run_id, Maker::Coordinator).await?;
        }
        coordinator.store_corpus(&run_id, corpus.corpus_hash, &self.incoming).await?;
        rename(&self.incoming, &place).map_err(|error| {
            ApiError::new(ErrorReason::Storage, format!("cannot write {}: {error}", place.display()))
        })?;
        reach(Point::CorpusPlaced);
        if let Some(failed) = known.filter(|known| known.state == RunState::Failed) {
            self.revive(failed).await?;
        } else if existed {
            coordinator.lift(&run_id, &self.config).await?;
            coordinator.open_corpus(&run_id).await;
            coordinator.retry_finish(&run_id);
        } else {
            self.record(planned).await?;
        }
        Ok((coordinator.status(&run_id).await?, existed))
    }

    /// Activates a failed run again: what made it fail may be repaired.
    async fn revive(&self, failed: RunEntry) -> Result<(), ApiError> {
        let swap =
            self.coordinator.ledger.advance(&self.run_id, RunState::Failed, RunState::Running, None).await;
        match swap.map_err(|error| ledger_refusal(&error))? {
            Swap::Done => {
                let entry = RunEntry { state: RunState::Running, failure: None, totals: None, ..failed };
                self.coordinator.take_up(entry, Recovery::Grace, self.begun).await
            }
            Swap::Differs(state) => Err(ApiError::new(
                ErrorReason::RunEnded,
                format!("run {} is {} meanwhile: use another run id", self.run_id, state.as_str()),
            )),
        }
    }

    /// Records and activates a new run.
    async fn record(&self, plan: RunPlan) -> Result<(), ApiError> {
        let entry = RunEntry {
            plan,
            state: RunState::Running,
            source: self.source.clone(),
            created_at_ms: unix_ms(),
            fingerprint: None,
            run_file: None,
            totals: None,
            resources: RunResources::ZERO,
            failure: None,
        };
        let created = self
            .coordinator
            .ledger
            .create_run(entry.clone())
            .await
            .map_err(|error| ledger_refusal(&error))?;
        reach(Point::RunRecorded);
        if let Created::Existed(known) = created {
            // Only another coordinator on the same ledger can have recorded it meanwhile.
            plan::same_config(&known.plan, &entry.plan.config)?;
            plan::same_corpus(&known.plan, entry.plan.records, entry.plan.corpus_hash)?;
        }
        tracing::info!(run = %self.run_id, records = entry.plan.records, shards = entry.plan.cut().shards(), "planned a run");
        self.coordinator.take_up(entry, Recovery::Grace, self.begun).await
    }
}

fn write(
    path: &Path,
    mut queue: mpsc::Receiver<v1::Slice>,
    complete: &AtomicBool,
) -> Result<CorpusSummary, ApiError> {
    let failed = |error: FileError| ApiError::new(ErrorReason::Storage, error.to_string());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            ApiError::new(ErrorReason::Storage, format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    let mut writer = CorpusWriter::create(path).map_err(failed)?;
    while let Some(slice) = queue.blocking_recv() {
        let documents = documents(slice.documents)?;
        for record in slice.records {
            let record = Record::try_from(record)?;
            let document = documents.get(&record.document).ok_or_else(|| {
                ApiError::from(BadMessage::new(
                    "record.document",
                    "names a document that is not in its slice",
                ))
            })?;
            writer.push(record, document).map_err(failed)?;
        }
    }
    if !complete.load(Ordering::Acquire) {
        return Err(ApiError::new(
            ErrorReason::BadMessage,
            "the submission ended before the whole corpus had arrived",
        ));
    }
    writer.finish().map_err(failed)
}

/// Documents by their hashes, which are verified because other runs rely on them.
fn documents(
    documents: Vec<v1::Document>,
) -> Result<std::collections::BTreeMap<domain::ids::DocumentHash, SourceDocument>, ApiError> {
    documents
        .into_iter()
        .map(|document| {
            let sent = SourceDocument::try_from(document)?;
            let document = SourceDocument::new(sent.text, sent.neighbours);
            if document.hash != sent.hash {
                return Err(
                    BadMessage::new("document.hash", "is not the hash of its text and neighbours").into()
                );
            }
            Ok((document.hash, document))
        })
        .collect()
}
