//! What a call may take.

use std::num::NonZero;
use std::time::Duration;

/// What a call may take, and how many there are at the same time.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Bounds {
    /// Bytes of manifests that a call may name, as text or by paths
    #[arg(long, value_name = "BYTES", default_value_t = NonZero::new(1 << 20).unwrap_or(NonZero::<usize>::MIN))]
    pub(super) max_bytes: NonZero<usize>,
    /// Documents that they may hold
    #[arg(long, value_name = "N", default_value_t = NonZero::new(500).unwrap_or(NonZero::<usize>::MIN))]
    pub(super) max_documents: NonZero<usize>,
    /// Longest time of a call, with its wait for others
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// Calls that work at the same time; eight times as many may wait
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) concurrency: u8,
}

/// Calls that may wait for each one that works.
const WAITING: usize = 8;

/// What the arguments of a call have besides texts of manifests.
const FRAME_BYTES: usize = 1 << 20;

/// Bytes that a byte of text takes in JSON at most.
const ESCAPED: usize = 6;

/// Bytes of a message that is read whatever the bounds are: a longer one is dropped without an answer.
const LEAST_LINE_BYTES: usize = 64 << 20;

impl Bounds {
    /// Calls that work at the same time.
    pub(super) fn working(&self) -> usize {
        usize::from(self.concurrency)
    }

    /// Calls that work or wait.
    pub(super) fn admitted(&self) -> usize {
        self.working() * (1 + WAITING)
    }

    /// Bytes of the arguments of a call: two texts of the largest size, and what stands around them.
    pub(super) fn argument_bytes(&self) -> usize {
        self.max_bytes.get().saturating_mul(2).saturating_add(FRAME_BYTES)
    }

    /// Bytes of a message: more than a call may have, so that what is too large is refused with the reason.
    pub(super) fn line_bytes(&self) -> usize {
        self.argument_bytes().saturating_mul(ESCAPED).max(LEAST_LINE_BYTES)
    }
}
