//! Progress of the LLM proposer over the slices of a worker, from which the session decides how much to prefetch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts the proposal tasks that have ended, over all slices.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    count: AtomicU64,
    changed: Notify,
}

impl Settled {
    /// How many have ended.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns when a slice has begun, or a task has ended, since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Open proposal tasks of one slice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    open: Arc<AtomicU64>,
    settled: Arc<Settled>,
}

impl Progress {
    /// A slice of at most `tasks` tasks, which are counted in `settled` when they end.
    pub(crate) fn new(tasks: u64, settled: Arc<Settled>) -> Self {
        Self { open: Arc::new(AtomicU64::new(tasks)), settled }
    }

    /// Tasks that have not ended.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// The slice is planned and has this many tasks.
    pub(crate) fn begin(&self, tasks: usize) {
        self.open.store(tasks as u64, Ordering::Relaxed);
        self.settled.changed.notify_one();
    }

    /// A task has ended.
    pub(crate) fn settle(&self) {
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        self.settled.count.fetch_add(1, Ordering::Relaxed);
        self.settled.changed.notify_one();
    }
}
