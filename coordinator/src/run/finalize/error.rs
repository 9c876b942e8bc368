//! Errors of finalizing a run, by whether a retry can succeed.

use std::error::Error;
use std::io;

use domain::ids::{PartHash, ShardIndex};
use proto::status::{ApiError, ErrorReason};
use results::compact::CompactError;
use results::run_file::RunFileError;
use results::store::StoreError;
use tokio::task::JoinError;

use crate::ledger::LedgerError;
use crate::refusals::is_transient;

/// An error of finalizing a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FinalizeError {
    /// Disk, store or ledger failed for now: a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// A retry would fail in the same way: the cause must be repaired first.
    #[error("{0}")]
    Permanent(String),
    /// Committed parts are damaged or missing: their shards are leased again.
    #[error("{reason}")]
    Damaged {
        /// The shards, with the hashes of the parts that were committed.
        parts: Vec<(ShardIndex, PartHash)>,
        /// What is wrong with the first of them.
        reason: String,
    },
}

impl FinalizeError {
    pub(super) fn of(transient: bool, error: &dyn std::fmt::Display) -> Self {
        if transient { Self::Unavailable(error.to_string()) } else { Self::Permanent(error.to_string()) }
    }
}

impl From<LedgerError> for FinalizeError {
    fn from(error: LedgerError) -> Self {
        Self::of(matches!(error, LedgerError::Unavailable { .. }), &error)
    }
}

impl From<StoreError> for FinalizeError {
    fn from(error: StoreError) -> Self {
        let transient = matches!(error, StoreError::Failed { .. } | StoreError::Folder { .. });
        Self::of(transient, &error)
    }
}

impl From<CompactError> for FinalizeError {
    fn from(error: CompactError) -> Self {
        Self::of(io_error(&error).is_some_and(|error| is_transient(error.kind())), &error)
    }
}

impl From<RunFileError> for FinalizeError {
    fn from(error: RunFileError) -> Self {
        match error {
            RunFileError::Store(error) => error.into(),
            error => Self::Permanent(error.to_string()),
        }
    }
}

impl From<JoinError> for FinalizeError {
    fn from(error: JoinError) -> Self {
        Self::of(error.is_cancelled(), &error)
    }
}

/// A run id that the store cannot hold, or a failure of ledger or store.
impl From<ApiError> for FinalizeError {
    fn from(refusal: ApiError) -> Self {
        Self::of(refusal.reason == ErrorReason::Storage, &refusal)
    }
}

/// The I/O error in the chain of sources, if there is one.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
