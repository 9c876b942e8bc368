//! Attribution of this process's CPU and memory to a run.

use std::sync::atomic::{AtomicU64, Ordering};

use cli_support::usage::Usage;

/// Decides whether CPU and memory of this process can be attributed to one run.
#[derive(Debug)]
pub(in crate::run) struct Attribution {
    /// Whether the workers are threads of this process. The CPU of other workers is not measured.
    workers_inside: bool,
    /// Number of runs that this process has worked on.
    taken_up: AtomicU64,
}

impl Attribution {
    pub(in crate::run) fn new(workers_inside: bool) -> Self {
        Self { workers_inside, taken_up: AtomicU64::new(0) }
    }

    /// Counts a run that this process begins to work on.
    pub(in crate::run) fn take_up(&self) {
        self.taken_up.fetch_add(1, Ordering::Relaxed);
    }

    /// CPU and memory of this process, if all of it was used for one run.
    pub(in crate::run) fn usage(&self) -> Option<Usage> {
        let alone = self.workers_inside && self.taken_up.load(Ordering::Relaxed) == 1;
        alone.then(Usage::of_this_process).flatten()
    }
}
