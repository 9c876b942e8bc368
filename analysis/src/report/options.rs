//! The options of a report.

use std::path::PathBuf;

use crate::metrics::tokens::Prices;
use crate::paper::Finding;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Seed of all random numbers.
    pub(crate) seed: u64,
    /// Maximum number of failures shown with their documents; 0: the report contains no document.
    pub(crate) examples: usize,
    /// Maximum number of records in the page's table.
    pub(crate) rows: usize,
    pub(crate) prices: Option<Prices>,
    /// The folder of the paper's files and the findings of its audit.
    pub(crate) audit: Option<(PathBuf, Vec<Finding>)>,
}
