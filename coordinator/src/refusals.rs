//! What a failure of the ledger or the store, and a state that forbids a call, is to those who called.

use std::io::ErrorKind;

use domain::ids::RunId;
use proto::status::{ApiError, ErrorReason};
use results::store::StoreError;

use crate::ledger::LedgerError;

/// Nothing new is taken any more.
pub(crate) fn ending() -> ApiError {
    ApiError::new(ErrorReason::Draining, "the coordinator is ending")
}

pub(crate) fn unknown_run(run_id: &RunId) -> ApiError {
    ApiError::new(ErrorReason::UnknownRun, format!("there is not a run {run_id}"))
}

pub(crate) fn ledger_refusal(error: &LedgerError) -> ApiError {
    match error {
        LedgerError::UnknownRun(run_id) => unknown_run(run_id),
        LedgerError::Unavailable { .. } | LedgerError::Unusable { .. } => {
            tracing::error!(%error, "the ledger does not work");
            ApiError::new(ErrorReason::Storage, error.to_string())
        }
    }
}

/// Something at rest cannot be read or written.
pub(crate) fn storage_failed(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorReason::Storage, error.to_string())
}

pub(crate) fn storage(error: &StoreError) -> ApiError {
    tracing::error!(%error, "the store does not work");
    ApiError::new(ErrorReason::Storage, error.to_string())
}

/// Whether reading or writing again may succeed after an error of this kind.
pub(crate) fn is_transient(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}
