//! The paper's metrics. The crate's README defines each key for our runs.

use results::run_file::PublishedEntries;
use results::schema;
use serde::Serialize;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::rows::{Gates, Present, rows};
use crate::stats::{Counts, Median, round};

/// The source of patches by the deterministic rules.
const RULES: &str = "rules";

/// The paper's keys, in the paper's order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PaperMetrics {
    pub(crate) detections: u64,
    pub(crate) patches: u64,
    pub(crate) verified: u64,
    pub(crate) accepted: u64,
    /// `accepted` over `detections`, 4 decimals; 0 without detections.
    pub(crate) auto_fix_rate: f64,
    /// Median operations of the accepted patches; 0 without accepted patches.
    pub(crate) median_patch_ops: Median,
    /// Judged records that were not accepted and failed the policy gate.
    pub(crate) failed_policy: u64,
    pub(crate) failed_schema: u64,
    pub(crate) failed_safety: u64,
    pub(crate) failed_rescan: u64,
    /// Tokens of the patches written by a model.
    pub(crate) model_usage: Tokens,
}

/// Sums of tokens, rounded to 2 decimals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the published JSON")]
pub(crate) struct Tokens {
    pub(crate) prompt_tokens: f64,
    pub(crate) completion_tokens: f64,
    pub(crate) total_tokens: f64,
}

rows! {
    struct Row<'a> {
        status: &'a str = [schema::STATUS],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        source: &'a str = [schema::SOURCE],
        patch: Present = [schema::PATCH],
        patch_ops: u32 = [schema::PATCH_OPS],
        prompt: Option<u64> = [schema::PROMPT_TOKENS],
        completion: Option<u64> = [schema::COMPLETION_TOKENS],
        total: Option<u64> = [schema::TOTAL_TOKENS],
    }
}

/// Sums over all rows.
#[derive(Debug, Default)]
struct Sums {
    entries: PublishedEntries,
    accepted: u64,
    ops: Counts,
    failed_policy: u64,
    failed_schema: u64,
    failed_safety: u64,
    failed_rescan: u64,
    prompt: u64,
    completion: u64,
    total: u64,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>) {
        let judged = row.gates.judged(row.status);
        self.entries.detections += 1;
        self.entries.patches += u64::from(row.patch.0);
        self.entries.verified += u64::from(judged);
        self.accepted += u64::from(row.accepted);
        if row.accepted && row.patch.0 {
            self.ops.add(row.patch_ops.into(), 1);
        }
        let failed = |verdict| u64::from(judged && !row.accepted && verdict == Some(false));
        self.failed_policy += failed(row.gates.policy);
        self.failed_schema += failed(row.gates.schema);
        self.failed_safety += failed(row.gates.safety);
        self.failed_rescan += failed(row.gates.rescan);
        if row.source != RULES {
            self.prompt += row.prompt.unwrap_or_default();
            self.completion += row.completion.unwrap_or_default();
            self.total += row.total.unwrap_or_default();
        }
    }
}

impl PaperMetrics {
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let mut sums = Sums::default();
        results.each::<Row>(|row| sums.add(&row))?;
        let entries = entries(results).unwrap_or(sums.entries);
        let accepted = sums.accepted;
        let rate = if entries.detections == 0 { 0.0 } else { accepted as f64 / entries.detections as f64 };
        let tokens = |sum: u64| round(sum as f64, 2);
        Ok(Self {
            detections: entries.detections,
            patches: entries.patches,
            verified: entries.verified,
            accepted,
            auto_fix_rate: round(rate, 4),
            median_patch_ops: sums.ops.median().unwrap_or(Median::Middle(0)),
            failed_policy: sums.failed_policy,
            failed_schema: sums.failed_schema,
            failed_safety: sums.failed_safety,
            failed_rescan: sums.failed_rescan,
            model_usage: Tokens {
                prompt_tokens: tokens(sums.prompt),
                completion_tokens: tokens(sums.completion),
                total_tokens: tokens(sums.total),
            },
        })
    }
}

/// The entry counts of the imported files, if every part belongs to imported runs that were named by their folders.
fn entries(results: &Results) -> Option<PublishedEntries> {
    let named: usize = results.runs().map(|run| run.parts.len()).sum();
    if results.runs().len() == 0 || named != results.parts().len() {
        return None;
    }
    results.runs().try_fold(PublishedEntries::default(), |sum, run| {
        let entries = run.imported_from.as_ref()?.entries;
        Some(PublishedEntries {
            detections: sum.detections + entries.detections,
            patches: sum.patches + entries.patches,
            verified: sum.verified + entries.verified,
        })
    })
}
