//! Inputs of all figures: rows of runs, by columns or as plain values, and small files.
//!
//! *Owns*: finding, checking and reading of results and files. *Never*: computes a figure.

mod bucket;
pub(crate) mod cases;
mod columns;
mod error;
pub(crate) mod files;
mod places;
mod results;
pub(crate) mod rows;
pub(crate) mod words;

pub(crate) use self::results::Results;
pub(crate) use error::{AnalysisError, LoadError};
