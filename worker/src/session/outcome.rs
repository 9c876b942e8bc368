//! When a session ends, and with what result.

use domain::scanner::InvalidVersion;
use tonic::Status;

/// Whether the worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Take leases and work.
    Work,
    /// Finish and commit the shards in progress, release the other leases, then end.
    Drain,
}

/// Counts of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Shards that were committed.
    pub committed: u64,
    /// Shards whose lease expired, or whose commit was refused.
    pub lost: u64,
    /// Leases that were released without a commit.
    pub released: u64,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The coordinator refuses this worker for good.
    #[error("the coordinator refuses this worker: {}", .0.message())]
    Refused(#[source] Status),
    /// A scanner says a version that cannot be sent.
    #[error(transparent)]
    Scanner(InvalidVersion),
}
