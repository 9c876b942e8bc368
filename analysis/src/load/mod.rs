//! What the figures are computed from: the rows of runs, lazily or as plain values, and small files beside them.
//!
//! *Owns*: how results and files are found, checked and read. *Never*: a figure.

pub(crate) mod cases;
mod columns;
mod error;
pub(crate) mod files;
mod places;
pub(crate) mod query;
mod results;

pub(crate) use error::{AnalysisError, LoadError};
pub(crate) use results::Results;
