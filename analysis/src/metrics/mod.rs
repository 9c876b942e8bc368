//! What is computed from the rows of runs: metrics of a run and of each policy, failures, sizes, times, tokens,
//! comparisons; and the summary of a probe.
//!
//! *Invariant*: every figure depends on the rows alone, not on how they lie in files; what was not measured is null.

pub mod ablation;
pub mod diff;
mod extended;
pub mod failures;
pub mod latency;
mod pass;
pub mod patch_stats;
pub mod policy_metrics;
pub mod probe_report;
mod published;
pub mod significance;
pub mod sql;
pub mod tokens;

use serde::Serialize;

use crate::load::AnalysisError;
use crate::load::Results;

pub use extended::{Extended, GateTally, Latency};
pub use pass::PassAtK;
pub use published::{Published, Tokens};

/// The metrics of the rows of one or several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The keys of the original, at top level.
    #[serde(flatten)]
    pub published: Published,
    /// What the original does not say.
    pub extended: Extended,
}

impl Metrics {
    /// Computes them. Refuses results in which a record occurs twice.
    pub fn compute(results: &Results) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        Ok(Self { published: Published::compute(results)?, extended: Extended::compute(results)? })
    }
}
