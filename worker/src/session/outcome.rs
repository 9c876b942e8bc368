//! When a session ends, and with what result.

use domain::scanner::InvalidVersion;
use proto::channel::Unreachable;
use proto::status::ErrorReason;
use tonic::Status;

use crate::remote::ROLE;

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
    /// The coordinator refuses this worker for good, or none can be reached before a setting is changed.
    #[error("{}", refusal(.0))]
    Refused(Status),
    /// A scanner says a version that cannot be sent.
    #[error(transparent)]
    Scanner(InvalidVersion),
}

fn refusal(status: &Status) -> String {
    match Unreachable::of(status) {
        Some(unreachable) => unreachable.to_string(),
        None => format!("the coordinator refuses this worker: {}", status.message()),
    }
}

impl SessionError {
    /// What to change, so that the worker can work.
    pub fn remedy(&self) -> String {
        let Self::Refused(status) = self else {
            return "install a release of the scanner whose version is a usual one".to_owned();
        };
        if let Some(unreachable) = Unreachable::of(status) {
            return unreachable.remedy(ROLE);
        }
        match ErrorReason::of(status) {
            Some(ErrorReason::PermissionDenied | ErrorReason::Unauthenticated) => format!(
                "give a proof of the role {ROLE}: --token-file with a token of that role (the coordinator's state folder has \
                 one in access/{ROLE}.token), or --tls-cert and --tls-key with a certificate of that role"
            ),
            _ => "install the same release on both sides".to_owned(),
        }
    }
}
