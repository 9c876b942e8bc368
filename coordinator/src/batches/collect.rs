//! Reads the answers of a batch and ticks its questions off.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use domain::answer::{CallOutcome, FailureKind};
use domain::budget::Price;
use llm::batch::{BatchClient, LineOutcome, LineReader, ResultLine};
use llm::error::Failure;
use llm::refusals::kind;
use llm::reply::Paid;

use super::error::BatchError;
use super::record::BatchRecord;
use crate::clock::unix_ms;
use crate::llm_gateway::response_cache::{CacheEntry, LlmUsage, ResponseCache, Tick, Ticked};

/// Lines that are ticked off in one transaction.
const TOGETHER: usize = 500;

/// What the lines of a batch came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    /// Questions that were answered.
    pub(crate) answered: u64,
    /// Questions that failed for good.
    pub(crate) failed: u64,
    /// Questions that failed, and may be asked again.
    pub(crate) again: u64,
    /// Questions that were not asked: the batch ended before.
    pub(crate) unasked: u64,
    /// Lines that came twice, or are about no question of the batch.
    pub(crate) surplus: u64,
    /// Lines that cannot be read.
    pub(crate) unreadable: u64,
    /// A failure that every line would share, if there was one.
    pub(crate) shared: Option<Failure>,
}

impl std::ops::AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.again += other.again;
        self.unasked += other.unasked;
        self.surplus += other.surplus;
        self.unreadable += other.unreadable;
        self.shared = self.shared.take().or(other.shared);
    }
}

/// Reads the lines of a file of answers or errors that was downloaded to `path`. Blocks.
pub(crate) fn collect(
    cache: &Arc<ResponseCache>,
    client: &BatchClient,
    batch: &BatchRecord,
    price: &Price,
    path: &Path,
) -> Result<Collected, BatchError> {
    let failed = |error| BatchError::file(path, error);
    let mut lines = LineReader::new(BufReader::new(File::open(path).map_err(failed)?));
    let collector = Collector { cache, client, batch, price };
    let (mut collected, mut together) = (Collected::default(), Vec::with_capacity(TOGETHER));
    while let Some((number, line)) = lines.next_line().map_err(failed)? {
        match line {
            Ok(line) => together.push(line),
            Err(why) => {
                tracing::warn!(batch = %batch.mark, line = number, %why, "a line of a batch is left out");
                collected.unreadable += 1;
            }
        }
        if together.len() >= TOGETHER {
            collected += collector.tick(&together)?;
            together.clear();
        }
    }
    collected += collector.tick(&together)?;
    Ok(collected)
}

struct Collector<'c> {
    cache: &'c Arc<ResponseCache>,
    client: &'c BatchClient,
    batch: &'c BatchRecord,
    price: &'c Price,
}

impl Collector<'_> {
    fn tick(&self, lines: &[ResultLine]) -> Result<Collected, BatchError> {
        let mut collected = Collected::default();
        if lines.is_empty() {
            return Ok(collected);
        }
        let keys: Vec<_> = lines.iter().map(|line| line.key).collect();
        let claims = self.cache.in_batch(&self.batch.mark, &keys)?;
        let mut ticked = Vec::with_capacity(lines.len());
        for (line, claim) in lines.iter().zip(claims) {
            let Some(prompt_tokens) = claim else {
                collected.surplus += 1;
                continue;
            };
            let (outcome, paid) = line.outcome(prompt_tokens, self.client.mask());
            if let LineOutcome::Failed(failure) = &outcome
                && matches!(kind(failure), FailureKind::Account | FailureKind::Key)
            {
                collected.shared.get_or_insert_with(|| failure.clone());
            }
            match self.ticked(line, outcome, &paid) {
                Some(line) => ticked.push(line),
                None => collected.unasked += 1,
            }
        }
        let kinds: Vec<(bool, bool)> = ticked
            .iter()
            .map(|line| (matches!(line.tick, Tick::Answered(_)), matches!(line.tick, Tick::Failed(_))))
            .collect();
        for (counts, kind) in self.cache.tick(self.batch, ticked)?.into_iter().zip(kinds) {
            let count = match (counts, kind) {
                (false, _) => &mut collected.surplus,
                (true, (true, _)) => &mut collected.answered,
                (true, (_, true)) => &mut collected.failed,
                (true, _) => &mut collected.again,
            };
            *count += 1;
        }
        Ok(collected)
    }

    /// What a line says of its question; `None`: it was not asked.
    fn ticked(&self, line: &ResultLine, outcome: LineOutcome, paid: &Paid) -> Option<Ticked> {
        let (tick, outcome) = match outcome {
            LineOutcome::Unasked => return None,
            LineOutcome::Answered(answer) => {
                let entry = CacheEntry {
                    answer: Arc::new(answer.clone()),
                    provider: self.batch.target.provider.clone(),
                    model: self.batch.target.model.clone(),
                    created_at_ms: unix_ms(),
                    replaces_before_ms: None,
                };
                (Tick::Answered(entry), CallOutcome::Answered(answer))
            }
            LineOutcome::Failed(failure) => {
                let (reason, kind) = (failure.to_string(), kind(&failure));
                let for_good = kind == FailureKind::Prompt;
                let tick = if for_good { Tick::Failed(reason.clone()) } else { Tick::Again(reason.clone()) };
                (tick, CallOutcome::failed(&reason, kind))
            }
        };
        let spent =
            LlmUsage::of(&outcome, paid.usage.of_one_call(), paid.charge.of_one_call(), Some(self.price));
        Some(Ticked { key: line.key, tick, spent })
    }
}
