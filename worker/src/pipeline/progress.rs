//! How far the talk about a slice is, for whoever decides whether there is enough to talk about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Matters that were settled, over all slices.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    count: AtomicU64,
    told: Notify,
}

impl Settled {
    /// How many there have been.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns when one more was settled since the last time.
    pub(crate) async fn more(&self) {
        self.told.notified().await;
    }
}

/// How much of a slice is still talked over, seen from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    open: Arc<AtomicU64>,
    settled: Arc<Settled>,
}

impl Progress {
    /// A talk about at most so many matters, which counts in `settled`.
    pub(crate) fn about(matters: u64, settled: Arc<Settled>) -> Self {
        Self { open: Arc::new(AtomicU64::new(matters)), settled }
    }

    /// Matters that are not settled.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// It turns out to be about so many matters.
    pub(crate) fn begins(&self, matters: usize) {
        self.open.store(matters as u64, Ordering::Relaxed);
        self.settled.told.notify_one();
    }

    /// One of them is settled.
    pub(crate) fn settle(&self) {
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        self.settled.count.fetch_add(1, Ordering::Relaxed);
        self.settled.told.notify_one();
    }
}
