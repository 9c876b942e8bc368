//! The metrics of a run: the published keys with the published meaning, and ours beside them.

mod extended;
mod pass;
mod published;

use serde::Serialize;

use crate::error::AnalysisError;
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
