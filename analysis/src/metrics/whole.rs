//! The metrics of the rows of one or several runs: the paper's keys, and ours beside them.

use serde::Serialize;

use super::extended::Extended;
use super::paper::PaperMetrics;
use crate::load::{AnalysisError, Results};

/// The metrics of the rows of one or several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Metrics {
    /// The keys of the original, at top level.
    #[serde(flatten)]
    pub(crate) paper: PaperMetrics,
    /// What the original does not say.
    pub(crate) extended: Extended,
}

impl Metrics {
    /// Computes them. Refuses results in which a record occurs twice.
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        Ok(Self { paper: PaperMetrics::compute(results)?, extended: Extended::compute(results)? })
    }
}
