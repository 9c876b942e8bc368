//! The paper's metrics. The crate's README defines each key for our runs.

use polars::prelude::*;
use results::run_file::PublishedEntries;
use results::schema;
use serde::Serialize;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::query::{self, judged, no, rows, tally, total, yes};
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
pub(crate) struct Tokens {
    pub(crate) prompt_tokens: f64,
    pub(crate) completion_tokens: f64,
    pub(crate) total_tokens: f64,
}

impl PaperMetrics {
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let refused = judged().and(yes(schema::ACCEPTED).not());
        let failed = |gate, name| tally(refused.clone().and(no(gate)), name);
        let by_model = |tokens, name| total(col(tokens).filter(col(schema::SOURCE).neq(lit(RULES))), name);
        let answer = query::run(results.frame().select([
            rows("detections"),
            tally(col(schema::PATCH).is_not_null(), "patches"),
            tally(judged(), "verified"),
            tally(yes(schema::ACCEPTED), "accepted"),
            failed(schema::OK_POLICY, "failed_policy"),
            failed(schema::OK_SCHEMA, "failed_schema"),
            failed(schema::OK_SAFETY, "failed_safety"),
            failed(schema::OK_RESCAN, "failed_rescan"),
            by_model(schema::PROMPT_TOKENS, "prompt_tokens"),
            by_model(schema::COMPLETION_TOKENS, "completion_tokens"),
            by_model(schema::TOTAL_TOKENS, "total_tokens"),
        ]))?;
        let row = answer.only();
        let entries = match entries(results) {
            Some(entries) => entries,
            None => PublishedEntries {
                detections: row.count("detections")?,
                patches: row.count("patches")?,
                verified: row.count("verified")?,
            },
        };
        let accepted = row.count("accepted")?;
        let rate = if entries.detections == 0 { 0.0 } else { accepted as f64 / entries.detections as f64 };
        let tokens = |name| Ok::<_, PolarsError>(round(row.count(name)? as f64, 2));
        Ok(Self {
            detections: entries.detections,
            patches: entries.patches,
            verified: entries.verified,
            accepted,
            auto_fix_rate: round(rate, 4),
            median_patch_ops: accepted_ops(results)?.median().unwrap_or(Median::Middle(0)),
            failed_policy: row.count("failed_policy")?,
            failed_schema: row.count("failed_schema")?,
            failed_safety: row.count("failed_safety")?,
            failed_rescan: row.count("failed_rescan")?,
            model_usage: Tokens {
                prompt_tokens: tokens("prompt_tokens")?,
                completion_tokens: tokens("completion_tokens")?,
                total_tokens: tokens("total_tokens")?,
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

/// Operations of the accepted patches.
pub(super) fn accepted_ops(results: &Results) -> PolarsResult<Counts> {
    let ops = results
        .frame()
        .filter(yes(schema::ACCEPTED).and(col(schema::PATCH).is_not_null()))
        .group_by([col(schema::PATCH_OPS)])
        .agg([rows("times")]);
    let mut counts = Counts::default();
    for row in query::run(ops)?.rows() {
        counts.add(row.count(schema::PATCH_OPS)?, row.count("times")?);
    }
    Ok(counts)
}
