//! Why an analysis fails.

use polars::error::PolarsError;

use crate::load::LoadError;

/// Why an analysis fails.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The results cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A query over the results fails: a damaged file, or memory.
    #[error("cannot compute from the results")]
    Query(#[from] PolarsError),
    /// The same record occurs twice, so every count would be wrong.
    #[error("record {record_id:?} of run {run_id:?} occurs {times} times in the results")]
    Repeated {
        /// The run.
        run_id: String,
        /// The record.
        record_id: String,
        /// How often.
        times: u64,
    },
}
