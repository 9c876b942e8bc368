//! The table of proposers: what each run accepted, of what quality, and at what price.

use std::collections::{BTreeMap, BTreeSet};

use cli_support::output::{Align, Table};
use domain::config::ProposerMode;
use results::schema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::load::cases::{self, Case};
use crate::load::{AnalysisError, Results};
use crate::metrics::Extended;
use crate::metrics::pairs::{Pair, by_run, paired};
use crate::metrics::policy_metrics::{self, PolicyMetrics};
use crate::render::{Figures, interval, number, p_value, percent};
use crate::stats::{Median, Proportion, holm, round};

/// Columns of the time that was spent on a record, without waiting.
const WORK: [&str; 3] = [schema::PROPOSE_MS, schema::LLM_MS, schema::VERIFY_MS];

/// Figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    run: String,
    /// Sources of its accepted repairs: `rules`, or a model.
    proposers: Vec<String>,
    accepted_of_all: Proportion,
    /// Accepted, of the rows whose document was valid before.
    accepted_of_valid: Proportion,
    /// Accepted without a new finding and without a change that the violation did not need, of the accepted ones that
    /// were verified here.
    effective_of_accepted: Proportion,
    median_patch_ops: Option<f64>,
    p95_patch_ops: Option<f64>,
    /// Operations that the violations did not require, of all proposals.
    collateral_ops: u64,
    /// Cautions by accepted repair; a repair may have several. Null where others than the rules proposed: only the rules make
    /// them, and no caution is not none that is due.
    cautions_per_accepted: Option<f64>,
    /// US dollars of all records by accepted repair; null where no record has a price.
    usd_per_accepted: Option<f64>,
    tokens_per_accepted: Option<f64>,
    /// Time to propose, in calls and to verify, of all records, by accepted repair; null where nothing was measured.
    ms_per_accepted: Option<f64>,
}

impl Line {
    fn of(run: &str, metrics: &Extended) -> Self {
        let accepted = metrics.accepted_of_all.count;
        let per_accepted = |sum: f64| (accepted > 0).then(|| sum / accepted as f64);
        let work: Vec<f64> = WORK
            .iter()
            .filter_map(|name| metrics.latency_ms.get(name))
            .map(|of| of.mean * of.n as f64)
            .collect();
        let tokens = metrics.tokens.get(schema::TOTAL_TOKENS).copied().unwrap_or_default();
        let cautions: u64 = metrics.cautions.values().sum();
        let by_rules = metrics.accepted_by_source.keys().all(|source| source == ProposerMode::Rules.as_str());
        Self {
            run: run.to_owned(),
            proposers: metrics.accepted_by_source.keys().cloned().collect(),
            accepted_of_all: metrics.accepted_of_all,
            accepted_of_valid: metrics.accepted_of_valid,
            effective_of_accepted: metrics.effective_of_accepted,
            median_patch_ops: metrics.median_patch_ops.map(Median::value),
            p95_patch_ops: metrics.p95_patch_ops,
            collateral_ops: metrics.collateral_ops,
            cautions_per_accepted: by_rules.then(|| per_accepted(cautions as f64)).flatten(),
            usd_per_accepted: metrics.cost_usd.and_then(per_accepted),
            tokens_per_accepted: (tokens > 0).then(|| per_accepted(tokens as f64)).flatten(),
            ms_per_accepted: (!work.is_empty()).then(|| per_accepted(work.iter().sum())).flatten(),
        }
    }
}

/// The comparison of all runs of some results. Fails if a record occurs twice in one.
pub(crate) fn proposers(results: &Results) -> Result<Figures, AnalysisError> {
    let cases = cases::read(results)?;
    let runs = by_run(&cases);
    let (mut lines, mut policies) = (vec![], vec![]);
    for run in runs.keys() {
        let of = results.of_run(run);
        lines.push(Line::of(run, &Extended::compute(&of)?));
        policies.push(policy_metrics::compute(&of)?);
    }
    let of_valid = |first: &Case, second: &Case| {
        first.gates.schema_before == Some(true) && second.gates.schema_before == Some(true)
    };
    let (all, all_table) = tests(&paired(&runs, |_, _| true));
    let (valid, valid_table) = tests(&paired(&runs, of_valid));
    let names: Vec<&str> = runs.keys().copied().collect();
    let (by_policy, policy_table) = by_policy(&names, &policies);
    let value = json!({
        "runs": lines,
        "paired": {"all": all, "valid": valid},
        "by_policy": by_policy,
    });
    let mut figures = Figures::new(value)
        .with("Acceptance by run (Wilson 95 % intervals)", acceptance(&lines))
        .with("Quality and price of what each run accepted", quality(&lines));
    for (title, table) in [
        ("The same records in two runs (McNemar's exact test, p corrected by Holm)", all_table),
        ("The same, of the records whose document was valid before", valid_table),
        ("Accepted of all, by policy", policy_table),
    ] {
        if !table.is_empty() {
            figures = figures.with(title, table);
        }
    }
    Ok(figures)
}

