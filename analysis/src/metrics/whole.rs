//! Metrics of the rows of one or several runs: the paper's keys and ours.

use serde::Serialize;

use super::extended::Extended;
use super::paper::PaperMetrics;
use crate::load::{AnalysisError, Results};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Metrics {
    /// At top level in JSON.
    #[serde(flatten)]
    pub(crate) paper: PaperMetrics,
    pub(crate) extended: Extended,
}

impl Metrics {
    /// Fails if a record occurs twice.
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        Ok(Self { paper: PaperMetrics::compute(results)?, extended: Extended::compute(results)? })
    }
}
