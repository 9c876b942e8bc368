#![doc = include_str!("../README.md")]

pub mod error;
pub mod failures;
pub mod load;
pub mod metrics;
pub mod policy_metrics;
mod query;
pub mod stats;

pub use error::AnalysisError;
pub use load::Results;
