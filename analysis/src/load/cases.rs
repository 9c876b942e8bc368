//! Rows of results as plain values, for computations that are more than sums over columns: orders, ages, pairs.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::*;
use results::schema;

use super::error::AnalysisError;
use super::query::judged;
use super::results::Results;

/// Rows read at once, to bound memory: a frame of a million rows is as large as the cases themselves.
const CHUNK: IdxSize = 1 << 18;

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
    /// Verdicts of the gates that the paper has.
    pub(crate) gates: Verdicts,
    /// Operations of its patch; `None` without a patch.
    pub(crate) patch_ops: Option<u32>,
    pub(crate) times: Times,
    pub(crate) tokens: Usage,
}

/// Verdicts by gate; `None`: the gate did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) policy: Option<bool>,
    pub(crate) safety: Option<bool>,
    pub(crate) schema: Option<bool>,
    pub(crate) rescan: Option<bool>,
}

/// Milliseconds; `None`: not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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

/// The rows of results in the order of the corpus. Refuses results in which a record occurs twice.
pub(crate) fn read(results: &Results) -> Result<Vec<Case>, AnalysisError> {
    results.refuse_repeats()?;
    Ok(rows(results)?)
}

fn rows(results: &Results) -> PolarsResult<Vec<Case>> {
    let frame = results.frame().select(projection());
    let (mut cases, mut words) = (vec![], Words::default());
    loop {
        let chunk = frame.clone().slice(i64::try_from(cases.len()).unwrap_or(i64::MAX), CHUNK).collect()?;
        cases.extend(of_frame(&chunk, &mut words)?);
        if chunk.height() < CHUNK as usize {
            break;
        }
    }
    cases.sort_unstable_by(|a: &Case, b: &Case| (a.position, &a.run).cmp(&(b.position, &b.run)));
    Ok(cases)
}

fn of_frame(frame: &DataFrame, words: &mut Words) -> PolarsResult<Vec<Case>> {
    let text = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.str()?.clone());
    let yes = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.bool()?.clone());
    let real = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.f64()?.clone());
    let whole = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.u64()?.clone());
    let (run, id, document) = (text(schema::RUN_ID)?, text(schema::RECORD_ID)?, text(schema::DOCUMENT_HASH)?);
    let (kind, policy, raw) = (text(schema::KIND)?, text(schema::POLICY_ID)?, text(schema::RAW_POLICY_ID)?);
    let (source, status, fault) = (text(schema::SOURCE)?, text(schema::STATUS)?, text(schema::FAULT)?);
    let reason = text(schema::ERRORS)?;
    let (position, judged, accepted) = (whole(schema::POSITION)?, yes("judged")?, yes(schema::ACCEPTED)?);
    let gates = [schema::OK_POLICY, schema::OK_SAFETY, schema::OK_SCHEMA, schema::OK_RESCAN].map(yes);
    let [ok_policy, ok_safety, ok_schema, ok_rescan] = gates;
    let (ok_policy, ok_safety, ok_schema, ok_rescan) = (ok_policy?, ok_safety?, ok_schema?, ok_rescan?);
    let ops = frame.column(schema::PATCH_OPS)?.u32()?.clone();
    let (propose, llm) = (real(schema::PROPOSE_MS)?, real(schema::LLM_MS)?);
    let (verify, total) = (real(schema::VERIFY_MS)?, real(schema::TOTAL_MS)?);
    let (prompt, completion) = (whole(schema::PROMPT_TOKENS)?, whole(schema::COMPLETION_TOKENS)?);
    let (reasoning, tokens) = (whole(schema::REASONING_TOKENS)?, whole(schema::TOTAL_TOKENS)?);
    let cost = real(schema::COST_USD)?;
    Ok((0..frame.height())
        .map(|row| Case {
            run: words.of(run.get(row)),
            id: id.get(row).unwrap_or_default().to_owned(),
            position: position.get(row).unwrap_or_default(),
            document: document.get(row).map(|hash| words.of(Some(hash))),
            kind: words.of(kind.get(row)),
            policy: words.of(policy.get(row)),
            raw_policy: words.of(raw.get(row)),
            source: words.of(source.get(row)),
            status: words.of(status.get(row)),
            fault: words.of(fault.get(row)),
            reason: words.of(reason.get(row)),
            judged: judged.get(row).unwrap_or(false),
            accepted: accepted.get(row).unwrap_or(false),
            gates: Verdicts {
                policy: ok_policy.get(row),
                safety: ok_safety.get(row),
                schema: ok_schema.get(row),
                rescan: ok_rescan.get(row),
            },
            patch_ops: ops.get(row),
            times: Times {
                propose_ms: propose.get(row),
                llm_ms: llm.get(row),
                verify_ms: verify.get(row),
                total_ms: total.get(row),
            },
            tokens: Usage {
                prompt: prompt.get(row),
                completion: completion.get(row),
                reasoning: reasoning.get(row),
                total: tokens.get(row),
                cost_usd: cost.get(row),
            },
        })
        .collect())
}

/// The columns of a case.
fn projection() -> Vec<Expr> {
    let number = |name: &'static str| col(name).cast(DataType::Float64);
    vec![
        col(schema::RUN_ID),
        col(schema::RECORD_ID),
        col(schema::POSITION),
        col(schema::DOCUMENT_HASH),
        col(schema::KIND),
        col(schema::POLICY_ID),
        col(schema::RAW_POLICY_ID),
        col(schema::SOURCE),
        col(schema::STATUS),
        col(schema::FAULT),
        col(schema::ERRORS).list().get(lit(0), true).alias(schema::ERRORS),
        judged().alias("judged"),
        col(schema::ACCEPTED),
        col(schema::OK_POLICY),
        col(schema::OK_SAFETY),
        col(schema::OK_SCHEMA),
        col(schema::OK_RESCAN),
        when(col(schema::PATCH).is_not_null())
            .then(col(schema::PATCH_OPS))
            .otherwise(lit(NULL))
            .cast(DataType::UInt32)
            .alias(schema::PATCH_OPS),
        number(schema::PROPOSE_MS),
        number(schema::LLM_MS),
        number(schema::VERIFY_MS),
        number(schema::TOTAL_MS),
        col(schema::PROMPT_TOKENS),
        col(schema::COMPLETION_TOKENS),
        col(schema::REASONING_TOKENS),
        col(schema::TOTAL_TOKENS),
        col(schema::COST_USD),
    ]
}

/// Interned strings.
#[derive(Debug, Default)]
struct Words(HashMap<String, Arc<str>>);

impl Words {
    fn of(&mut self, word: Option<&str>) -> Arc<str> {
        let word = word.unwrap_or_default();
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let kept: Arc<str> = word.into();
        self.0.insert(word.to_owned(), kept.clone());
        kept
    }
}
