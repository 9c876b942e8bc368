//! Distributions of the measured times, with intervals.

use cli_support::output::{Align, Table};
use serde::Serialize;
use serde_json::json;

use crate::load::cases::Case;
use crate::render::{Figures, number};
use crate::stats::{Interval, Sample, quantile_interval};

/// Resamples of the bootstrap.
const DRAWS: usize = 2000;

/// One distribution, in ms, percentiles by linear interpolation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) stage: &'static str,
    pub(crate) count: usize,
    pub(crate) min: Option<f64>,
    pub(crate) median: Option<f64>,
    pub(crate) median_interval: Option<Interval>,
    pub(crate) p90: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p95_interval: Option<Interval>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) mean: Option<f64>,
}

impl Latency {
    pub(crate) fn of(stage: &'static str, sample: &Sample, seed: u64) -> Self {
        Self {
            stage,
            count: sample.len(),
            min: sample.min(),
            median: sample.median(),
            median_interval: quantile_interval(sample, 0.5, DRAWS, seed),
            p90: sample.linear(90.0),
            p95: sample.linear(95.0),
            p95_interval: quantile_interval(sample, 0.95, DRAWS, seed),
            p99: sample.linear(99.0),
            max: sample.max(),
            mean: sample.mean(),
        }
    }
}

/// The name of a stage and its time.
type Stage = (&'static str, fn(&Case) -> Option<f64>);

/// The distribution of each stage, over accepted and rejected records with a measured time; `count` is their number.
pub(crate) fn latencies(cases: &[Case], seed: u64) -> Vec<Latency> {
    let stages: [Stage; 4] = [
        ("propose", |case| case.times.propose_ms),
        ("llm", |case| case.times.llm_ms),
        ("verify", |case| case.times.verify_ms),
        ("total", |case| case.times.total_ms),
    ];
    stages
        .iter()
        .map(|(stage, of)| Latency::of(stage, &cases.iter().filter_map(of).collect(), seed))
        .collect()
}

/// The distributions as a table.
pub(crate) fn figures(latencies: &[Latency], records: usize) -> Figures {
    let numbers =
        ["n", "min", "median", "95 % interval", "p90", "p95", "95 % interval", "p99", "max", "mean"];
    let mut table =
        Table::new(std::iter::once(("stage", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let ms = number;
    let span = |x: Option<Interval>| {
        x.map_or_else(|| "-".to_owned(), |x| format!("{} – {}", number(Some(x.low)), number(Some(x.high))))
    };
    for of in latencies {
        table.push([
            of.stage.to_owned(),
            of.count.to_string(),
            ms(of.min),
            ms(of.median),
            span(of.median_interval),
            ms(of.p90),
            ms(of.p95),
            span(of.p95_interval),
            ms(of.p99),
            ms(of.max),
            ms(of.mean),
        ]);
    }
    Figures::new(json!({"records": records, "unit": "ms", "stages": latencies}))
        .with(format!("Time of a stage, in ms (of {records} records)"), table)
}
