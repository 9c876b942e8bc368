//! What is computed from the rows of runs: metrics of a run and of each policy, failures, sizes, times, tokens,
//! comparisons; and the summary of a probe.
//!
//! *Invariant*: every figure depends on the rows alone, not on how they lie in files; what was not measured is null.

pub mod ablation;
pub mod diff;
mod extended;
pub mod failures;
pub mod latency;
mod paper;
mod pass;
pub mod patch_stats;
pub mod policy_metrics;
pub mod probe_report;
pub mod significance;
pub mod sql;
pub mod tokens;
mod whole;

pub use extended::{Extended, GateTally, Latency};
pub use paper::{PaperMetrics, Tokens};
pub use pass::PassAtK;
pub use whole::Metrics;
