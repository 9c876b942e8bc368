//! `analysis policy-metrics`.

use cli_support::output::{self, Align, Table};
use cli_support::{Exit, Format};
use serde_json::{Map, Value};

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::{cell, print};
use crate::metrics::policy_metrics::{self, PolicyMetrics};
use crate::render::{interval, number, percent};

pub(crate) fn run(args: &cli::Metrics) -> anyhow::Result<Exit> {
    let mut policies = policy_metrics::compute(&load(&args.input.paths)?)?;
    if args.published {
        policies.retain(|policy| policy.judged);
    }
    print(&match args.output {
        Format::Json => output::json(&Value::Object(object(&policies, args.published)?)),
        Format::Csv => csv(&policies, args.published)?.csv(),
        Format::Text if args.published => csv(&policies, true)?.text(output::stdout_width()),
        Format::Text => text(&policies).text(output::stdout_width()),
    })
}

fn object(policies: &[PolicyMetrics], published: bool) -> anyhow::Result<Map<String, Value>> {
    let mut object = Map::new();
    for policy in policies {
        let value =
            if published { serde_json::to_value(&policy.paper)? } else { serde_json::to_value(policy)? };
        object.insert(policy.policy.clone(), value);
    }
    Ok(object)
}

/// The paper's fields, and all of ours that are a single value.
fn csv(policies: &[PolicyMetrics], published: bool) -> anyhow::Result<Table> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut header: Vec<String> = vec!["policy".to_owned()];
    for policy in policies {
        let mut fields = flat(&serde_json::to_value(&policy.paper)?);
        if !published {
            fields.extend(flat(&serde_json::to_value(&policy.extended)?));
        }
        header.truncate(1);
        header.extend(fields.iter().map(|(name, _)| name.clone()));
        rows.push(
            std::iter::once(policy.policy.clone())
                .chain(fields.into_iter().map(|(_, value)| value))
                .collect(),
        );
    }
    let aligned = header.into_iter().enumerate();
    let mut table =
        Table::new(aligned.map(|(place, name)| (name, if place == 0 { Align::Left } else { Align::Right })));
    for row in rows {
        table.push(row);
    }
    Ok(table)
}

/// The leaves of one policy; names of nested fields are joined by `_`.
fn flat(value: &Value) -> Vec<(String, String)> {
    let Value::Object(entries) = value else {
        return vec![];
    };
    entries
        .iter()
        .flat_map(|(name, value)| match value {
            Value::Object(_) => {
                flat(value).into_iter().map(|(inner, cell)| (format!("{name}_{inner}"), cell)).collect()
            }
            leaf => vec![(name.clone(), cell(leaf))],
        })
        .collect()
}

fn text(policies: &[PolicyMetrics]) -> Table {
    let mut table = Table::new([
        ("policy", Align::Left),
        ("records", Align::Right),
        ("accepted", Align::Right),
        ("share", Align::Right),
        ("95 % interval", Align::Right),
        ("rejected", Align::Right),
        ("review", Align::Right),
        ("n/a", Align::Right),
        ("error", Align::Right),
        ("ops", Align::Right),
        ("p95", Align::Right),
        ("cautions", Align::Right),
        ("propose ms", Align::Right),
        ("verify ms", Align::Right),
    ]);
    let mut sorted: Vec<&PolicyMetrics> = policies.iter().collect();
    sorted.sort_by_key(|policy| std::cmp::Reverse(policy.extended.records));
    for policy in sorted {
        let more = &policy.extended;
        let ended = |status: &str| more.status.get(status).copied().unwrap_or_default().to_string();
        table.push([
            if policy.policy.is_empty() { "(none)".to_owned() } else { policy.policy.clone() },
            more.records.to_string(),
            ended("accepted"),
            percent(more.accepted_of_all.rate),
            interval(&more.accepted_of_all),
            ended("rejected"),
            ended("needs_review"),
            ended("not_applicable"),
            ended("error"),
            number(more.median_patch_ops.map(crate::stats::Median::value)),
            number(more.p95_patch_ops),
            more.cautions.to_string(),
            number(more.mean_propose_ms),
            number(more.mean_verify_ms),
        ]);
    }
    table
}
