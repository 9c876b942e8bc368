//! Sums over the rows of a run that its `run.json` does not have.

use std::collections::BTreeMap;

use domain::budget::Usd;
use results::schema;
use serde::Serialize;

use crate::load::rows::{Later, rows};
use crate::load::{AnalysisError, Results};
use crate::stats::count;

/// Tokens of the answers that the records were given; null: no row has any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tokens {
    pub(crate) rows: u64,
    pub(crate) prompt: Option<u64>,
    pub(crate) completion: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) total: Option<u64>,
    /// The part of the total that the provider did not count.
    pub(crate) estimated: Option<u64>,
}

/// Names that are kept of each kind: rows of other programs may name anything.
const NAMES: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) modes: BTreeMap<String, u64>,
    pub(super) guardrails: BTreeMap<String, u64>,
    pub(super) models: BTreeMap<String, u64>,
    pub(super) cost: Option<Usd>,
    pub(super) cost_sources: BTreeMap<String, u64>,
    pub(super) rows_without_cost: u64,
    pub(super) tokens: Tokens,
}

rows! {
    struct Row<'a> {
        mode: &'a str = [schema::MODE],
        guardrails: &'a str = [schema::GUARDRAILS],
        model: Option<&'a str> = [schema::MODEL],
        prompt: Option<u64> = [schema::PROMPT_TOKENS],
        completion: Option<u64> = [schema::COMPLETION_TOKENS],
        reasoning: Option<u64> = [schema::REASONING_TOKENS],
        total: Option<u64> = [schema::TOTAL_TOKENS],
        estimated: Later<Option<u64>> = [schema::ESTIMATED_TOKENS],
        cost_usd: Option<f64> = [schema::COST_USD],
        cost_source: Later<Option<&'a str>> = [schema::COST_SOURCE],
    }
}

impl Sums {
    pub(super) fn of(results: &Results) -> Result<Self, AnalysisError> {
        let mut sums = Self::default();
        results.each::<Row>(|row| sums.add(&row))?;
        Ok(sums)
    }

    fn add(&mut self, row: &Row<'_>) {
        name(&mut self.modes, row.mode);
        name(&mut self.guardrails, row.guardrails);
        if let Some(model) = row.model {
            name(&mut self.models, model);
        }
        if let Some(source) = row.cost_source.0 {
            count(&mut self.cost_sources, source);
        }
        if let Some(usd) = row.cost_usd {
            self.cost = Some(self.cost.unwrap_or_default().plus(Usd::from_f64(usd)));
        }
        let tokens = &mut self.tokens;
        tokens.rows += u64::from(row.total.is_some());
        self.rows_without_cost += u64::from(row.total.is_some() && row.cost_usd.is_none());
        for (sum, of) in [
            (&mut tokens.prompt, row.prompt),
            (&mut tokens.completion, row.completion),
            (&mut tokens.reasoning, row.reasoning),
            (&mut tokens.total, row.total),
            (&mut tokens.estimated, row.estimated.0),
        ] {
            if let Some(of) = of {
                *sum = Some(sum.unwrap_or_default().saturating_add(of));
            }
        }
    }
}

fn name(counts: &mut BTreeMap<String, u64>, name: &str) {
    if counts.len() < NAMES || counts.contains_key(name) {
        count(counts, name);
    }
}
