//! Operations per patch: the paper's statistics and histogram.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde_json::json;

use crate::load::cases::Case;
use crate::render::Figures;
use crate::stats::{Sample, quantile_interval};

/// Resamples of the bootstrap.
const DRAWS: usize = 2000;

/// Sizes of **all** patches (the paper's definition), and of the accepted ones.
pub(crate) fn patch_stats(cases: &[Case], seed: u64) -> Figures {
    let all: Sample = cases.iter().filter_map(|case| case.patch_ops).map(f64::from).collect();
    let accepted: Sample =
        cases.iter().filter(|case| case.accepted).filter_map(|case| case.patch_ops).map(f64::from).collect();
    let mut histogram: BTreeMap<u32, u64> = BTreeMap::new();
    for ops in cases.iter().filter_map(|case| case.patch_ops) {
        *histogram.entry(ops).or_default() += 1;
    }
    let interval = |sample: &Sample, q| quantile_interval(sample, q, DRAWS, seed);
    let value = json!({
        "count": all.len(),
        "median": all.median(),
        "p95": all.linear(95.0),
        "max": all.max(),
        "extended": {
            "median_interval": interval(&all, 0.5),
            "p95_interval": interval(&all, 0.95),
            "accepted": {
                "count": accepted.len(), "median": accepted.median(), "p95": accepted.linear(95.0),
                "max": accepted.max(), "median_interval": interval(&accepted, 0.5),
            },
            "histogram": histogram.iter().map(|(ops, n)| (ops.to_string(), json!(n))).collect::<serde_json::Map<_, _>>(),
        },
    });
    let mut table = Table::new([("operations", Align::Right), ("count", Align::Right)]);
    for (ops, count) in &histogram {
        table.push([ops.to_string(), count.to_string()]);
    }
    Figures::new(value).with(format!("Operations of a patch (n = {} patches)", all.len()), table)
}
