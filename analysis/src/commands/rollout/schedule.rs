//! `analysis schedule`, `compare` and `sweep`.

use cli_support::Exit;
use cli_support::output::{Align, Table};
use serde_json::{Value, json};

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::load::files;
use crate::render::{Figures, Form, number};
use crate::schedule::{self, Candidate, Grid, PolicyTerms, RiskEntries, Weights, from_cases, from_paper};

pub(crate) fn schedule(args: &cli::Schedule) -> anyhow::Result<Exit> {
    let value = schedule::schedule(&candidates(&args.queue)?, &weights(args));
    let names = ["id", "score", "R", "p", "Et", "wait", "kev"];
    let mut table =
        Table::new(names.map(|name| (name, if name == "id" { Align::Left } else { Align::Right })));
    for entry in value.as_array().into_iter().flatten() {
        table.push(names.map(|name| cell(entry.get(name))));
    }
    let title = format!("Order of {} accepted repairs (Et in minutes)", table.rows().len());
    show(&Figures::new(value).with(title, table), &args.queue.print)
}

pub(crate) fn compare(args: &cli::Schedule) -> anyhow::Result<Exit> {
    let candidates = candidates(&args.queue)?;
    let compared = schedule::compare(&candidates, &weights(args), args.top);
    let mut table = Table::new([
        ("strategy", Align::Left),
        ("mean rank of the top", Align::Right),
        ("p95 wait of the top tenth, h", Align::Right),
    ]);
    for (name, rank, wait) in &compared.lines {
        table.push([(*name).to_owned(), format!("{rank:.2}"), format!("{wait:.4}")]);
    }
    let title = format!("Orders of one queue (n = {}, top {})", candidates.len(), args.top);
    show(&Figures::new(compared.value).with(title, table), &args.queue.print)
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
    let mut table =
        Table::new(header.into_iter().chain(of_bands).chain([("starved".to_owned(), Align::Right)]));
    for entry in &entries {
        let waits = bands.iter().map(|band| cell(entry.pointer(&format!("/band_wait_hours/{band}/p95"))));
        let head = ["mode", "alpha", "explore_weight"].map(|name| cell(entry.get(name)));
        let starved = cell(entry.pointer("/overall_wait_hours/starvation_rate"));
        table.push(head.into_iter().chain(waits).chain([starved]));
    }
    let title = format!("Waits under a grid of weights (n = {})", candidates.len());
    show(&Figures::new(json!(entries)).with(title, table), &args.queue.print)
}

fn weights(args: &cli::Schedule) -> Weights {
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
        return Ok(from_cases(&cases(&args.paths)?, &risk));
    };
    let policies = args.policy_metrics.as_deref().map(files::json).transpose()?;
    let policies = policies.as_ref().map(PolicyTerms::parse);
    Ok(from_paper(&files::objects(verified)?, &files::objects(detections)?, &risk, policies.as_ref()))
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(Value::Number(exact)) if exact.is_f64() => match exact.as_f64() {
            // Rules repair a record in microseconds.
            Some(tiny) if tiny != 0.0 && tiny.abs() < 0.001 => format!("{tiny:.2e}"),
            other => number(other),
        },
        Some(other) => other.to_string(),
    }
}
