//! Puts questions into batches: into files on this machine, and claims on them in the store.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use domain::ids::{AnswerKey, RunId};
use llm::batch::Mark;

use super::error::BatchError;
use super::record::{BatchRecord, Phase, Target};
use crate::clock::unix_ms;
use crate::embedded::FirstQuestion;
use crate::llm_gateway::response_cache::{Claim, OwnerLock, ResponseCache, random_name};

/// Questions that are claimed in one transaction, and their bytes.
const TOGETHER: usize = 500;
const TOGETHER_BYTES: usize = 8 << 20;

/// Bounds of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileBounds {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// What came of the questions of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// Batches that hold questions of the corpus: new ones, and those of other runs.
    pub(crate) marks: BTreeSet<Mark>,
    /// Questions that are in new batches.
    pub(crate) claimed: u64,
    /// Questions that were answered before.
    pub(crate) answered: u64,
    /// Questions that are in batches of other runs, or of this one before.
    pub(crate) elsewhere: u64,
    /// Questions that are left to live calls.
    pub(crate) left_to_live: u64,
    /// Estimated tokens of the questions that are in new batches.
    pub(crate) prompt_tokens: u64,
    /// Estimated tokens of their answers.
    pub(crate) answer_tokens: u64,
}

/// Collects questions into batches.
pub(crate) struct Gatherer<'g> {
    cache: &'g Arc<ResponseCache>,
    lock: &'g OwnerLock,
    run_id: RunId,
    target: Target,
    bounds: FileBounds,
    /// Questions that are not yet claimed.
    waiting: Vec<FirstQuestion>,
    waiting_bytes: usize,
    open: Option<OpenBatch>,
    gathered: Gathered,
}

/// The batch that questions are put into.
struct OpenBatch {
    record: BatchRecord,
    file: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
}

/// Where the questions of a batch lie until the provider has them.
pub(crate) fn questions_file(lock: &OwnerLock, mark: &Mark) -> PathBuf {
    lock.file(&format!("{mark}.jsonl"))
}

impl<'g> Gatherer<'g> {
    pub(crate) fn new(
        cache: &'g Arc<ResponseCache>,
        lock: &'g OwnerLock,
        run_id: RunId,
        target: Target,
        bounds: FileBounds,
    ) -> Self {
        Self {
            cache,
            lock,
            run_id,
            target,
            bounds,
            waiting: Vec::new(),
            waiting_bytes: 0,
            open: None,
            gathered: Gathered::default(),
        }
    }

    /// Adds a question.
    pub(crate) fn add(&mut self, first: FirstQuestion) -> Result<(), BatchError> {
        self.waiting_bytes += first.line.len();
        self.waiting.push(first);
        let most = usize::try_from(self.bounds.lines).unwrap_or(TOGETHER).min(TOGETHER);
        if self.waiting.len() >= most || self.waiting_bytes >= TOGETHER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Closes the last batch.
    pub(crate) fn finish(mut self) -> Result<Gathered, BatchError> {
        self.flush()?;
        self.close()?;
        Ok(self.gathered)
    }

    fn flush(&mut self) -> Result<(), BatchError> {
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes) as u64;
        if waiting.is_empty() {
            return Ok(());
        }
        let is_full = self.open.as_ref().is_some_and(|open| {
            open.record.lines + waiting.len() as u64 > self.bounds.lines
                || open.bytes + bytes > self.bounds.bytes
        });
        if is_full {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let questions: Vec<(AnswerKey, u64)> =
            waiting.iter().map(|waits| (waits.key, waits.prompt_tokens)).collect();
        let claims = self.cache.claim(&open.record.mark, &questions)?;
        for (claim, FirstQuestion { prompt_tokens, answer_tokens, line, .. }) in
            claims.into_iter().zip(&waiting)
        {
            match claim {
                Claim::Claimed => {
                    open.file.write_all(line).map_err(|error| BatchError::file(&open.path, error))?;
                    open.bytes += line.len() as u64;
                    open.record.lines += 1;
                    self.gathered.claimed += 1;
                    self.gathered.prompt_tokens += prompt_tokens;
                    self.gathered.answer_tokens += answer_tokens;
                }
                Claim::Answered => self.gathered.answered += 1,
                // The same question of another record.
                Claim::Elsewhere(mark) if mark == open.record.mark => {}
                Claim::Elsewhere(mark) => {
                    self.gathered.elsewhere += 1;
                    self.gathered.marks.insert(mark);
                }
                Claim::LeftToLive => self.gathered.left_to_live += 1,
            }
        }
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self) -> Result<OpenBatch, BatchError> {
        let mark = random_name().and_then(|name| Mark::new(name).map_err(io::Error::other));
        let mark = mark.map_err(BatchError::Random)?;
        let path = questions_file(self.lock, &mark);
        let record = BatchRecord {
            mark,
            run_id: self.run_id.clone(),
            target: self.target.clone(),
            phase: Phase::Gathering,
            lines: 0,
            owner: self.lock.owner().clone(),
            created_at_ms: unix_ms(),
        };
        self.cache.begin_batch(&record)?;
        let file = File::create(&path).map_err(|error| BatchError::file(&path, error))?;
        Ok(OpenBatch { record, file: BufWriter::new(file), path, bytes: 0 })
    }

    /// Makes the file of the open batch durable, and the batch ready; one without questions is dropped.
    fn close(&mut self) -> Result<(), BatchError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let failed = |error| BatchError::file(&open.path, error);
        open.file.flush().map_err(failed)?;
        open.file.get_ref().sync_all().map_err(failed)?;
        let to = if open.record.lines > 0 { Phase::Ready } else { Phase::Dropped };
        self.cache.advance_batch(&open.record, &to, unix_ms())?;
        if to == Phase::Ready {
            self.gathered.marks.insert(open.record.mark);
        } else {
            // It is empty.
            let _ = std::fs::remove_file(&open.path);
        }
        Ok(())
    }
}
