//! Groups of records that were not accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::outcome::Status;
use results::schema;
use serde::Serialize;

use super::message::normalise;
use super::taxonomy::UNSPECIFIED;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::rows::{Gates, Texts, rows};
use crate::load::words::Words;

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

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        manifest: &'a str = [schema::MANIFEST_PATH],
        status: &'a str = [schema::STATUS],
        gates: Gates = Gates::COLUMNS,
        fault: &'a str = [schema::FAULT],
        kind: &'a str = [schema::KIND],
        policy: &'a str = [schema::POLICY_ID],
        error: &'a str = [schema::ERROR_KIND],
        errors: Texts<'a> = [schema::ERRORS],
    }
}

impl Row<'_> {
    fn example(&self) -> Example {
        Example {
            position: self.position,
            run_id: self.run.to_owned(),
            record_id: self.record.to_owned(),
            manifest_path: self.manifest.to_owned(),
        }
    }
}

impl Failures {
    /// Groups the rows with these statuses. Fails if a record occurs twice.
    pub(crate) fn compute(results: &Results, statuses: &[Status]) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        let (mut records, mut words) = (0, Words::default());
        // By the message as written; normalising it for each row would take longer than all else.
        let mut raw: HashMap<[Arc<str>; 7], (u64, Example)> = HashMap::new();
        results.each::<Row>(|row| {
            records += 1;
            if !statuses.iter().any(|status| status.as_str() == row.status) {
                return;
            }
            let reason = row.errors.first().unwrap_or(UNSPECIFIED);
            let gate = row.gates.first_failed();
            let key = [row.status, gate, row.fault, row.kind, row.policy, row.error, reason]
                .map(|word| words.of(word));
            let (count, example) = raw.entry(key).or_insert_with(|| (0, row.example()));
            *count += 1;
            if (row.position, row.run) < (example.position, &example.run_id) {
                *example = row.example();
            }
        })?;
        let mut groups = BTreeMap::new();
        for (key, (count, example)) in raw {
            let [status, gate, fault, kind, policy, error, reason] = key.map(|word| word.as_ref().to_owned());
            let reason = normalise(&reason);
            merge(&mut groups, Failure { count, status, gate, fault, kind, policy, error, reason, example });
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
