//! `analysis metrics`.

use std::fmt::Write as _;

use cli_support::output::{self, Align, Table};
use cli_support::{Exit, Format};

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::{leaves, print};
use crate::metrics::{Extended, Metrics, PaperMetrics};
use crate::render::{interval, number, percent};
use crate::stats::Proportion;

pub(crate) fn run(args: &cli::Metrics) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let (value, text) = if args.published {
        results.refuse_repeats()?;
        let paper = PaperMetrics::compute(&results)?;
        (serde_json::to_value(&paper)?, None)
    } else {
        let metrics = Metrics::compute(&results)?;
        let none = metrics.extended.not_finite;
        if none > 0 {
            output::say(&format!("ignored {none} non-finite timings or prices"));
        }
        (serde_json::to_value(&metrics)?, Some(text(&metrics)))
    };
    print(&match args.output {
        Format::Json => output::json(&value),
        Format::Csv => leaves(&value).csv(),
        Format::Text => text.unwrap_or_else(|| leaves(&value).text(output::stdout_width())),
    })
}

fn text(metrics: &Metrics) -> String {
    let more = &metrics.extended;
    let width = output::stdout_width();
    let mut text = format!(
        "{} ({} records of {} documents{})\n\n",
        if more.runs.is_empty() { "no runs".to_owned() } else { more.runs.join(", ") },
        more.records,
        more.documents,
        match more.unrendered_documents {
            0 => String::new(),
            number => format!(", {number} of them with unrendered placeholders"),
        }
    );
    let valid = more.accepted_of_valid;
    if valid.of > 0 {
        let _ = write!(
            text,
            "Accepted by {}, of the documents that were valid before: {} of {} = {} ({})\nJudged by: {}\n\n",
            more.rules(),
            valid.count,
            valid.of,
            percent(valid.rate),
            interval(&valid),
            more.judges()
        );
    }
    text.push_str(&shares(more).text(width));
    for table in [
        paper_keys(&metrics.paper),
        gates(more),
        sizes(more),
        more.by_model.table(),
        samples(more),
        times(more),
    ] {
        if !table.is_empty() {
            text.push('\n');
            text.push_str(&table.text(width));
        }
    }
    text
}

fn shares(more: &Extended) -> Table {
    let mut table = Table::new([
        ("records", Align::Left),
        ("n", Align::Right),
        ("of", Align::Right),
        ("share", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    let mut line = |name: &str, share: Proportion| {
        let cells = [share.count.to_string(), share.of.to_string(), percent(share.rate), interval(&share)];
        table.push(std::iter::once(name.to_owned()).chain(cells));
    };
    line("accepted, of those whose document was valid", more.accepted_of_valid);
    line("accepted, of all", more.accepted_of_all);
    if let Some(disagrees) = more.server_disagrees {
        line("server and embedded rules disagree, of those asked", disagrees);
    }
    if let Some(model) = &more.model {
        for (source, count) in &more.accepted_by_source {
            line(&format!("accepted, by {source}"), Proportion::new(*count, more.records));
        }
        line("no answer, of those a model was asked about", Proportion::new(model.unanswered, model.asked));
        line(
            "repaired by the rules, of those a model was asked about",
            Proportion::new(model.by_rules, model.asked),
        );
    }
    line("effective, of the accepted", more.effective_of_accepted);
    for (tool, rescan) in &more.rescanned_by {
        line(&format!("cleared for {tool}, of the accepted that it had found"), rescan.cleared);
        line(&format!("new findings of {tool}, of the accepted that it judged"), rescan.with_new);
    }
    for (status, count) in more.status.iter().filter(|(status, _)| **status != "accepted") {
        line(&status.replace('_', " "), Proportion::new(*count, more.records));
    }
    for (fault, count) in more.faults.iter().filter(|(_, count)| **count > 0) {
        line(&format!("fault: {fault}"), Proportion::new(*count, more.records));
    }
    for (kind, count) in &more.errors {
        line(&format!("error: {}", kind.replace('_', " ")), Proportion::new(*count, more.records));
    }
    for (caution, count) in &more.cautions {
        line(
            &format!("caution: {}", caution.replace('_', " ")),
            Proportion::new(*count, more.accepted_of_all.count),
        );
    }
    table
}

fn paper_keys(metrics: &PaperMetrics) -> Table {
    let mut table = Table::new([("key of the paper", Align::Left), ("value", Align::Right)]);
    for (key, value) in [
        ("detections", metrics.detections),
        ("patches", metrics.patches),
        ("verified", metrics.verified),
        ("accepted", metrics.accepted),
    ] {
        table.push([key.to_owned(), value.to_string()]);
    }
    table.push(["auto_fix_rate".to_owned(), metrics.auto_fix_rate.to_string()]);
    table.push(["median_patch_ops".to_owned(), number(Some(metrics.median_patch_ops.value()))]);
    for (key, value) in [
        ("failed_policy", metrics.failed_policy),
        ("failed_schema", metrics.failed_schema),
        ("failed_safety", metrics.failed_safety),
        ("failed_rescan", metrics.failed_rescan),
    ] {
        table.push([key.to_owned(), value.to_string()]);
    }
    table.push(["total_tokens".to_owned(), number(Some(metrics.model_usage.total_tokens))]);
    table
}

fn gates(more: &Extended) -> Table {
    let mut table = Table::new([
        ("gate", Align::Left),
        ("passed", Align::Right),
        ("failed", Align::Right),
        ("not run", Align::Right),
    ]);
    for gate in &more.gates {
        table.push([
            gate.gate.replace('_', " "),
            gate.passed.to_string(),
            gate.failed.to_string(),
            gate.not_run.to_string(),
        ]);
    }
    table
}

fn sizes(more: &Extended) -> Table {
    let mut table = Table::new([("accepted patches", Align::Left), ("value", Align::Right)]);
    let mut line = |name: &str, value: Option<f64>| table.push([name.to_owned(), number(value)]);
    line("operations, median", more.median_patch_ops.map(crate::stats::Median::value));
    line("operations, p95", more.p95_patch_ops);
    line("operations, largest", more.max_patch_ops.map(|most| most as f64));
    line("collateral operations, all records", Some(more.collateral_ops as f64));
    line("with companions", Some(more.with_companions as f64));
    if more.cost_usd.is_some() {
        line("cost in US dollars, all records", more.cost_usd);
    }
    table
}

fn samples(more: &Extended) -> Table {
    let mut table =
        Table::new([("samples of a model", Align::Left), ("n", Align::Right), ("pass rate", Align::Right)]);
    for pass in &more.pass_at_k {
        table.push([format!("pass@{}", pass.k), pass.n.to_string(), percent(Some(pass.rate))]);
    }
    table
}

fn times(more: &Extended) -> Table {
    let columns = ["time, ms", "n", "mean", "median", "p95", "longest"];
    let mut table =
        Table::new(columns.map(|name| (name, if name == "time, ms" { Align::Left } else { Align::Right })));
    for (name, time) in &more.latency_ms {
        let figures = [time.mean, time.median, time.p95, time.max].map(|x| number(Some(x)));
        let name = name.trim_end_matches("_ms").to_owned();
        table.push([name, time.n.to_string()].into_iter().chain(figures));
    }
    table
}
