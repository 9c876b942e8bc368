//! Inputs of all figures: rows of runs, as lazy frames or plain values, and small files.
//!
//! *Owns*: finding, checking and reading of results and files. *Never*: computes a figure.

pub(crate) mod cases;
mod columns;
mod error;
pub(crate) mod files;
mod places;
pub(crate) mod query;
mod results;

pub(crate) use self::results::Results;
pub(crate) use error::{AnalysisError, LoadError};
