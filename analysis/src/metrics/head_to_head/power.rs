//! How many records a comparison needs, and what difference the records of runs could have shown.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde_json::{Value, json};

use crate::load::cases::Case;
use crate::metrics::pairs::{Pair, by_run, paired};
use crate::render::{Figures, percent};
use crate::stats::Proportion;
use crate::stats::power::{self, Errors};

/// What a comparison is to show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The difference of two shares.
    pub(crate) difference: f64,
    /// Shares to start from.
    pub(crate) acceptance: Vec<f64>,
    pub(crate) errors: Errors,
}

impl Plan {
    /// The share that differs from `acceptance` by the difference, towards the middle, where there is room.
    fn other(&self, acceptance: f64) -> f64 {
        if acceptance > 0.5 { acceptance - self.difference } else { acceptance + self.difference }
    }

    fn title(&self) -> String {
        let Errors { alpha, power } = self.errors;
        format!("{} pp (alpha = {alpha}, power = {power})", points(self.difference))
    }
}

/// Records needed by each acceptance of the plan, and, with rows of runs, what these could have shown.
pub(crate) fn power(cases: &[Case], plan: &Plan) -> Figures {
    let (needed, table) = needed(plan);
    let title = format!("Records to see a difference of {}", plan.title());
    let value = json!({
        "difference": plan.difference, "alpha": plan.errors.alpha, "power": plan.errors.power, "needed": needed,
        "runs": [], "paired": [],
    });
    let mut figures = Figures::new(value).with(title, table);
    if cases.is_empty() {
        return figures;
    }
    let runs = by_run(cases);
    let (of_runs, table) = seen_by_runs(&runs, plan);
    figures = figures.with("What each run could have shown against another run of as many records", table);
    let (of_pairs, table) = seen_by_pairs(&paired(&runs, |_, _| true), plan);
    if !table.is_empty() {
        figures = figures.with("What two runs over the same records could have shown", table);
    }
    if let Value::Object(value) = &mut figures.value {
        value.insert("runs".to_owned(), Value::Array(of_runs));
        value.insert("paired".to_owned(), Value::Array(of_pairs));
    }
    figures
}

/// For each acceptance: records of each of two runs over different records; pairs if the outcomes of a record in the two
/// runs are independent; and pairs if they differ for no more records than the difference takes.
fn needed(plan: &Plan) -> (Vec<Value>, Table) {
    let columns = ["acceptance", "against", "unpaired, each run", "pairs, independent", "pairs, at least"];
    let mut table = Table::new(columns.map(|name| (name, Align::Right)));
    let mut entries = vec![];
    for a in &plan.acceptance {
        let b = plan.other(*a);
        let unpaired = whole(power::unpaired(*a, b, plan.errors));
        let discordant = a * (1.0 - b) + b * (1.0 - a);
        let independent = whole(power::paired(plan.difference, discordant, plan.errors));
        let least = whole(power::paired(plan.difference, plan.difference, plan.errors));
        table.push([percent(Some(*a)), percent(Some(b)), cell(unpaired), cell(independent), cell(least)]);
        entries.push(json!({
            "acceptance": a, "against": b, "unpaired_each": unpaired, "pairs_independent": independent,
            "pairs_least": least,
        }));
    }
    (entries, table)
}

fn seen_by_runs(runs: &BTreeMap<&str, Vec<&Case>>, plan: &Plan) -> (Vec<Value>, Table) {
    let needed = format!("needed for {} pp", points(plan.difference));
    let columns = ["records", "accepted", needed.as_str(), "could show, pp"]
        .map(|name| (name.to_owned(), Align::Right));
    let mut table = Table::new(std::iter::once(("run".to_owned(), Align::Left)).chain(columns));
    let mut entries = vec![];
    for (run, cases) in runs {
        let records = cases.len() as u64;
        let accepted = cases.iter().filter(|case| case.accepted).count() as u64;
        let share = Proportion::new(accepted, records);
        let needed = share.rate.and_then(|a| whole(power::unpaired(a, plan.other(a), plan.errors)));
        let seen = share.rate.and_then(|a| power::seen_unpaired(a, records, plan.errors));
        table.push([(*run).to_owned(), records.to_string(), percent(share.rate), cell(needed), least(seen)]);
        entries.push(json!({"run": run, "acceptance": share, "needed_each": needed, "could_show": seen}));
    }
    (entries, table)
}

fn seen_by_pairs(pairs: &[Pair], plan: &Plan) -> (Vec<Value>, Table) {
    let needed = format!("needed for {} pp", points(plan.difference));
    let columns = ["pairs", "discordant", "difference, pp", needed.as_str(), "could show, pp"];
    let left = [("run", Align::Left), ("against", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns.map(|name| (name, Align::Right))));
    let mut entries = vec![];
    for pair in pairs {
        let share = |count: u64| count as f64 / pair.records as f64;
        let (first, second) = (pair.test.only_first, pair.test.only_second);
        let discordant = share(first + second);
        let needed = whole(power::paired(plan.difference, discordant, plan.errors));
        let seen = power::seen_paired(discordant, pair.records, plan.errors);
        table.push([
            pair.first.clone(),
            pair.second.clone(),
            pair.records.to_string(),
            percent(Some(discordant)),
            format!("{:+.2}", (share(first) - share(second)) * 100.0),
            cell(needed),
            least(seen),
        ]);
        entries.push(json!({
            "run_a": pair.first, "run_b": pair.second, "pairs": pair.records, "discordant": discordant,
            "difference": share(first) - share(second), "needed": needed, "could_show": seen,
        }));
    }
    (entries, table)
}

/// Rounded up to whole records.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, and not negative")]
fn whole(records: Option<f64>) -> Option<u64> {
    records.filter(|records| records.is_finite()).map(|records| records.ceil() as u64)
}

fn cell(records: Option<u64>) -> String {
    records.map_or_else(|| "-".to_owned(), |records| records.to_string())
}

/// A smallest difference in percentage points, rounded up.
fn least(difference: Option<f64>) -> String {
    difference.map_or_else(|| "-".to_owned(), |of| format!("{:.2}", (of * 1e4 - 1e-6).ceil() / 100.0))
}

fn points(difference: f64) -> String {
    let points = format!("{:.3}", difference * 100.0);
    points.trim_end_matches('0').trim_end_matches('.').to_owned()
}
