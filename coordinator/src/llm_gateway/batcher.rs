//! Batches work for the response cache, one batch at a time: what arrives meanwhile makes the next one.
//!
//! *Invariant*: an item is in the queue until it is done or given up. A failed batch is put back and retried; after a panic
//! its items are retried one at a time, and only an item that panics repeatedly is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::llm_gateway::response_cache::CacheError;

/// Most items in a batch.
const BATCH: usize = 1000;

/// Items in the queue at which the task takes no further messages of workers. Messages taken before may add more.
pub(super) const FULL: usize = 4 * BATCH;

/// Delay before a failed batch is retried.
const RETRY: Duration = Duration::from_secs(1);

/// Panics of one item alone before it is given up.
const PANICS: u32 = 3;

/// Result of a batch.
#[derive(Debug)]
pub(super) enum BatchResult<I, O> {
    /// All items are done.
    Done(Vec<I>, O),
    /// The batch is in the queue again, for this reason.
    Failed(String),
    /// This item is given up, for this reason.
    GivenUp(I, String),
}

type Work<O> = JoinHandle<Result<O, CacheError>>;

/// Queue of work for the store, and the batch under way.
#[derive(Debug)]
pub(super) struct Batcher<I, O> {
    waiting: Vec<I>,
    under_way: Option<(Arc<Vec<I>>, Work<O>)>,
    /// When the next batch may start, after a failure.
    pub(super) not_before: Option<Instant>,
    /// How many items at the head of the queue are tried one at a time.
    alone: usize,
    /// Panics of the first item alone.
    panics: u32,
}

impl<I: Clone + Send + Sync + 'static, O: Send + 'static> Batcher<I, O> {
    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new(), under_way: None, not_before: None, alone: 0, panics: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= FULL
    }

    pub(super) fn push(&mut self, item: I) {
        self.waiting.push(item);
    }

    /// Whether any item that is not done matches.
    pub(super) fn any(&self, which: impl Fn(&I) -> bool) -> bool {
        let under_way = self.under_way.iter().flat_map(|(batch, _)| batch.iter());
        self.waiting.iter().chain(under_way).any(which)
    }

    /// Starts the next batch, unless one is under way or the last one failed a moment ago.
    pub(super) fn begin(&mut self, work: impl FnOnce(&[I]) -> Result<O, CacheError> + Send + 'static) {
        let resting = self.not_before.is_some_and(|moment| Instant::now() < moment);
        if self.under_way.is_some() || self.waiting.is_empty() || resting {
            return;
        }
        let most = if self.alone > 0 { 1 } else { BATCH };
        let rest = self.waiting.split_off(self.waiting.len().min(most));
        let batch = Arc::new(std::mem::replace(&mut self.waiting, rest));
        let shared = Arc::clone(&batch);
        self.under_way = Some((batch, tokio::task::spawn_blocking(move || work(&shared))));
    }

    /// Waits for the batch under way; never returns when there is none.
    pub(super) async fn done(&mut self) -> BatchResult<I, O> {
        let Some((_, task)) = &mut self.under_way else { return std::future::pending().await };
        let result = task.await;
        let batch = self.under_way.take().map(|(batch, _)| batch).unwrap_or_default();
        let batch = Arc::try_unwrap(batch).unwrap_or_else(|shared| Vec::clone(&shared));
        match result {
            Ok(Ok(output)) => {
                self.alone = self.alone.saturating_sub(batch.len());
                self.panics = 0;
                BatchResult::Done(batch, output)
            }
            Ok(Err(error)) => {
                self.put_back(batch);
                BatchResult::Failed(error.to_string())
            }
            Err(error) => self.broke_off(batch, &error),
        }
    }

    fn broke_off(&mut self, mut batch: Vec<I>, error: &JoinError) -> BatchResult<I, O> {
        let reason = format!("the response cache cannot be used: {error}");
        if error.is_panic() {
            self.panics = if batch.len() == 1 { self.panics + 1 } else { 0 };
            if self.panics >= PANICS
                && let Some(item) = batch.pop()
            {
                self.panics = 0;
                self.alone = self.alone.saturating_sub(1);
                return BatchResult::GivenUp(item, reason);
            }
            self.alone = self.alone.max(batch.len());
        }
        self.put_back(batch);
        BatchResult::Failed(reason)
    }

    /// Puts a batch back at the head of the queue.
    fn put_back(&mut self, mut batch: Vec<I>) {
        batch.append(&mut self.waiting);
        self.waiting = batch;
        self.not_before = Some(Instant::now() + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs until the queue is empty; returns the finished items, those given up, and the number of failures. Batches with
    /// an item for which `panics` holds panic.
    async fn play(
        items: std::ops::Range<u32>,
        panics: impl Fn(u32) -> bool + Clone + Send + 'static,
    ) -> (Vec<u32>, Vec<u32>, usize) {
        let mut batches = Batcher::new();
        items.for_each(|item| batches.push(item));
        let (mut done, mut given_up, mut failures) = (Vec::new(), Vec::new(), 0);
        while !batches.is_idle() {
            let panics = panics.clone();
            batches.begin(move |batch: &[u32]| {
                assert!(!batch.iter().any(|item| panics(*item)), "broken on purpose");
                Ok(batch.len())
            });
            if let Some(moment) = batches.not_before.filter(|moment| *moment > Instant::now()) {
                tokio::time::sleep_until(moment).await;
                continue;
            }
            match batches.done().await {
                BatchResult::Done(batch, count) => {
                    assert_eq!(batch.len(), count);
                    done.extend(batch);
                }
                BatchResult::Failed(reason) => {
                    assert!(reason.contains("broken on purpose"), "{reason}");
                    failures += 1;
                }
                BatchResult::GivenUp(item, _) => given_up.push(item),
            }
        }
        (done, given_up, failures)
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_panics_once_is_done_in_its_order() {
        let once = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let panics = move |_| once.swap(false, std::sync::atomic::Ordering::SeqCst);
        let (done, given_up, failures) = play(0..1500, panics).await;
        assert!(done.iter().copied().eq(0..1500));
        assert_eq!((given_up.len(), failures), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_that_always_panics_is_given_up_alone() {
        let (done, given_up, failures) = play(0..40, |item| item == 7).await;
        assert!(done.iter().copied().eq((0..40).filter(|item| *item != 7)));
        assert_eq!((given_up, failures), (vec![7], 3), "once in its batch, twice alone before the last try");
    }
}
