//! The paper's failure taxonomy: counts by message, data set and policy.

use std::collections::HashMap;

use polars::prelude::*;
use results::schema;
use serde::Serialize;

use super::message::normalise;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::query::{self, judged, tally, yes};

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

impl Taxonomy {
    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let sums = query::run(
            results.frame().select([tally(judged(), "total"), tally(yes(schema::ACCEPTED), "accepted")]),
        )?;
        let (total, accepted) = (sums.only().count("total")?, sums.only().count("accepted")?);
        let rejected = results
            .frame()
            .filter(judged().and(yes(schema::ACCEPTED).not()))
            .sort([schema::POSITION, schema::RUN_ID], SortMultipleOptions::default())
            .select([col(schema::POLICY_ID), col(schema::ERRORS)]);
        let (mut messages, mut policies) = (Ranking::default(), Ranking::default());
        for row in query::run(rejected.clone().select([col(schema::POLICY_ID)]))?.rows() {
            let policy = row.word(schema::POLICY_ID)?;
            policies.add(if policy.is_empty() { UNKNOWN.to_owned() } else { policy });
        }
        let nulls = ExplodeOptions { empty_as_null: true, keep_nulls: true };
        for row in query::run(rejected.select([col(schema::ERRORS).explode(nulls)]))?.rows() {
            let message = row.text(schema::ERRORS)?;
            messages.add(message.map_or_else(|| UNSPECIFIED.to_owned(), |text| normalise(&text)));
        }
        Ok(Self {
            messages: messages.ranked(),
            policies: policies.ranked(),
            total,
            accepted,
            rejected: total.saturating_sub(accepted),
        })
    }
}

/// Counts by category, in order of first occurrence.
#[derive(Debug, Default)]
struct Ranking {
    places: HashMap<String, usize>,
    counts: Vec<Category>,
}

impl Ranking {
    fn add(&mut self, name: String) {
        let next = self.counts.len();
        let place = *self.places.entry(name.clone()).or_insert(next);
        match self.counts.get_mut(place) {
            Some(category) => category.count += 1,
            None => self.counts.push(Category { name, count: 1 }),
        }
    }

    fn ranked(mut self) -> Vec<Category> {
        // The sort is stable: equal counts stay in order of first occurrence.
        self.counts.sort_by_key(|category| std::cmp::Reverse(category.count));
        self.counts
    }
}
