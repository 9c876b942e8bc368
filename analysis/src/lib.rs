#![doc = include_str!("../README.md")]

pub mod ablation;
pub mod baselines;
pub mod bundle;
pub mod calibration;
pub mod cases;
pub mod cross_version;
pub mod detector_eval;
pub mod diff;
pub mod error;
pub mod failures;
pub mod fairness;
pub mod files;
pub mod latency;
pub mod load;
pub mod metrics;
pub mod multi_seed;
pub mod patch_stats;
pub mod policy_metrics;
pub mod probe_report;
mod query;
pub mod queue;
pub mod reference;
pub mod render;
pub mod report;
pub mod risk;
pub mod schedule;
pub mod significance;
pub mod sql;
pub mod stats;
pub mod throughput;
pub mod tokens;

pub use error::AnalysisError;
pub use load::Results;
