//! Metrics of each canonical policy: the paper's fields, and ours.

use std::collections::BTreeMap;

use domain::outcome::Status;
use domain::policy::{PolicyId, PolicyName};
use polars::prelude::*;
use results::schema;
use serde::Serialize;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::query::{self, Row, is, judged, rows, tally, yes};
use crate::stats::{Counts, Median, Proportion, round};

/// The paper's default risk, of a policy that is not in the catalogue.
const DEFAULT_RISK: u32 = 40;

/// The paper's default time in seconds, of a policy without measured records.
const DEFAULT_SECONDS: f64 = 10.0;

/// The paper's fields of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PaperPolicyMetrics {
    pub(crate) risk: f64,
    /// Accepted over judged records, rounded to 4 decimals.
    pub(crate) probability: f64,
    /// Mean seconds to propose and verify, over the judged rows with both times, rounded to 4 decimals; else 10.
    pub(crate) expected_time: f64,
    /// Always 0 here: the scheduler sets it.
    pub(crate) wait: f64,
    /// Whether the paper's code treats the policy as exploited in the wild; a constant there.
    pub(crate) kev: bool,
    /// Always 0 here.
    pub(crate) explore: f64,
}

/// Our fields of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Extended {
    pub(crate) records: u64,
    /// Rows by status; every status has a key.
    pub(crate) status: BTreeMap<&'static str, u64>,
    /// Accepted, of all rows.
    pub(crate) accepted_of_all: Proportion,
    /// Accepted, of the rows whose original document was valid.
    pub(crate) accepted_of_valid: Proportion,
    pub(crate) median_patch_ops: Option<Median>,
    /// 95th percentile (linear) of the same.
    pub(crate) p95_patch_ops: Option<f64>,
    pub(crate) cautions: u64,
    pub(crate) mean_propose_ms: Option<f64>,
    pub(crate) mean_verify_ms: Option<f64>,
    pub(crate) mean_total_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PolicyMetrics {
    #[serde(skip)]
    pub(crate) policy: String,
    /// Whether any of its rows was judged; the paper lists only such policies.
    #[serde(skip)]
    pub(crate) judged: bool,
    #[serde(flatten)]
    pub(crate) paper: PaperPolicyMetrics,
    pub(crate) extended: Extended,
}

/// The metrics of every policy, in the order of their first judged rows; policies without judged rows follow in corpus
/// order. Fails if a record occurs twice.
pub(crate) fn compute(results: &Results) -> Result<Vec<PolicyMetrics>, AnalysisError> {
    results.refuse_repeats()?;
    let ops = ops(results)?;
    let grouped = results.frame().group_by([col(schema::POLICY_ID)]).agg(figures()).sort_by_exprs(
        [col("first judged"), col("first"), col(schema::POLICY_ID)],
        SortMultipleOptions::default().with_nulls_last(true),
    );
    let answer = query::run(grouped)?;
    answer
        .rows()
        .map(|row| {
            let policy = row.word(schema::POLICY_ID)?;
            let ops = ops.get(&policy).cloned().unwrap_or_default();
            Ok(policy_metrics(row, policy, &ops)?)
        })
        .collect()
}

fn figures() -> Vec<Expr> {
    let seconds = (col(schema::PROPOSE_MS) + col(schema::VERIFY_MS)) / lit(1000.0);
    let accepted = || yes(schema::ACCEPTED);
    let mut figures = vec![
        rows("records"),
        col(schema::POSITION).min().alias("first"),
        col(schema::POSITION).filter(judged()).min().alias("first judged"),
        tally(judged(), "judged"),
        tally(yes(schema::SCHEMA_BEFORE), "valid"),
        tally(accepted().and(yes(schema::SCHEMA_BEFORE)), "accepted_valid"),
        col(schema::CAUTIONS).list().len().filter(accepted()).cast(DataType::UInt64).sum().alias("cautions"),
        seconds.filter(judged()).mean().alias("seconds"),
        col(schema::PROPOSE_MS).mean().alias("propose"),
        col(schema::VERIFY_MS).mean().alias("verify"),
        col(schema::TOTAL_MS).mean().alias("total"),
    ];
    figures
        .extend(Status::ALL.iter().map(|status| tally(is(schema::STATUS, status.as_str()), status.as_str())));
    figures
}

fn policy_metrics(row: Row<'_>, policy: String, ops: &Counts) -> PolarsResult<PolicyMetrics> {
    let (records, accepted, judged) =
        (row.count("records")?, row.count(Status::Accepted.as_str())?, row.count("judged")?);
    let known = match PolicyName::normalise(&policy) {
        PolicyName::Known(id) => Some(id),
        PolicyName::Unknown(_) => None,
    };
    let probability = if judged == 0 { 0.0 } else { accepted as f64 / judged as f64 };
    let status = Status::ALL.iter().map(|status| Ok((status.as_str(), row.count(status.as_str())?)));
    Ok(PolicyMetrics {
        judged: judged > 0,
        paper: PaperPolicyMetrics {
            risk: f64::from(known.map_or(DEFAULT_RISK, PolicyId::base_risk)),
            probability: round(probability, 4),
            expected_time: round(row.number("seconds")?.unwrap_or(DEFAULT_SECONDS), 4),
            wait: 0.0,
            kev: matches!(
                known,
                Some(PolicyId::NoPrivileged | PolicyId::DropCapabilities | PolicyId::DropCapSysAdmin)
            ),
            explore: 0.0,
        },
        extended: Extended {
            records,
            status: status.collect::<PolarsResult<_>>()?,
            accepted_of_all: Proportion::new(accepted, records),
            accepted_of_valid: Proportion::new(row.count("accepted_valid")?, row.count("valid")?),
            median_patch_ops: ops.median(),
            p95_patch_ops: ops.percentile(95.0),
            cautions: row.count("cautions")?,
            mean_propose_ms: row.number("propose")?,
            mean_verify_ms: row.number("verify")?,
            mean_total_ms: row.number("total")?,
        },
        policy,
    })
}

/// Operations of the accepted patches, by policy.
fn ops(results: &Results) -> PolarsResult<BTreeMap<String, Counts>> {
    let grouped = results
        .frame()
        .filter(yes(schema::ACCEPTED).and(col(schema::PATCH).is_not_null()))
        .group_by([col(schema::POLICY_ID), col(schema::PATCH_OPS)])
        .agg([rows("times")]);
    let mut ops: BTreeMap<String, Counts> = BTreeMap::new();
    for row in query::run(grouped)?.rows() {
        let counts = ops.entry(row.word(schema::POLICY_ID)?).or_default();
        counts.add(row.count(schema::PATCH_OPS)?, row.count("times")?);
    }
    Ok(ops)
}
