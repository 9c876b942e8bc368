//! Inequality and starvation of waits in a log of assignments.

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::files::{number, text, truth};
use crate::render::Figures;
use crate::stats::{Proportion, Sample};

/// Default hours after which an item counts as starved.
pub(crate) const STARVED_HOURS: f64 = 24.0;

/// Minimum risk of an item of high risk.
pub(crate) const HIGH_RISK: f64 = 60.0;

/// The paper's fairness of each scheduler, over all its items and over those of high risk.
pub(crate) fn fairness(assignments: &[Value], starved_hours: f64) -> Figures {
    let mut value = Map::new();
    let columns =
        ["items", "gini", "starved", "median wait, h", "p95 wait, h"].map(|name| (name, Align::Right));
    let left = [("scheduler", Align::Left), ("group", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns));
    for scheduler in schedulers(assignments) {
        let of = |high: bool| -> Sample {
            assignments
                .iter()
                .filter(|entry| text(entry, "scheduler") == Some(&scheduler))
                .filter(|entry| !high || number(entry, "risk").is_some_and(|risk| risk >= HIGH_RISK))
                .filter_map(|entry| number(entry, "wait_hours"))
                .collect()
        };
        let mut groups = Map::new();
        for (name, high) in [("overall", false), ("high_risk", true)] {
            let waits = of(high);
            let (gini, starved) = (waits.gini().unwrap_or(0.0), waits.share_above(starved_hours));
            let (median, p95) = (waits.median().unwrap_or(0.0), waits.linear(95.0).unwrap_or(0.0));
            table.push([
                scheduler.clone(),
                name.to_owned(),
                waits.len().to_string(),
                format!("{gini:.4}"),
                format!("{:.1} %", starved * 100.0),
                format!("{median:.2}"),
                format!("{p95:.2}"),
            ]);
            groups.insert(
                name.to_owned(),
                json!({
                    "items": waits.len(), "gini": gini, "starvation_rate": starved, "median_wait_hours": median,
                    "p95_wait_hours": p95,
                }),
            );
        }
        value.insert(scheduler, Value::Object(groups));
    }
    Figures::new(Value::Object(value))
        .with(format!("Waits by scheduler (starved: over {starved_hours} h)"), table)
}

/// The paper's summary of a log of assignments: acceptance and waits.
pub(crate) fn summary(assignments: &[Value]) -> Figures {
    let names = ["assignments", "acceptance_rate", "mean_wait_hours", "p95_wait_hours"];
    let columns = names.map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("scheduler", Align::Left)).chain(columns));
    let mut entries = vec![];
    for scheduler in schedulers(assignments) {
        let of = || assignments.iter().filter(|entry| text(entry, "scheduler") == Some(&scheduler));
        let waits: Sample = of().filter_map(|entry| number(entry, "wait_hours")).collect();
        let (n, accepted) = (of().count(), of().filter(|entry| truth(entry, "accepted")).count());
        let rate = if n == 0 { 0.0 } else { accepted as f64 / n as f64 };
        let (mean, p95) = (waits.mean().unwrap_or(0.0), waits.linear(95.0).unwrap_or(0.0));
        table.push([scheduler.clone(), n.to_string(), rate.to_string(), mean.to_string(), p95.to_string()]);
        entries.push(json!({
            "scheduler": scheduler, "assignments": n, "acceptance_rate": rate,
            "acceptance_interval": Proportion::new(accepted as u64, n as u64),
            "mean_wait_hours": mean, "p95_wait_hours": p95,
        }));
    }
    Figures::new(Value::Array(entries)).with("Assignments by scheduler", table)
}

fn schedulers(assignments: &[Value]) -> Vec<String> {
    let mut names: Vec<String> =
        assignments.iter().filter_map(|entry| text(entry, "scheduler")).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}
