//! Metrics of each canonical policy: the paper's fields, and ours.

use std::collections::BTreeMap;

use domain::outcome::Status;
use domain::policy::{PolicyId, PolicyName};
use results::schema;
use serde::Serialize;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::rows::{Gates, Present, Texts, rows};
use crate::stats::{Counts, Median, Proportion, Sample, round};

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

rows! {
    struct Row<'a> {
        policy: &'a str = [schema::POLICY_ID],
        position: u64 = [schema::POSITION],
        status: &'a str = [schema::STATUS],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        patch: Present = [schema::PATCH],
        patch_ops: u32 = [schema::PATCH_OPS],
        cautions: Texts<'a> = [schema::CAUTIONS],
        propose_ms: Option<f64> = [schema::PROPOSE_MS],
        verify_ms: Option<f64> = [schema::VERIFY_MS],
        total_ms: Option<f64> = [schema::TOTAL_MS],
    }
}

/// Sums over the rows of a policy.
#[derive(Debug, Default)]
struct Sums {
    records: u64,
    /// Lowest positions in the corpus.
    first: Option<u64>,
    first_judged: Option<u64>,
    judged: u64,
    valid: u64,
    accepted_valid: u64,
    cautions: u64,
    status: BTreeMap<&'static str, u64>,
    ops: Counts,
    /// Seconds to propose and verify, of the judged rows.
    seconds: Vec<f64>,
    propose_ms: Vec<f64>,
    verify_ms: Vec<f64>,
    total_ms: Vec<f64>,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>) {
        self.records += 1;
        let earlier = |first: Option<u64>| Some(first.map_or(row.position, |first| first.min(row.position)));
        self.first = earlier(self.first);
        if let Some(status) = Status::ALL.iter().find(|status| status.as_str() == row.status) {
            *self.status.entry(status.as_str()).or_default() += 1;
        }
        if row.gates.judged(row.status) {
            self.judged += 1;
            self.first_judged = earlier(self.first_judged);
            let seconds =
                row.propose_ms.zip(row.verify_ms).map(|(propose, verify)| (propose + verify) / 1000.0);
            self.seconds.extend(seconds);
        }
        let valid = row.gates.schema_before == Some(true);
        self.valid += u64::from(valid);
        if row.accepted {
            self.accepted_valid += u64::from(valid);
            self.cautions += row.cautions.len() as u64;
            if row.patch.0 {
                self.ops.add(row.patch_ops.into(), 1);
            }
        }
        self.propose_ms.extend(row.propose_ms);
        self.verify_ms.extend(row.verify_ms);
        self.total_ms.extend(row.total_ms);
    }
}

/// The metrics of every policy, in the order of their first judged rows; policies without judged rows follow in corpus
/// order. Fails if a record occurs twice.
pub(crate) fn compute(results: &Results) -> Result<Vec<PolicyMetrics>, AnalysisError> {
    results.refuse_repeats()?;
    let mut policies: BTreeMap<String, Sums> = BTreeMap::new();
    results.each::<Row>(|row| match policies.get_mut(row.policy) {
        Some(sums) => sums.add(&row),
        None => policies.entry(row.policy.to_owned()).or_default().add(&row),
    })?;
    let mut policies: Vec<(String, Sums)> = policies.into_iter().collect();
    // The sort is stable: equal positions, of several runs, stay in alphabetical order.
    policies.sort_by_key(|(_, sums)| (sums.first_judged.unwrap_or(u64::MAX), sums.first));
    Ok(policies.into_iter().map(|(policy, sums)| policy_metrics(policy, sums)).collect())
}

fn policy_metrics(policy: String, sums: Sums) -> PolicyMetrics {
    let known = match PolicyName::normalise(&policy) {
        PolicyName::Known(id) => Some(id),
        PolicyName::Unknown(_) => None,
    };
    let status = |status: &Status| {
        let status = status.as_str();
        (status, sums.status.get(status).copied().unwrap_or_default())
    };
    let status: BTreeMap<&'static str, u64> = Status::ALL.iter().map(status).collect();
    let accepted = status.get(Status::Accepted.as_str()).copied().unwrap_or_default();
    let probability = if sums.judged == 0 { 0.0 } else { accepted as f64 / sums.judged as f64 };
    let mean = |times: Vec<f64>| times.into_iter().collect::<Sample>().mean();
    PolicyMetrics {
        judged: sums.judged > 0,
        paper: PaperPolicyMetrics {
            risk: f64::from(known.map_or(DEFAULT_RISK, PolicyId::base_risk)),
            probability: round(probability, 4),
            expected_time: round(mean(sums.seconds).unwrap_or(DEFAULT_SECONDS), 4),
            wait: 0.0,
            kev: matches!(
                known,
                Some(PolicyId::NoPrivileged | PolicyId::DropCapabilities | PolicyId::DropCapSysAdmin)
            ),
            explore: 0.0,
        },
        extended: Extended {
            records: sums.records,
            status,
            accepted_of_all: Proportion::new(accepted, sums.records),
            accepted_of_valid: Proportion::new(sums.accepted_valid, sums.valid),
            median_patch_ops: sums.ops.median(),
            p95_patch_ops: sums.ops.percentile(95.0),
            cautions: sums.cautions,
            mean_propose_ms: mean(sums.propose_ms),
            mean_verify_ms: mean(sums.verify_ms),
            mean_total_ms: mean(sums.total_ms),
        },
        policy,
    }
}
