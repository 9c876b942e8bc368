//! What the figures are computed from: the rows of runs, lazily or as plain values, and small files beside them.
//!
//! *Owns*: how results and files are found, checked and read. *Never*: a figure.

pub mod cases;
mod columns;
mod error;
pub mod files;
mod places;
pub(crate) mod query;
mod results;

pub use error::{AnalysisError, LoadError};
pub use results::Results;
