//! What a report is about, beside its runs.

use std::path::PathBuf;

use crate::metrics::tokens::Prices;
use crate::paper::Finding;

/// What a report is about, beside its runs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Seed of everything drawn at random.
    pub(crate) seed: u64,
    /// Failures shown with their documents, at most; 0: no document enters the report.
    pub(crate) examples: usize,
    /// Records in the page's table, at most.
    pub(crate) rows: usize,
    pub(crate) prices: Option<Prices>,
    /// Published numbers that cannot be right, for a section of their own.
    pub(crate) audit: Option<(PathBuf, Vec<Finding>)>,
}
