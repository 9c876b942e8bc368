//! Commands that compute from the rows of runs, or write them in another form.

pub(super) mod ablation;
pub(super) mod agreement;
pub(super) mod cite;
pub(super) mod cross_version;
pub(super) mod diff;
pub(super) mod export;
pub(super) mod failures;
pub(super) mod fingerprint;
pub(super) mod latency;
pub(super) mod metrics;
pub(super) mod patch_stats;
pub(super) mod policy_metrics;
pub(super) mod probe_report;
pub(super) mod report;
pub(super) mod significance;
pub(super) mod tokens;
mod verdicts;
