//! How large patches are, and how long things took.

use std::collections::BTreeMap;

use console::output::{Align, Table};

use crate::load::AnalysisError;
use crate::load::cases::Case;
use crate::metrics::latency;
use crate::metrics::patch_stats::patch_stats;
use crate::render::chart::{Axis, Column, Curve, columns, curves};
use crate::render::{Titled, number, thousands};
use crate::report::block::{Block, figure, table};
use crate::report::options::Options;
use crate::report::run::Run;
use crate::stats::{Interval, Sample, quantile_interval};

/// Sizes with a column of their own; larger patches share the last one.
const SIZES: u32 = 40;

/// Resamples behind an interval.
const DRAWS: usize = 2000;

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn patches(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let mut histogram: BTreeMap<u32, u64> = BTreeMap::new();
    for ops in run.cases.iter().filter_map(|case| case.patch_ops) {
        *histogram.entry(ops.min(SIZES)).or_default() += 1;
    }
    let Some(most) = histogram.keys().max().copied() else {
        return Ok(vec![Block::Text(format!("No patch was proposed in run {}.", run.id))]);
    };
    let label = |ops: u32| if ops == SIZES { format!("{ops}+") } else { ops.to_string() };
    let bars: Vec<Column> = (0..=most)
        .map(|ops| Column { label: label(ops), count: histogram.get(&ops).copied().unwrap_or(0) as f64 })
        .collect();
    let n = thousands(run.cases.iter().filter(|case| case.patch_ops.is_some()).count() as u64);
    let numbers = ["n", "median", "95 % interval", "p95", "95 % interval", "largest"];
    let mut lines =
        Table::new(std::iter::once(("patches", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let all: Sample = run.cases.iter().filter_map(ops).collect();
    let accepted: Sample = run.cases.iter().filter(|case| case.accepted).filter_map(ops).collect();
    for (name, sample) in [("all", &all), ("of accepted records", &accepted)] {
        let of = |q| span(quantile_interval(sample, q, DRAWS, options.seed));
        lines.push([
            name.to_owned(),
            thousands(sample.len() as u64),
            number(sample.median()),
            of(0.5),
            number(sample.linear(95.0)),
            of(0.95),
            number(sample.max()),
        ]);
    }
    let mut blocks = vec![
        figure(
            run.name("patch-sizes"),
            run.title("Size of patches", "JSON Patch operations", &n),
            "",
            |title| columns(title, ("operations of a patch", "patches"), &bars),
        ),
        table(
            run.name("patch-sizes"),
            Titled {
                title: run.title("Size of patches", "operations; intervals by bootstrap", &n),
                table: lines,
            },
        ),
    ];
    for titled in patch_stats(&run.cases, options.seed).tables {
        let title = run.title("Patches by size", "operations and patches", &n);
        blocks.push(table(run.name("patch-histogram"), Titled { title, ..titled }));
    }
    Ok(blocks)
}

/// A stage and how long a record was in it.
type Stage = (&'static str, fn(&Case) -> Option<f64>);

fn ops(case: &Case) -> Option<f64> {
    case.patch_ops.map(f64::from)
}

fn span(interval: Option<Interval>) -> String {
    interval
        .map_or_else(|| "-".to_owned(), |of| format!("{} – {}", number(Some(of.low)), number(Some(of.high))))
}

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn times(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let stages: [Stage; 4] = [
        ("propose", |case| case.times.propose_ms),
        ("model", |case| case.times.llm_ms),
        ("verify", |case| case.times.verify_ms),
        ("whole record", |case| case.times.total_ms),
    ];
    let measured: Vec<Curve> = stages
        .iter()
        .map(|(name, of)| Curve {
            name: (*name).to_owned(),
            // Work that was done took some time: exactly 0 stands for what was not timed.
            sample: run.cases.iter().filter_map(of).filter(|ms| *ms > 0.0).collect(),
        })
        .filter(|curve| !curve.sample.is_empty())
        .collect();
    if measured.is_empty() {
        return Ok(vec![Block::Text(format!("No time was measured in run {}.", run.id))]);
    }
    let n = thousands(run.metrics.records);
    let values: Vec<f64> = measured.iter().flat_map(|curve| curve.sample.values().iter().copied()).collect();
    let axis = Axis::log("milliseconds (logarithmic)", values.iter().copied());
    let mut blocks = vec![figure(
        run.name("times"),
        run.title("Time of a record by stage", "ms", &n),
        "The share of records that took at most so long. Rejected records count as accepted ones do; what was not \
         measured is left out, and the table says how many were.",
        |title| curves(title, &axis, &measured),
    )];
    let figures = latency::figures(&latency::latencies(&run.cases, options.seed), run.cases.len());
    for titled in figures.tables {
        let title = run.title("Time of a stage", "ms; intervals by bootstrap", &n);
        blocks.push(table(run.name("times"), Titled { title, ..titled }));
    }
    if run.metrics.not_finite > 0 {
        blocks.push(Block::Text(format!(
            "{} times or prices are no finite numbers and count as not measured.",
            thousands(run.metrics.not_finite)
        )));
    }
    Ok(blocks)
}
