//! Metrics that the paper does not have: faults, intervals, effectiveness, times.

use std::collections::BTreeMap;

use domain::outcome::{Fault, Gate, Status};
use polars::prelude::*;
use results::paper_files::IMPORT;
use results::schema;
use serde::Serialize;

use super::paper::accepted_ops;
use super::pass::{PassAtK, pass_at_k};
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::query::{self, Row, is, no, rows, tally, total, yes};
use crate::stats::{Median, Proportion};

/// Timing columns, in processing order.
const TIMES: [&str; 10] = [
    schema::QUEUE_MS,
    schema::PROPOSE_MS,
    schema::LLM_MS,
    schema::VERIFY_MS,
    schema::APPLY_MS,
    schema::POLICY_MS,
    schema::SAFETY_MS,
    schema::SCHEMA_MS,
    schema::RESCAN_MS,
    schema::TOTAL_MS,
];

/// Our metrics. Proportions carry a Wilson interval at 95 %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Extended {
    /// The runs that the rows belong to.
    pub(crate) runs: Vec<String>,
    pub(crate) records: u64,
    /// Distinct documents.
    pub(crate) documents: u64,
    /// Rows by status; every status has a key.
    pub(crate) status: BTreeMap<&'static str, u64>,
    /// Accepted, of all rows.
    pub(crate) accepted_of_all: Proportion,
    /// Accepted, of the rows whose original document was valid.
    pub(crate) accepted_of_valid: Proportion,
    /// Effective, of the accepted rows that were verified here: the rescan passed without new violations, and no
    /// operation was collateral. Imported rows do not have this information.
    pub(crate) effective_of_accepted: Proportion,
    pub(crate) needs_review: Proportion,
    /// Rows with a fault, by fault; every fault has a key.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Verdicts by gate, in the order they run.
    pub(crate) gates: Vec<GateTally>,
    /// Rows that could not be processed, by kind of error.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Accepted rows by caution; a row may have several.
    pub(crate) cautions: BTreeMap<String, u64>,
    /// Median operations of the accepted patches.
    pub(crate) median_patch_ops: Option<Median>,
    /// 95th percentile (linear) of the same.
    pub(crate) p95_patch_ops: Option<f64>,
    pub(crate) max_patch_ops: Option<u64>,
    /// Operations that the violations did not require, over all rows.
    pub(crate) collateral_ops: u64,
    /// Accepted rows whose repair requires companion objects.
    pub(crate) with_companions: u64,
    /// Times by column, without columns that were not measured.
    pub(crate) latency_ms: BTreeMap<&'static str, Latency>,
    /// Tokens of all rows, whatever their source.
    pub(crate) tokens: BTreeMap<&'static str, u64>,
    /// Cost of all rows in US dollars; null when no row has one.
    pub(crate) cost_usd: Option<f64>,
    /// pass@k for each `k`; empty without a model.
    pub(crate) pass_at_k: Vec<PassAtK>,
    /// Non-finite timings and prices; they count as not measured.
    pub(crate) not_finite: u64,
}

/// Verdicts of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GateTally {
    /// `schema_before` is the schema gate on the original document.
    pub(crate) gate: &'static str,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) not_run: u64,
}

/// The distribution of a time, in ms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// Rows with a measured time, i.e. more than 0 ms.
    pub(crate) n: u64,
    pub(crate) mean: f64,
    pub(crate) median: f64,
    /// 95th percentile, linear.
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

impl Extended {
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let sums = query::run(results.frame().select(sums()))?;
        let row = sums.only();
        let (records, accepted) = (row.count("records")?, row.count("accepted")?);
        let ops = accepted_ops(results)?;
        let mut status = by_word(results.frame(), schema::STATUS)?;
        let needs_review = status.get(Status::NeedsReview.as_str()).copied().unwrap_or_default();
        let mut faults = by_word(results.frame().filter(is(schema::FAULT, "none").not()), schema::FAULT)?;
        let cautions = results.frame().filter(yes(schema::ACCEPTED)).select([
            col(schema::CAUTIONS).explode(ExplodeOptions { empty_as_null: false, keep_nulls: false })
        ]);
        Ok(Self {
            runs: by_word(results.frame(), schema::RUN_ID)?.into_keys().collect(),
            records,
            documents: row.count("documents")?,
            status: Status::ALL.iter().map(|word| every(word.as_str(), &mut status)).collect(),
            accepted_of_all: Proportion::new(accepted, records),
            accepted_of_valid: Proportion::new(row.count("accepted_valid")?, row.count("valid")?),
            effective_of_accepted: Proportion::new(row.count("effective")?, row.count("accepted_here")?),
            needs_review: Proportion::new(needs_review, records),
            faults: Fault::ALL
                .iter()
                .filter(|fault| **fault != Fault::None)
                .map(|word| every(word.as_str(), &mut faults))
                .collect(),
            gates: gates().map(|(gate, _)| gate_tally(row, gate, records)).collect::<PolarsResult<_>>()?,
            errors: by_word(results.frame(), schema::ERROR_KIND)?,
            cautions: by_word(cautions, schema::CAUTIONS)?,
            median_patch_ops: ops.median(),
            p95_patch_ops: ops.percentile(95.0),
            max_patch_ops: ops.max(),
            collateral_ops: row.count("collateral_ops")?,
            with_companions: row.count("with_companions")?,
            latency_ms: latencies(row)?,
            tokens: tokens(row)?,
            pass_at_k: pass_at_k(results)?,
            not_finite: results.not_finite()?,
            cost_usd: if row.count("priced")? > 0 { row.number("cost_usd")? } else { None },
        })
    }
}

