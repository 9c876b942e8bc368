//! Rows of results as plain values, for computations that are more than sums over columns: orders, ages, pairs.

use std::sync::Arc;

use results::schema;

use super::error::AnalysisError;
use super::results::Results;
use super::rows::{Gates, Later, Present, Texts, rows};
use super::words::Words;

/// A record's row without its long texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) run: Arc<str>,
    pub(crate) id: String,
    /// 0-based position in the corpus.
    pub(crate) position: u64,
    /// Hash of the document.
    pub(crate) document: Option<Arc<str>>,
    /// Kind of the object.
    pub(crate) kind: Arc<str>,
    /// Canonical policy.
    pub(crate) policy: Arc<str>,
    /// The scanner's id.
    pub(crate) raw_policy: Arc<str>,
    /// The author of the patch: `rules`, or a model.
    pub(crate) source: Arc<str>,
    pub(crate) status: Arc<str>,
    /// Attribution of the failure.
    pub(crate) fault: Arc<str>,
    /// The first of its errors; empty when it was accepted.
    pub(crate) reason: Arc<str>,
    /// Whether at least one gate ran.
    pub(crate) judged: bool,
    pub(crate) accepted: bool,
    /// Verdicts of the gates.
    pub(crate) gates: Verdicts,
    /// Operations of its patch; `None` without a patch.
    pub(crate) patch_ops: Option<u32>,
    pub(crate) times: Times,
    pub(crate) tokens: Usage,
    /// Where its cost is known from.
    pub(crate) cost_source: Option<Arc<str>>,
    /// The model that answered, see [`label`].
    pub(crate) model: Option<Arc<str>>,
    /// Samples of a model, and those of them whose own patch every gate accepted; 0: none was asked.
    pub(crate) samples: (u64, u64),
}

/// Verdicts by gate; `None`: the gate did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// The schema gate on the document before the repair.
    pub(crate) schema_before: Option<bool>,
    pub(crate) apply: Option<bool>,
    pub(crate) policy: Option<bool>,
    pub(crate) safety: Option<bool>,
    pub(crate) schema: Option<bool>,
    pub(crate) rescan: Option<bool>,
}

/// Milliseconds; `None`: not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names of the columns")]
pub(crate) struct Times {
    pub(crate) propose_ms: Option<f64>,
    pub(crate) llm_ms: Option<f64>,
    pub(crate) verify_ms: Option<f64>,
    pub(crate) total_ms: Option<f64>,
}

impl Times {
    /// Seconds to propose and verify; `None` unless both were measured.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some((self.propose_ms? + self.verify_ms?) / 1000.0)
    }
}

/// Tokens and cost as reported by the provider; `None`: not reported.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) prompt: Option<u64>,
    pub(crate) completion: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) total: Option<u64>,
    pub(crate) cost_usd: Option<f64>,
}

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        id: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        document: Option<&'a str> = [schema::DOCUMENT_HASH],
        kind: &'a str = [schema::KIND],
        policy: &'a str = [schema::POLICY_ID],
        raw_policy: &'a str = [schema::RAW_POLICY_ID],
        source: &'a str = [schema::SOURCE],
        status: &'a str = [schema::STATUS],
        fault: &'a str = [schema::FAULT],
        errors: Texts<'a> = [schema::ERRORS],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        patch: Present = [schema::PATCH],
        patch_ops: u32 = [schema::PATCH_OPS],
        propose_ms: Option<f64> = [schema::PROPOSE_MS],
        llm_ms: Option<f64> = [schema::LLM_MS],
        verify_ms: Option<f64> = [schema::VERIFY_MS],
        total_ms: Option<f64> = [schema::TOTAL_MS],
        prompt: Option<u64> = [schema::PROMPT_TOKENS],
        completion: Option<u64> = [schema::COMPLETION_TOKENS],
        reasoning: Option<u64> = [schema::REASONING_TOKENS],
        total: Option<u64> = [schema::TOTAL_TOKENS],
        cost_usd: Option<f64> = [schema::COST_USD],
        cost_source: Later<Option<&'a str>> = [schema::COST_SOURCE],
        requested: Later<Option<&'a str>> = [schema::MODEL_REQUESTED],
        served: Later<Option<&'a str>> = [schema::MODEL_SERVED],
        samples: u64 = [schema::SAMPLES],
        samples_passed: u64 = [schema::SAMPLES_PASSED],
    }
}

/// The name of a group of rows: the model that answered, or the requested one where the replies do not disclose it. `None`:
/// no model was asked, or the row is of a release that did not say.
pub(crate) fn label(requested: Option<&str>, served: Option<&str>) -> Option<String> {
    let requested = requested?;
    Some(served.map_or_else(|| format!("{requested} (not disclosed)"), str::to_owned))
}

/// The rows of results in the order of the corpus. Refuses results in which a record occurs twice.
pub(crate) fn read(results: &Results) -> Result<Vec<Case>, AnalysisError> {
    results.refuse_repeats()?;
    let (mut cases, mut words) = (vec![], Words::default());
    results.each::<Row>(|row| cases.push(case(&row, &mut words)))?;
    cases.sort_unstable_by(|a: &Case, b: &Case| (a.position, &a.run).cmp(&(b.position, &b.run)));
    Ok(cases)
}

fn case(row: &Row<'_>, words: &mut Words) -> Case {
    Case {
        run: words.of(row.run),
        id: row.id.to_owned(),
        position: row.position,
        document: row.document.map(|hash| words.of(hash)),
        kind: words.of(row.kind),
        policy: words.of(row.policy),
        raw_policy: words.of(row.raw_policy),
        source: words.of(row.source),
        status: words.of(row.status),
        fault: words.of(row.fault),
        reason: words.of(row.errors.first().unwrap_or_default()),
        judged: row.gates.judged(row.status),
        accepted: row.accepted,
        gates: Verdicts {
            schema_before: row.gates.schema_before,
            apply: row.gates.apply,
            policy: row.gates.policy,
            safety: row.gates.safety,
            schema: row.gates.schema,
            rescan: row.gates.rescan,
        },
        patch_ops: row.patch.0.then_some(row.patch_ops),
        times: Times {
            propose_ms: row.propose_ms,
            llm_ms: row.llm_ms,
            verify_ms: row.verify_ms,
            total_ms: row.total_ms,
        },
        tokens: Usage {
            prompt: row.prompt,
            completion: row.completion,
            reasoning: row.reasoning,
            total: row.total,
            cost_usd: row.cost_usd,
        },
        cost_source: row.cost_source.0.map(|source| words.of(source)),
        model: label(row.requested.0, row.served.0).map(|model| words.of(&model)),
        samples: (row.samples, row.samples_passed),
    }
}
