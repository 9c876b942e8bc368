//! The paper's failure taxonomy: counts by message, data set and policy.

use std::collections::HashMap;

use results::schema;
use serde::Serialize;

use super::message::normalise;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::rows::{Gates, Texts, rows};

pub(crate) const UNSPECIFIED: &str = "<unspecified>";

const UNKNOWN: &str = "unknown";

/// A category and its number of occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Category {
    /// A normalised message, or a policy.
    pub(crate) name: String,
    pub(crate) count: u64,
}

/// The paper's three tables. A record with two messages counts twice in `messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Taxonomy {
    /// Messages of rejected records, most frequent first, then in order of occurrence.
    pub(crate) messages: Vec<Category>,
    /// Rejected records by policy, in the same order.
    pub(crate) policies: Vec<Category>,
    pub(crate) total: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
}

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        position: u64 = [schema::POSITION],
        status: &'a str = [schema::STATUS],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        policy: &'a str = [schema::POLICY_ID],
        errors: Texts<'a> = [schema::ERRORS],
    }
}

impl Taxonomy {
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let (mut total, mut accepted) = (0_u64, 0);
        let (mut messages, mut policies) = (Ranking::default(), Ranking::default());
        results.each::<Row>(|row| {
            let judged = row.gates.judged(row.status);
            total += u64::from(judged);
            accepted += u64::from(row.accepted);
            if !judged || row.accepted {
                return;
            }
            let policy = if row.policy.is_empty() { UNKNOWN } else { row.policy };
            policies.add(policy.into(), (row.position, row.run, 0));
            let unspecified = row.errors.is_empty().then_some(UNSPECIFIED);
            for (index, message) in row.errors.iter().chain(unspecified).enumerate() {
                messages.add(normalise(message), (row.position, row.run, index));
            }
        })?;
        Ok(Self {
            messages: messages.ranked(),
            policies: policies.ranked(),
            total,
            accepted,
            rejected: total.saturating_sub(accepted),
        })
    }
}

/// Where a category occurs: position in the corpus, run, and index in the record.
type Place<'a> = (u64, &'a str, usize);

/// Counts by category, with the first occurrence of each.
#[derive(Debug, Default)]
struct Ranking(HashMap<String, (u64, (u64, String, usize))>);

impl Ranking {
    fn add(&mut self, name: String, place: Place<'_>) {
        let owned = || (place.0, place.1.to_owned(), place.2);
        let (count, first) = self.0.entry(name).or_insert_with(|| (0, owned()));
        *count += 1;
        if place < (first.0, first.1.as_str(), first.2) {
            *first = owned();
        }
    }

    fn ranked(self) -> Vec<Category> {
        let mut ranked: Vec<_> = self.0.into_iter().collect();
        ranked.sort_unstable_by(|(_, (a, first)), (_, (b, second))| b.cmp(a).then_with(|| first.cmp(second)));
        ranked.into_iter().map(|(name, (count, _))| Category { name, count }).collect()
    }
}
