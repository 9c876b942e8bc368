//! Groups of records that were not accepted.

use std::collections::BTreeMap;

use domain::outcome::{Gate, Status};
use polars::prelude::*;
use results::schema;
use serde::Serialize;

use super::message::normalise;
use super::taxonomy::UNSPECIFIED;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::query::{self, is, no, of_first, rows};

/// A group of records with equal properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) count: u64,
    pub(crate) status: String,
    /// The first gate that failed, in the order the gates run; empty when none did.
    pub(crate) gate: String,
    pub(crate) fault: String,
    /// Kind of the object; empty when unknown.
    pub(crate) kind: String,
    /// Canonical policy.
    pub(crate) policy: String,
    /// The processing error; empty when the record was processed.
    pub(crate) error: String,
    /// The normalised first error message.
    pub(crate) reason: String,
    /// The first record in corpus order.
    pub(crate) example: Example,
}

/// A reference to a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Example {
    /// 0-based position in the corpus.
    #[serde(skip)]
    pub(crate) position: u64,
    pub(crate) run_id: String,
    pub(crate) record_id: String,
    pub(crate) manifest_path: String,
}

/// Number of records with one value of a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sum {
    pub(crate) value: String,
    pub(crate) count: u64,
    pub(crate) example: Example,
}

/// The records with the requested statuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failures {
    /// All rows of the results.
    pub(crate) records: u64,
    /// Rows with the requested statuses.
    pub(crate) failed: u64,
    /// Their groups, largest first, then in corpus order.
    pub(crate) groups: Vec<Failure>,
}

impl Failures {
    /// Groups the rows with these statuses. Fails if a record occurs twice.
    pub(crate) fn compute(results: &Results, statuses: &[Status]) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        let records = query::run(results.frame().select([rows("records")]))?.only().count("records")?;
        let wanted = statuses
            .iter()
            .map(|status| is(schema::STATUS, status.as_str()))
            .reduce(Expr::or)
            .unwrap_or_else(|| lit(false));
        let keys = [
            col(schema::STATUS),
            first_failed_gate().alias("gate"),
            col(schema::FAULT),
            col(schema::KIND),
            col(schema::POLICY_ID),
            col(schema::ERROR_KIND),
            col(schema::ERRORS).list().first().alias("reason"),
        ];
        let figures = [
            rows("count"),
            col(schema::POSITION).min(),
            of_first(schema::RUN_ID),
            of_first(schema::RECORD_ID),
            of_first(schema::MANIFEST_PATH),
        ];
        let answer = query::run(results.frame().filter(wanted).group_by(keys).agg(figures))?;
        let mut groups = BTreeMap::new();
        for row in answer.rows() {
            let reason = row.text("reason")?.map_or_else(|| UNSPECIFIED.to_owned(), |text| normalise(&text));
            let failure = Failure {
                count: row.count("count")?,
                status: row.word(schema::STATUS)?,
                gate: row.word("gate")?,
                fault: row.word(schema::FAULT)?,
                kind: row.word(schema::KIND)?,
                policy: row.word(schema::POLICY_ID)?,
                error: row.word(schema::ERROR_KIND)?,
                reason,
                example: Example {
                    position: row.count(schema::POSITION)?,
                    run_id: row.word(schema::RUN_ID)?,
                    record_id: row.word(schema::RECORD_ID)?,
                    manifest_path: row.word(schema::MANIFEST_PATH)?,
                },
            };
            merge(&mut groups, failure);
        }
        let mut groups: Vec<Failure> = groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        Ok(Self { records, failed: groups.iter().map(|group| group.count).sum(), groups })
    }

    /// Number of records by a property, e.g. `|failure| &failure.policy`; most frequent first, then in corpus order.
    pub(crate) fn by(&self, word: impl Fn(&Failure) -> &str) -> Vec<Sum> {
        let mut sums: BTreeMap<&str, (u64, &Example)> = BTreeMap::new();
        for failure in &self.groups {
            let sum = sums.entry(word(failure)).or_insert((0, &failure.example));
            sum.0 += failure.count;
            sum.1 = sum.1.min(&failure.example);
        }
        let mut sums: Vec<Sum> = sums
            .into_iter()
            .map(|(value, (count, example))| Sum { value: value.to_owned(), count, example: example.clone() })
            .collect();
        sums.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        sums
    }
}

type Key = [String; 7];

/// Adds a group, or merges it with the group of the same key: normalised messages may be equal.
fn merge(groups: &mut BTreeMap<Key, Failure>, failure: Failure) {
    let key = [
        &failure.status,
        &failure.gate,
        &failure.fault,
        &failure.kind,
        &failure.policy,
        &failure.error,
        &failure.reason,
    ]
    .map(Clone::clone);
    match groups.get_mut(&key) {
        None => {
            groups.insert(key, failure);
        }
        Some(group) => {
            group.count += failure.count;
            if failure.example < group.example {
                group.example = failure.example;
            }
        }
    }
}

/// The first gate that failed. A document that was invalid before fails the schema gate afterwards as well;
/// `schema_before` is used only where the check afterwards did not run.
pub(crate) fn first_failed_gate() -> Expr {
    let gate = |gate: Gate| lit(gate.as_str());
    when(no(schema::OK_APPLY))
        .then(gate(Gate::Apply))
        .when(no(schema::OK_POLICY))
        .then(gate(Gate::Policy))
        .when(no(schema::OK_SAFETY))
        .then(gate(Gate::Safety))
        .when(no(schema::OK_SCHEMA))
        .then(gate(Gate::Schema))
        .when(no(schema::OK_RESCAN))
        .then(gate(Gate::Rescan))
        .when(no(schema::SCHEMA_BEFORE))
        .then(lit("schema_before"))
        .otherwise(lit(""))
}
