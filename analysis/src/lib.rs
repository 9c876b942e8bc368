#![doc = include_str!("../README.md")]

pub mod load;
pub mod metrics;
pub mod paper;
pub mod queue;
pub mod render;
pub mod report;
pub mod risk;
pub mod schedule;
pub mod stats;

pub use load::{AnalysisError, Results};
