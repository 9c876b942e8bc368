//! Patch sizes and times.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};

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

/// Size of the last column of the histogram, which counts larger patches too.
const LAST_COLUMN: u32 = 40;

/// Resamples of the bootstrap.
const DRAWS: usize = 2000;

#[expect(clippy::unnecessary_wraps, reason = "all parts of a report have this signature")]
pub(super) fn patches(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let mut histogram: BTreeMap<u32, u64> = BTreeMap::new();
    for ops in run.cases.iter().filter_map(|case| case.patch_ops) {
        *histogram.entry(ops.min(LAST_COLUMN)).or_default() += 1;
    }
    let Some(largest) = histogram.keys().max().copied() else {
        return Ok(vec![Block::Text(format!("No patch was proposed in run {}.", run.id))]);
    };
    let label = |ops: u32| if ops == LAST_COLUMN { format!("{ops}+") } else { ops.to_string() };
    let bars: Vec<Column> = (0..=largest)
        .map(|ops| Column { label: label(ops), count: histogram.get(&ops).copied().unwrap_or(0) as f64 })
        .collect();
    let n = thousands(run.cases.iter().filter(|case| case.patch_ops.is_some()).count() as u64);
    let numbers = ["n", "median", "95 % interval", "p95", "95 % interval", "largest"];
    let mut sizes =
        Table::new(std::iter::once(("patches", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let all: Sample = run.cases.iter().filter_map(ops).collect();
    let accepted: Sample = run.cases.iter().filter(|case| case.accepted).filter_map(ops).collect();
    for (name, sample) in [("all", &all), ("of accepted records", &accepted)] {
        let interval = |q| span(quantile_interval(sample, q, DRAWS, options.seed));
        sizes.push([
            name.to_owned(),
            thousands(sample.len() as u64),
            number(sample.median()),
            interval(0.5),
            number(sample.linear(95.0)),
            interval(0.95),
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
                table: sizes,
            },
        ),
    ];
    for titled in patch_stats(&run.cases, options.seed).tables {
        let title = run.title("Patches by size", "operations and patches", &n);
        blocks.push(table(run.name("patch-histogram"), Titled { title, ..titled }));
    }
    Ok(blocks)
}

/// A stage: its name, and the function that reads its time in ms from a case.
type Stage = (&'static str, fn(&Case) -> Option<f64>);

fn ops(case: &Case) -> Option<f64> {
    case.patch_ops.map(f64::from)
}

/// An interval as text; `-` when there is none.
fn span(interval: Option<Interval>) -> String {
    interval
        .map_or_else(|| "-".to_owned(), |of| format!("{} – {}", number(Some(of.low)), number(Some(of.high))))
}

#[expect(clippy::unnecessary_wraps, reason = "all parts of a report have this signature")]
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
            // Every stage that ran took some time: exactly 0 means that it was not timed.
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
        "The share of records with at most this time, accepted or not. Records without a measured time are left out; the \
         table has the number of records.",
        |title| curves(title, &axis, &measured),
    )];
    let figures = latency::figures(&latency::latencies(&run.cases, options.seed), run.cases.len());
    for titled in figures.tables {
        let title = run.title("Time of a stage", "ms; intervals by bootstrap", &n);
        blocks.push(table(run.name("times"), Titled { title, ..titled }));
    }
    if run.metrics.not_finite > 0 {
        blocks.push(Block::Text(format!(
            "Ignored {} non-finite timings or prices.",
            thousands(run.metrics.not_finite)
        )));
    }
    Ok(blocks)
}
