//! API errors for failures of ledger and store, and for calls that the current state forbids.

use std::io::ErrorKind;

use domain::ids::RunId;
use proto::status::{ApiError, ErrorReason};
use results::store::StoreError;

use crate::ledger::LedgerError;

/// The coordinator is shutting down and accepts no new work.
pub(crate) fn ending() -> ApiError {
    ApiError::new(ErrorReason::Draining, "the coordinator is shutting down")
}

pub(crate) fn unknown_run(run_id: &RunId) -> ApiError {
    ApiError::new(
        ErrorReason::UnknownRun,
        format!("unknown run {run_id}: `coordinator status` lists the runs"),
    )
}

pub(crate) fn ledger_refusal(error: &LedgerError) -> ApiError {
    match error {
        LedgerError::UnknownRun(run_id) => unknown_run(run_id),
        LedgerError::Unavailable { .. } | LedgerError::Unusable { .. } => {
            tracing::error!(%error, "ledger error");
            ApiError::new(ErrorReason::Storage, error.to_string())
        }
    }
}

/// A file or object cannot be read or written.
pub(crate) fn storage_failed(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorReason::Storage, error.to_string())
}

pub(crate) fn storage(error: &StoreError) -> ApiError {
    tracing::error!(%error, "store error");
    ApiError::new(ErrorReason::Storage, error.to_string())
}

/// Whether a retry may succeed after an I/O error of this kind.
pub(crate) fn is_transient(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}