/// The gates with their columns, in the order they run.
fn gates() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        (Gate::Apply.as_str(), schema::OK_APPLY),
        (Gate::Policy.as_str(), schema::OK_POLICY),
        (Gate::Safety.as_str(), schema::OK_SAFETY),
        ("schema_before", schema::SCHEMA_BEFORE),
        (Gate::Schema.as_str(), schema::OK_SCHEMA),
        (Gate::Rescan.as_str(), schema::OK_RESCAN),
    ]
    .into_iter()
}

fn token_columns() -> impl Iterator<Item = &'static str> {
    [schema::PROMPT_TOKENS, schema::COMPLETION_TOKENS, schema::REASONING_TOKENS, schema::TOTAL_TOKENS]
        .into_iter()
}

/// All sums that need one pass over the rows.
fn sums() -> Vec<Expr> {
    let accepted = || yes(schema::ACCEPTED);
    let judged_here = || accepted().and(is(schema::WORKER, IMPORT).not());
    let effective = judged_here()
        .and(yes(schema::OK_RESCAN))
        .and(col(schema::NEW_VIOLATIONS).list().len().eq(lit(0)))
        .and(col(schema::COLLATERAL_OPS).eq(lit(0)));
    let mut sums = vec![
        rows("records"),
        tally(accepted(), "accepted"),
        tally(yes(schema::SCHEMA_BEFORE), "valid"),
        tally(accepted().and(yes(schema::SCHEMA_BEFORE)), "accepted_valid"),
        tally(effective, "effective"),
        tally(judged_here(), "accepted_here"),
        col(schema::DOCUMENT_HASH).drop_nulls().n_unique().cast(DataType::UInt64).alias("documents"),
        total(col(schema::COLLATERAL_OPS), "collateral_ops"),
        tally(accepted().and(col(schema::COMPANIONS).is_not_null()), "with_companions"),
        tally(col(schema::COST_USD).is_not_null(), "priced"),
        col(schema::COST_USD).sum().alias("cost_usd"),
    ];
    for (gate, column) in gates() {
        sums.push(tally(yes(column), &format!("{gate} passed")));
        sums.push(tally(no(column), &format!("{gate} failed")));
    }
    sums.extend(token_columns().map(|column| total(col(column), column)));
    for column in TIMES {
        // Every stage that ran took some time: exactly 0 means that it did not run, or was not timed.
        let time = || col(column).filter(col(column).gt(lit(0.0)));
        let quantile = |q: f64| time().quantile(lit(q), QuantileMethod::Linear);
        sums.push(tally(col(column).gt(lit(0.0)), &format!("{column} n")));
        sums.push(time().mean().alias(format!("{column} mean")));
        sums.push(quantile(0.5).alias(format!("{column} median")));
        sums.push(quantile(0.95).alias(format!("{column} p95")));
        sums.push(time().max().alias(format!("{column} max")));
    }
    sums
}

fn gate_tally(row: Row<'_>, gate: &'static str, records: u64) -> PolarsResult<GateTally> {
    let passed = row.count(&format!("{gate} passed"))?;
    let failed = row.count(&format!("{gate} failed"))?;
    Ok(GateTally { gate, passed, failed, not_run: records.saturating_sub(passed + failed) })
}

fn latencies(row: Row<'_>) -> PolarsResult<BTreeMap<&'static str, Latency>> {
    let mut latencies = BTreeMap::new();
    for column in TIMES {
        let n = row.count(&format!("{column} n"))?;
        let figure =
            |name: &str| Ok::<_, PolarsError>(row.number(&format!("{column} {name}"))?.unwrap_or_default());
        if n > 0 {
            let latency = Latency {
                n,
                mean: figure("mean")?,
                median: figure("median")?,
                p95: figure("p95")?,
                max: figure("max")?,
            };
            latencies.insert(column, latency);
        }
    }
    Ok(latencies)
}

fn tokens(row: Row<'_>) -> PolarsResult<BTreeMap<&'static str, u64>> {
    token_columns().map(|column| Ok((column, row.count(column)?))).collect()
}

/// Number of rows by value of `column`, without null.
fn by_word(frame: LazyFrame, column: &str) -> PolarsResult<BTreeMap<String, u64>> {
    let counts = frame.filter(col(column).is_not_null()).group_by([col(column)]).agg([rows("rows")]);
    query::run(counts)?.rows().map(|row| Ok((row.word(column)?, row.count("rows")?))).collect()
}

fn every(word: &'static str, counts: &mut BTreeMap<String, u64>) -> (&'static str, u64) {
    (word, counts.remove(word).unwrap_or_default())
}
