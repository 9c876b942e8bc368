//! Figures computed from the rows of runs: metrics of a run and of each policy, failures, patch sizes, times, tokens,
//! comparisons; and the summary of a probe.
//!
//! *Invariant*: every figure depends on the rows alone, not on their distribution over files; what was not measured is
//! null.

pub(crate) mod ablation;
pub(crate) mod agreement;
pub(crate) mod diff;
mod extended;
pub(crate) mod failures;
pub(crate) mod head_to_head;
pub(crate) mod latency;
pub(crate) mod pairs;
mod paper;
mod pass;
pub(crate) mod patch_stats;
pub(crate) mod policy_metrics;
pub(crate) mod probe_report;
pub(crate) mod served;
pub(crate) mod servers;
pub(crate) mod significance;
pub(crate) mod tokens;
mod tool_rescan;
mod whole;

pub(crate) use extended::Extended;
pub(crate) use paper::PaperMetrics;
pub(crate) use whole::Metrics;
