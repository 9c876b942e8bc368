//! Attribution of this process's CPU and memory to a run.

use std::sync::atomic::{AtomicU64, Ordering};

use cli_support::usage::Usage;

/// Whether CPU and memory of this process are those of one run.
#[derive(Debug)]
pub(super) struct Attribution {
    /// Whether the workers are threads of this process. The CPU of other workers is not measured.
    workers_inside: bool,
    /// How many times a run was taken up.
    taken_up: AtomicU64,
}

impl Attribution {
    pub(super) fn new(workers_inside: bool) -> Self {
        Self { workers_inside, taken_up: AtomicU64::new(0) }
    }

    /// A run was taken up.
    pub(super) fn take_up(&self) {
        self.taken_up.fetch_add(1, Ordering::Relaxed);
    }

    /// CPU and memory of this process, if all of it was used for one run.
    pub(super) fn usage(&self) -> Option<Usage> {
        let alone = self.workers_inside && self.taken_up.load(Ordering::Relaxed) == 1;
        alone.then(Usage::of_this_process).flatten()
    }
}
