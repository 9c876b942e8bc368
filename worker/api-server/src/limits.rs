//! Bounds of what is asked of a server, and of what it may answer.

use std::time::Duration;

/// Bounds of time, size and number.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in flight.
    pub in_flight: usize,
    /// Longest time for one request and its answer.
    pub timeout: Duration,
    /// How often one request is sent before the server counts as unreachable.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each further one, up to [`Limits::longest_wait`].
    pub first_wait: Duration,
    /// Longest wait between two attempts, also where the server asks for more.
    pub longest_wait: Duration,
    /// Bytes of one answer.
    pub answer_bytes: usize,
    /// Entries of one List.
    pub list_entries: usize,
    /// Longest start of a control plane.
    pub start: Duration,
    /// How often a control plane that ended is started again.
    pub restarts: u32,
    /// Custom resource definitions that are installed.
    pub definitions: usize,
    /// Bounds of a document.
    pub document: domain::config::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 16,
            timeout: Duration::from_secs(30),
            attempts: 6,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
            // A server echoes the document, with its defaults; the discovery of a large cluster has a few megabytes.
            answer_bytes: 32 << 20,
            list_entries: 1_000,
            start: Duration::from_secs(120),
            restarts: 100,
            definitions: 1_000,
            document: domain::config::Limits::default(),
        }
    }
}
