//! `analysis failures`.

use std::fmt::Write as _;

use cli_support::output::{self, Align, Table};
use cli_support::{Exit, Format};
use domain::outcome::Status;
use serde_json::{Map, Value, json};

use crate::cli::{self, Ended, TaxonomyTable};
use crate::commands::input::load;
use crate::commands::print::print;
use crate::load::Results;
use crate::metrics::failures::{Failure, Failures, Sum, Taxonomy};

/// A property that failures are counted by: its name and its field.
type Dimension = (&'static str, fn(&Failure) -> &str);

const DIMENSIONS: [Dimension; 7] = [
    ("status", |failure| &failure.status),
    ("gate", |failure| &failure.gate),
    ("fault", |failure| &failure.fault),
    ("policy", |failure| &failure.policy),
    ("kind", |failure| &failure.kind),
    ("error", |failure| &failure.error),
    ("reason", |failure| &failure.reason),
];

pub(crate) fn run(args: &cli::Failures) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    if let Some(table) = args.taxonomy {
        return taxonomy(args, table, &results);
    }
    let statuses: Vec<Status> = args.status.iter().map(|ended| status(*ended)).collect();
    let failures = Failures::compute(&results, &statuses)?;
    print(&match args.output {
        Format::Text => text(&failures, args.top),
        Format::Csv => groups(&failures).csv(),
        Format::Json => output::json(&object(&failures)?),
    })
}

fn status(ended: Ended) -> Status {
    match ended {
        Ended::Rejected => Status::Rejected,
        Ended::Error => Status::Error,
        Ended::NeedsReview => Status::NeedsReview,
        Ended::NotApplicable => Status::NotApplicable,
    }
}

fn text(failures: &Failures, top: usize) -> String {
    let mut text = format!("{} of {} records\n", failures.failed, failures.records);
    if failures.failed == 0 {
        return text;
    }
    for (name, word) in DIMENSIONS {
        let sums = failures.by(word);
        if sums.iter().all(|sum| sum.value.is_empty()) {
            continue;
        }
        let shown = if top == 0 { sums.len() } else { top };
        text.push('\n');
        text.push_str(&sum_table(name, sums.iter().take(shown)).text(output::stdout_width()));
        if sums.len() > shown {
            let _ = writeln!(text, "… and {} more (--top 0 shows all)", sums.len() - shown);
        }
    }
    text
}

fn sum_table<'a>(name: &str, sums: impl Iterator<Item = &'a Sum>) -> Table {
    let mut table = Table::new([
        (name, Align::Left),
        ("records", Align::Right),
        ("example", Align::Left),
        ("manifest", Align::Left),
    ]);
    for sum in sums {
        table.push([
            if sum.value.is_empty() { "-".to_owned() } else { sum.value.clone() },
            sum.count.to_string(),
            sum.example.record_id.clone(),
            sum.example.manifest_path.clone(),
        ]);
    }
    table
}

fn groups(failures: &Failures) -> Table {
    let names = DIMENSIONS.iter().map(|(name, _)| *name);
    let rest = ["example_run_id", "example_record_id", "example_manifest_path"];
    let mut table = Table::new(
        std::iter::once(("count", Align::Right)).chain(names.chain(rest).map(|name| (name, Align::Left))),
    );
    for group in &failures.groups {
        let words = DIMENSIONS.iter().map(|(_, word)| word(group).to_owned());
        let example = &group.example;
        let example = [&example.run_id, &example.record_id, &example.manifest_path].map(Clone::clone);
        table.push(std::iter::once(group.count.to_string()).chain(words).chain(example));
    }
    table
}

fn object(failures: &Failures) -> anyhow::Result<Value> {
    let mut object = Map::new();
    object.insert("records".to_owned(), json!(failures.records));
    object.insert("failed".to_owned(), json!(failures.failed));
    for (name, word) in DIMENSIONS {
        object.insert(format!("by_{name}"), serde_json::to_value(failures.by(word))?);
    }
    object.insert("groups".to_owned(), serde_json::to_value(&failures.groups)?);
    Ok(Value::Object(object))
}

fn taxonomy(args: &cli::Failures, table: TaxonomyTable, results: &Results) -> anyhow::Result<Exit> {
    let taxonomy = Taxonomy::compute(results)?;
    let runs: Vec<&str> = results.runs().map(|run| run.run_id.as_str()).collect();
    let label = args.label.clone().unwrap_or_else(|| runs.join("+"));
    let of = |name: &str, categories: &[crate::metrics::failures::Category]| {
        let mut table = Table::new([("dataset", Align::Left), (name, Align::Left), ("count", Align::Right)]);
        for category in categories {
            table.push([label.clone(), category.name.clone(), category.count.to_string()]);
        }
        table
    };
    if args.output == Format::Json {
        let mut object = Map::new();
        object.insert("dataset".to_owned(), json!(label));
        object.insert("tables".to_owned(), serde_json::to_value(&taxonomy)?);
        return print(&output::json(&Value::Object(object)));
    }
    let table = match table {
        TaxonomyTable::Messages => of("failure_category", &taxonomy.messages),
        TaxonomyTable::Policies => of("policy_id", &taxonomy.policies),
        TaxonomyTable::Summary => {
            let numbers = ["total", "accepted", "rejected"].map(|name| (name, Align::Right));
            let mut table = Table::new(std::iter::once(("dataset", Align::Left)).chain(numbers));
            let figures = [taxonomy.total, taxonomy.accepted, taxonomy.rejected].map(|n| n.to_string());
            table.push(std::iter::once(label.clone()).chain(figures));
            table
        }
    };
    print(&match args.output {
        Format::Csv => table.csv(),
        Format::Text | Format::Json => table.text(output::stdout_width()),
    })
}
