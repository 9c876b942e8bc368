//! `analysis schedule`, `compare` and `sweep`.

use std::path::Path;

use cli_support::output::{Align, Table};
use cli_support::{Exit, output};
use serde_json::{Value, json};

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::{Results, cases, files};
use crate::render::{Figures, Form, number};
use crate::schedule::{
    self, Candidate, Grid, PolicyTerms, Replicas, RiskEntries, RolloutTimes, Weights, from_cases, from_paper,
};

/// Rows of a page.
const ROWS: usize = 20;

/// Columns of the schedule: key, title, and decimals of a number.
const COLUMNS: [(&str, &str, usize); 7] = [
    ("id", "record", 0),
    ("score", "score", 2),
    ("R", "risk", 1),
    ("p", "p (accepted)", 3),
    ("Et", "expected time, min", 1),
    ("wait", "waited, h", 1),
    ("kev", "exploited", 0),
];

pub(crate) fn schedule(args: &cli::Schedule) -> anyhow::Result<Exit> {
    let queue = &args.weighted.queue;
    let value = schedule::schedule(&candidates(queue)?, &weights(&args.weighted));
    let mut table = Table::new(
        COLUMNS.map(|(key, title, _)| (title, if key == "id" { Align::Left } else { Align::Right })),
    );
    for entry in value.as_array().into_iter().flatten() {
        table.push(COLUMNS.map(|(key, _, decimals)| rounded(entry.get(key), decimals)));
    }
    let number = table.rows().len();
    let (table, shown) = page(table, &args.page, queue.print.output);
    let title = format!("Order of {number} accepted repairs{shown}");
    show(&Figures::new(value).with(title, table), &queue.print)
}

pub(crate) fn compare(args: &cli::Compare) -> anyhow::Result<Exit> {
    let queue = &args.weighted.queue;
    let candidates = candidates(queue)?;
    let compared = schedule::compare(&candidates, &weights(&args.weighted), args.top);
    let mut table = Table::new([
        ("strategy", Align::Left),
        ("mean rank of the top", Align::Right),
        ("p95 wait of the top tenth, h", Align::Right),
    ]);
    for (name, rank, wait) in &compared.lines {
        table.push([(*name).to_owned(), format!("{rank:.2}"), format!("{wait:.1}")]);
    }
    let title = format!("Orders of one queue (n = {}, top {})", candidates.len(), args.top);
    show(&Figures::new(compared.value).with(title, table), &queue.print)
}

pub(crate) fn sweep(args: &cli::Sweep) -> anyhow::Result<Exit> {
    let candidates = candidates(&args.queue)?;
    let grid = Grid {
        alphas: args.alpha.clone(),
        explore: args.explore_weight.clone(),
        epsilon: args.queue.epsilon,
        quantiles: args.quantiles.clone(),
        starved_hours: args.starved,
        head: args.head,
        // Only JSON prints the orders, and for a million records they take gigabytes.
        orders: args.queue.print.output == Form::Json,
    };
    let entries = schedule::sweep(&candidates, &grid);
    let bands: Vec<String> = grid.labels();
    let header = [("mode", Align::Left), ("alpha", Align::Right), ("explore", Align::Right)]
        .map(|(name, align)| (name.to_owned(), align));
    let of_bands = bands.iter().map(|band| (format!("p95 wait {band}, h"), Align::Right));
    let starved = format!("starved ({} h), %", number(Some(args.starved)));
    let mut table = Table::new(header.into_iter().chain(of_bands).chain([(starved, Align::Right)]));
    for entry in &entries {
        let waits =
            bands.iter().map(|band| rounded(entry.pointer(&format!("/band_wait_hours/{band}/p95")), 1));
        let mode = rounded(entry.get("mode"), 0).replace('_', " ");
        let weights = ["alpha", "explore_weight"].map(|name| rounded(entry.get(name), 2));
        let starved = entry.pointer("/overall_wait_hours/starvation_rate").and_then(Value::as_f64);
        let starved = starved.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0));
        table.push(std::iter::once(mode).chain(weights).chain(waits).chain([starved]));
    }
    let (table, shown) = page(table, &args.page, args.queue.print.output);
    let title = format!("Waits under a grid of weights (n = {}{shown})", candidates.len());
    show(&Figures::new(json!(entries)).with(title, table), &args.queue.print)
}

/// The requested rows of a table, and which they are. CSV is for programs and has all.
fn page(table: Table, page: &cli::Page, form: Form) -> (Table, String) {
    let number = table.rows().len();
    if page.all || number <= ROWS || matches!(form, Form::Csv | Form::Json) {
        return (table, String::new());
    }
    let from = page.page.saturating_sub(1).saturating_mul(ROWS).min(number);
    let to = (from + ROWS).min(number);
    let mut part = Table::new(table.header().iter().map(|(name, align)| (name.clone(), *align)));
    for row in table.rows().get(from..to).unwrap_or_default() {
        part.push(row.clone());
    }
    if from == to {
        output::say(&format!("page {} is behind the last one, {}", page.page, number.div_ceil(ROWS)));
    }
    (part, format!("; rows {} to {to}, --page and --all print others", (from + 1).min(to)))
}

fn weights(args: &cli::Weighted) -> Weights {
    Weights {
        alpha: args.alpha,
        epsilon: args.queue.epsilon,
        kev: args.kev_weight,
        explore: args.explore_weight,
    }
}

fn candidates(args: &cli::Queue) -> anyhow::Result<Vec<Candidate>> {
    let risk = match &args.risk {
        Some(file) => RiskEntries::parse(&files::json(file)?),
        None => RiskEntries::default(),
    };
    let (Some(verified), Some(detections)) = (&args.verified, &args.detections) else {
        let results = load(&args.paths)?;
        let (times, replicas) = rollout_times(args.rollout.as_deref(), &results)?;
        return Ok(from_cases(&cases::read(&results)?, &risk, &times, &replicas));
    };
    let policies = args.policy_metrics.as_deref().map(files::json).transpose()?;
    let policies = policies.as_ref().map(PolicyTerms::parse);
    Ok(from_paper(&files::objects(verified)?, &files::objects(detections)?, &risk, policies.as_ref()))
}

/// The times of a rollout from a file, or the paper's; and the replicas of the results, if these times depend on them.
pub(super) fn rollout_times(
    file: Option<&Path>,
    results: &Results,
) -> anyhow::Result<(RolloutTimes, Replicas)> {
    let times = file.map(RolloutTimes::read).transpose()?.unwrap_or_default();
    let replicas = if times.depends_on_replicas() { Replicas::read(results)? } else { Replicas::default() };
    Ok((times, replicas))
}

/// A cell; a number with at most this many decimals.
fn rounded(value: Option<&Value>, decimals: usize) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Number(exact)) => {
            exact.as_f64().map_or_else(|| exact.to_string(), |x| format!("{x:.decimals$}"))
        }
        Some(other) => other.to_string(),
    }
}
