//! Errors of finalizing a run, by whether a retry can succeed.

use std::error::Error;
use std::io;

use proto::status::ApiError;
use results::compact::CompactError;
use results::run_file::RunFileError;
use results::store::StoreError;
use tokio::task::JoinError;

use crate::ledger::LedgerError;
use crate::refusals::is_transient;
use crate::run::part_check::Damage;

/// An error of finalizing a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FinalizeError {
    /// Disk, store or ledger failed for now: a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// A retry would fail in the same way: the cause must be repaired first.
    #[error("{0}")]
    Permanent(String),
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

impl From<Damage> for FinalizeError {
    fn from(damage: Damage) -> Self {
        Self::of(damage.is_transient, &damage)
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

/// The only API error while finalizing is a run id that the store cannot hold.
impl From<ApiError> for FinalizeError {
    fn from(refusal: ApiError) -> Self {
        Self::Permanent(refusal.to_string())
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