fn acceptance(lines: &[Line]) -> Table {
    let columns = [
        "valid",
        "accepted of valid",
        "share of valid",
        "95 % interval",
        "records",
        "accepted",
        "share of all",
        "95 % interval of all",
    ];
    let left = [("run", Align::Left), ("proposers", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns.map(|name| (name, Align::Right))));
    for line in lines {
        let shares = [line.accepted_of_valid, line.accepted_of_all].into_iter().flat_map(|share| {
            [share.of.to_string(), share.count.to_string(), percent(share.rate), interval(&share)]
        });
        table.push([line.run.clone(), line.proposers.join(", ")].into_iter().chain(shares));
    }
    table
}

fn quality(lines: &[Line]) -> Table {
    let columns = [
        "effective of accepted",
        "95 % interval",
        "ops, median",
        "ops, p95",
        "collateral ops",
        "cautions a fix",
        "tokens a fix",
        "USD a fix",
        "ms a fix",
    ];
    let header = std::iter::once(("run", Align::Left)).chain(columns.map(|name| (name, Align::Right)));
    let mut table = Table::new(header);
    for line in lines {
        let effective = line.effective_of_accepted;
        table.push([
            line.run.clone(),
            percent(effective.rate),
            interval(&effective),
            number(line.median_patch_ops),
            number(line.p95_patch_ops),
            line.collateral_ops.to_string(),
            number(line.cautions_per_accepted),
            number(line.tokens_per_accepted),
            line.usd_per_accepted.map_or_else(|| "-".to_owned(), |usd| format!("{usd:.6}")),
            number(line.ms_per_accepted),
        ]);
    }
    table
}

fn tests(pairs: &[Pair]) -> (Vec<Value>, Table) {
    let columns = ["pairs", "only first", "only second", "difference, pp", "p (McNemar)", "p (Holm)"];
    let left = [("run", Align::Left), ("against", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns.map(|name| (name, Align::Right))));
    let mut entries = vec![];
    let adjusted = holm(&pairs.iter().map(|pair| pair.test.p).collect::<Vec<_>>());
    for (Pair { first, second, records, test, .. }, holm) in pairs.iter().zip(adjusted) {
        let difference = (test.only_first as f64 - test.only_second as f64) / *records as f64;
        table.push([
            first.clone(),
            second.clone(),
            records.to_string(),
            test.only_first.to_string(),
            test.only_second.to_string(),
            format!("{:+.2}", difference * 100.0),
            p_value(test.p),
            p_value(holm),
        ]);
        entries.push(json!({
            "run_a": first, "run_b": second, "pairs": records, "difference": difference, "mcnemar": test,
            "holm": round(holm, 12),
        }));
    }
    (entries, table)
}

/// Acceptance of each policy in each run, most records first; a run without the policy has no share.
fn by_policy(runs: &[&str], of_runs: &[Vec<PolicyMetrics>]) -> (Vec<Value>, Table) {
    let by_name: Vec<BTreeMap<&str, &PolicyMetrics>> = of_runs
        .iter()
        .map(|policies| policies.iter().map(|policy| (policy.policy.as_str(), policy)).collect())
        .collect();
    let names: BTreeSet<&str> = by_name.iter().flat_map(|policies| policies.keys().copied()).collect();
    let records = |name: &str| -> u64 {
        by_name.iter().filter_map(|policies| policies.get(name)).map(|policy| policy.extended.records).sum()
    };
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| std::cmp::Reverse(records(name)));
    let header = runs.iter().map(|run| ((*run).to_owned(), Align::Right));
    let mut table = Table::new(std::iter::once(("policy".to_owned(), Align::Left)).chain(header));
    let mut entries = vec![];
    for name in names {
        let of = by_name.iter().map(|policies| policies.get(name));
        let cell = |policy: Option<&&PolicyMetrics>| {
            policy.map_or_else(
                || "-".to_owned(),
                |policy| {
                    let share = policy.extended.accepted_of_all;
                    format!("{} / {} ({})", share.count, share.of, percent(share.rate))
                },
            )
        };
        table.push(std::iter::once(name_of(name)).chain(of.clone().map(cell)));
        let shares: BTreeMap<&str, Value> = runs
            .iter()
            .zip(of)
            .filter_map(|(run, policy)| {
                let of = &policy?.extended;
                let cautions = of.cautions;
                Some((
                    *run,
                    json!({
                        "accepted_of_all": of.accepted_of_all, "accepted_of_valid": of.accepted_of_valid,
                        "median_patch_ops": of.median_patch_ops, "cautions": cautions,
                    }),
                ))
            })
            .collect();
        entries.push(json!({"policy": name, "runs": shares}));
    }
    (entries, table)
}

fn name_of(policy: &str) -> String {
    if policy.is_empty() { "(none)".to_owned() } else { policy.to_owned() }
}
