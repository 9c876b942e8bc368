//! How far the talk about a slice is, for whoever decides whether there is enough to talk about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How much of a slice is still talked over, seen from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    open: Arc<AtomicU64>,
    /// Told whenever a matter is settled.
    settled: Arc<Notify>,
}

impl Progress {
    /// A talk about at most so many matters, which tells `settled`.
    pub(crate) fn about(matters: u64, settled: Arc<Notify>) -> Self {
        Self { open: Arc::new(AtomicU64::new(matters)), settled }
    }

    /// Matters that are not settled.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// So many are open now.
    pub(crate) fn now(&self, open: usize) {
        self.open.store(open as u64, Ordering::Relaxed);
        self.settled.notify_one();
    }
}
