//! Work for the store in batches, one at a time: what comes while a batch is under way makes the next one.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::answers::AnswersError;

/// Items of one batch.
const BATCH: usize = 1000;

/// Between two tries of what failed.
const RETRY: Duration = Duration::from_secs(1);

/// A batch with what came of it.
#[derive(Debug)]
pub(super) struct Done<I, O> {
    pub(super) batch: Vec<I>,
    pub(super) result: Result<O, AnswersError>,
}

/// Work for the store: what waits, and the batch under way.
#[derive(Debug)]
pub(super) struct Batches<I, O> {
    pub(super) waiting: Vec<I>,
    under_way: Option<JoinHandle<Done<I, O>>>,
    /// Nothing begins before then: the last try failed.
    pub(super) not_before: Option<Instant>,
}

impl<I: Send + 'static, O: Send + 'static> Batches<I, O> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new(), under_way: None, not_before: None }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// Begins the next batch when nothing is in the way.
    pub(super) fn begin(&mut self, work: impl FnOnce(&[I]) -> Result<O, AnswersError> + Send + 'static) {
        let resting = self.not_before.is_some_and(|moment| Instant::now() < moment);
        if self.under_way.is_some() || self.waiting.is_empty() || resting {
            return;
        }
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        let batch = std::mem::replace(&mut self.waiting, rest);
        self.under_way = Some(tokio::task::spawn_blocking(move || {
            let done = work(&batch);
            Done { batch, result: done }
        }));
    }

    /// Waits for the batch under way, for ever when there is none.
    pub(super) async fn done(&mut self) -> Result<Done<I, O>, JoinError> {
        match &mut self.under_way {
            Some(task) => {
                let done = task.await;
                self.under_way = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// A batch failed: it comes first when the store is tried again.
    pub(super) fn put_back(&mut self, mut batch: Vec<I>) {
        batch.append(&mut self.waiting);
        self.waiting = batch;
        self.not_before = Some(Instant::now() + RETRY);
    }
}
