//! Results by the model that answered.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde::Serialize;

use crate::load::cases::Case;
use crate::render::percent;
use crate::stats::Proportion;

/// The rows that one model answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OfModel {
    /// Rows about which it was asked.
    pub(crate) records: u64,
    /// Of them, the accepted ones.
    pub(crate) accepted: u64,
    /// What they cost, in ticks of 10⁻¹⁰ US dollars, as far as it is known.
    pub(crate) cost_ticks: u64,
    /// Rows by what their cost is known from.
    pub(crate) cost_sources: BTreeMap<String, u64>,
}

/// Rows about which a model was asked, by the one that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct ByModel(pub(crate) BTreeMap<String, OfModel>);

impl ByModel {
    /// Adds a row.
    pub(crate) fn add(&mut self, label: Option<String>, accepted: bool, cost: (Option<f64>, Option<&str>)) {
        let Some(label) = label else { return };
        let group = self.0.entry(label).or_default();
        group.records += 1;
        group.accepted += u64::from(accepted);
        let ticks = cost.0.map(|usd| domain::budget::Usd::from_f64(usd).ticks());
        group.cost_ticks = group.cost_ticks.saturating_add(ticks.unwrap_or_default());
        if let Some(source) = cost.1 {
            *group.cost_sources.entry(source.to_owned()).or_default() += 1;
        }
    }

    /// The groups of `cases`.
    pub(crate) fn of(cases: &[Case]) -> Self {
        let mut groups = Self::default();
        for case in cases {
            let label = case.model.as_deref().map(str::to_owned);
            groups.add(label, case.accepted, (case.tokens.cost_usd, case.cost_source.as_deref()));
        }
        groups
    }

    /// A line for each group.
    pub(crate) fn table(&self) -> Table {
        let names = ["records", "accepted", "share", "cost, USD", "known from"];
        let numbers = names.map(|name| (name, Align::Right));
        let mut table = Table::new(std::iter::once(("model that answered", Align::Left)).chain(numbers));
        for (model, group) in &self.0 {
            let share = Proportion::new(group.accepted, group.records).rate;
            let is_known = group.cost_sources.keys().any(|source| source != "unknown");
            let cost = domain::budget::Usd::from_ticks(group.cost_ticks);
            let sources: Vec<String> =
                group.cost_sources.iter().map(|(source, rows)| format!("{source} {rows}")).collect();
            table.push([
                model.clone(),
                group.records.to_string(),
                group.accepted.to_string(),
                percent(share),
                if is_known { cost.to_string() } else { "-".to_owned() },
                if sources.is_empty() { "-".to_owned() } else { sources.join(", ") },
            ]);
        }
        table
    }
}

/// Records that two runs have, by the models that answered in the one and in the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pairing {
    /// The model of the first run; null: none was asked.
    pub(crate) model_before: Option<String>,
    /// That of the second run.
    pub(crate) model_after: Option<String>,
    /// Acceptance in the first run.
    pub(crate) before: Proportion,
    /// Acceptance in the second run, of the same records.
    pub(crate) after: Proportion,
}

/// Counts pairs of records by their models.
#[derive(Debug, Default)]
pub(crate) struct Pairings(BTreeMap<(Option<String>, Option<String>), [u64; 3]>);

impl Pairings {
    /// Adds a record that both runs have.
    pub(crate) fn add(&mut self, was: &Case, now: &Case) {
        let label = |case: &Case| case.model.as_deref().map(str::to_owned);
        let [pairs, before, after] = self.0.entry((label(was), label(now))).or_default();
        *pairs += 1;
        *before += u64::from(was.accepted);
        *after += u64::from(now.accepted);
    }

    /// The groups; none where no record of either run is of a model.
    pub(crate) fn groups(self) -> Vec<Pairing> {
        if self.0.keys().all(|models| *models == (None, None)) {
            return Vec::new();
        }
        let group = |((model_before, model_after), [pairs, before, after]): ((_, _), [u64; 3])| Pairing {
            model_before,
            model_after,
            before: Proportion::new(before, pairs),
            after: Proportion::new(after, pairs),
        };
        self.0.into_iter().map(group).collect()
    }
}

/// A line for each group.
pub(crate) fn pairing_table(groups: &[Pairing]) -> Table {
    let numbers = ["records", "accepted before", "accepted after"].map(|name| (name, Align::Right));
    let names = [("model before", Align::Left), ("model after", Align::Left)];
    let mut table = Table::new(names.into_iter().chain(numbers));
    for group in groups {
        let model = |model: &Option<String>| model.clone().unwrap_or_else(|| "-".to_owned());
        table.push([
            model(&group.model_before),
            model(&group.model_after),
            group.before.of.to_string(),
            percent(group.before.rate),
            percent(group.after.rate),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::cases::label;

    #[test]
    fn rows_are_grouped_by_who_answered_and_costs_add_up_to_the_tick() {
        assert_eq!(label(None, Some("x")), None);
        assert_eq!(label(Some("m"), None).as_deref(), Some("m (not disclosed)"));
        let mut groups = ByModel::default();
        for (served, accepted, cost, source) in [
            (Some("x"), true, Some(0.1), Some("billed")),
            (Some("x"), false, Some(0.2), Some("table")),
            (None, true, None, Some("unknown")),
        ] {
            groups.add(label(Some("m"), served), accepted, (cost, source));
        }
        groups.add(None, true, (None, None));
        assert_eq!(groups.0.len(), 2);
        let x = &groups.0["x"];
        assert_eq!((x.records, x.accepted, x.cost_ticks), (2, 1, 3_000_000_000));
        let rows = groups.table();
        assert_eq!(rows.rows()[0], ["m (not disclosed)", "1", "1", "100.00 %", "-", "unknown 1"]);
        assert_eq!(rows.rows()[1], ["x", "2", "1", "50.00 %", "0.3", "billed 1, table 1"]);
    }
}
