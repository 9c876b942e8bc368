//! Why a finish failed, by whether another try can succeed.

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

/// Why a finish failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FinalizeError {
    /// Disk, store or ledger do not work for now: another try may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Another try would fail in the same way: a person has to repair something first.
    #[error("{0}")]
    Permanent(String),
}

impl FinalizeError {
    pub(super) fn of(may_heal: bool, error: &dyn std::fmt::Display) -> Self {
        if may_heal { Self::Unavailable(error.to_string()) } else { Self::Permanent(error.to_string()) }
    }
}

impl From<LedgerError> for FinalizeError {
    fn from(error: LedgerError) -> Self {
        Self::of(matches!(error, LedgerError::Unavailable { .. }), &error)
    }
}

impl From<StoreError> for FinalizeError {
    fn from(error: StoreError) -> Self {
        let may_heal = matches!(error, StoreError::Failed { .. } | StoreError::Folder { .. });
        Self::of(may_heal, &error)
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

/// What `Runs` refuses on the way is a name that the store cannot hold.
impl From<ApiError> for FinalizeError {
    fn from(refusal: ApiError) -> Self {
        Self::Permanent(refusal.to_string())
    }
}

/// The error of the operating system behind an error, if there is one.
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
