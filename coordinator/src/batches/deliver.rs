//! The delivery of a run's first questions, from its corpus to the last answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::budget::{Price, Tier, Usage, Usd};
use domain::config::{AfterWindow, RunConfig};
use domain::ids::RunId;
use llm::batch::{BatchClient, FILE_BYTES};
use llm::providers::{Destination, Provider};

use super::collect::Collected;
use super::driver::{Driver, Event};
use super::error::BatchError;
use super::gather::{FileBounds, Gathered, Gatherer};
use super::lifecycle::Patience;
use super::record::{Phase, Target};
use crate::clock::unix_ms;
use crate::embedded::{CorpusArgs, first_questions};
use crate::llm_gateway::response_cache::{Answers as _, OwnerLock, ResponseCache};

/// A run whose first questions go through batches.
pub(crate) struct Delivery {
    /// The run that pays.
    pub(crate) run_id: RunId,
    pub(crate) config: RunConfig,
    pub(crate) corpus: CorpusArgs,
    pub(crate) cache: Arc<ResponseCache>,
    /// Where batches are submitted.
    pub(crate) target: Target,
    /// Where live calls go, and with which headers: a part of the key of an answer.
    pub(crate) destination: Destination,
    pub(crate) provider: Provider,
    pub(crate) lock: Arc<OwnerLock>,
}

impl Delivery {
    /// Takes the lock of this process beside the file of answers.
    pub(crate) fn lock(answers: &Path) -> Result<Arc<OwnerLock>, BatchError> {
        let folder = folder_of(answers);
        OwnerLock::take(&folder).map(Arc::new).map_err(|error| BatchError::file(&folder, error))
    }
}

/// The folder beside a file of answers that holds the files of batches and the locks of their processes.
fn folder_of(answers: &Path) -> PathBuf {
    let mut name = answers.as_os_str().to_owned();
    name.push(".batches");
    PathBuf::from(name)
}

/// Gets the answers to the first questions of a run into the store, through batches: until every question is answered, has
/// failed for good, or was in batches often enough.
pub(crate) async fn deliver(
    delivery: &Delivery,
    say: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<Collected, BatchError> {
    let driver = driver(delivery)?;
    let mut all = Collected::default();
    loop {
        let gathered = gather(delivery).await?;
        tracing::info!(
            batches = gathered.marks.len(),
            questions = gathered.claimed,
            answered = gathered.answered,
            elsewhere = gathered.elsewhere,
            left_to_live = gathered.left_to_live,
            "first questions are in batches"
        );
        if gathered.marks.is_empty() {
            return Ok(all);
        }
        check_spending(delivery, &gathered)?;
        all += driver.work(&gathered.marks, say).await?;
    }
}

fn driver(delivery: &Delivery) -> Result<Driver, BatchError> {
    let batch = delivery.config.batch;
    let ms = |seconds: u64| seconds.saturating_mul(1000);
    let poll = u64::from(batch.poll_seconds);
    Ok(Driver {
        cache: Arc::clone(&delivery.cache),
        client: BatchClient::new(delivery.provider.clone())?,
        lock: Arc::clone(&delivery.lock),
        target: delivery.target.clone(),
        patience: Patience {
            unseen_ms: ms(2 * poll),
            window_ms: ms(u64::from(batch.window_hours) * 3600),
            cancels: batch.after_window == AfterWindow::Live,
        },
        look: Duration::from_secs(poll),
        window: format!("{}h", batch.window_hours),
        price: delivery.config.model().map(|model| model.price).unwrap_or_default(),
    })
}

/// Reads the corpus and puts its first questions into batches.
async fn gather(delivery: &Delivery) -> Result<Gathered, BatchError> {
    let Delivery { run_id, config, corpus, cache, target, lock, .. } = delivery;
    let (run_id, config, corpus) = (run_id.clone(), config.clone(), corpus.clone());
    let (cache, target, lock) = (Arc::clone(cache), target.clone(), Arc::clone(lock));
    let destination = delivery.destination.clone();
    let work = move || {
        let bounds = FileBounds { lines: config.batch.file_lines.into(), bytes: FILE_BYTES };
        let mut gatherer = Gatherer::new(&cache, &lock, run_id, target, bounds);
        first_questions(&corpus, &config, destination, &mut |first| gatherer.add(first))?;
        gatherer.finish()
    };
    tokio::task::spawn_blocking(work).await?
}

/// What the questions will cost, about: as many times as there are questions what one of the usual length costs, in a batch or, where
/// its factor is not known, at once, which is dearer.
fn estimate(price: &Price, gathered: &Gathered) -> Usd {
    let each = |tokens: u64| tokens.checked_div(gathered.claimed).unwrap_or(0);
    let (prompt, completion) = (each(gathered.prompt_tokens), each(gathered.answer_tokens));
    let usual = Usage { prompt, completion, total: prompt + completion, ..Usage::default() };
    let one = price.by_table(&usual, Tier::Batch).or_else(|| price.by_table(&usual, Tier::Standard));
    Usd::from_ticks(one.unwrap_or_default().ticks().saturating_mul(gathered.claimed))
}

/// Refuses to submit what would exceed the bounds of the run; what was gathered is freed.
fn check_spending(delivery: &Delivery, gathered: &Gathered) -> Result<(), BatchError> {
    let spend = &delivery.config.spend;
    let before = delivery.cache.spent_of(std::slice::from_ref(&delivery.run_id))?;
    let before = before.into_iter().next().map(|(_, spent)| spent).unwrap_or_default();
    let calls = before.calls.saturating_add(gathered.claimed);
    let cost = delivery.config.model().map(|model| estimate(&model.price, gathered)).unwrap_or_default();
    let cost = before.cost.plus(cost);
    let key = if spend.max_requests > 0 && calls > spend.max_requests {
        "spend.max_requests"
    } else if spend.max_cost_usd > 0.0 && cost > Usd::from_f64(spend.max_cost_usd) {
        "spend.max_cost_usd"
    } else {
        return Ok(());
    };
    for batch in delivery.cache.batches()? {
        if batch.owner == *delivery.lock.owner() && batch.phase == Phase::Ready {
            delivery.cache.advance_batch(&batch, &Phase::Dropped, unix_ms())?;
            // What stays behind takes room and nothing else.
            let _ = std::fs::remove_file(super::gather::questions_file(&delivery.lock, &batch.mark));
        }
    }
    Err(BatchError::Spending { key, calls, cost })
}
