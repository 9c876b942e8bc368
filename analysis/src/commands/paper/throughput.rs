//! `analysis throughput`.

use cli_support::Exit;
use cli_support::output::{Align, Table};
use serde_json::{Value, json};

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::paper::throughput::throughput;
use crate::render::Figures;

const NAMES: [&str; 4] =
    ["risk_per_hour_fifo", "risk_per_hour_sched", "kev_per_hour_fifo", "kev_per_hour_sched"];

pub(crate) fn run(args: &cli::Throughput) -> anyhow::Result<Exit> {
    let (detections, verified) = (files::objects(&args.detections)?, files::objects(&args.verified)?);
    let entries = throughput(&detections, &verified, &files::objects(&args.risk)?, !args.published);
    let weights = std::iter::once(("weights", Align::Left));
    let mut table = Table::new(weights.chain(NAMES.map(|name| (name, Align::Right))));
    for (entry, weights) in entries.iter().zip(["baseline", "tilted", "flat"]) {
        let cell = |name: &str| {
            entry.get(name).and_then(Value::as_f64).map_or_else(String::new, |x| format!("{x:.1}"))
        };
        table.push(std::iter::once(weights.to_owned()).chain(NAMES.map(cell)));
    }
    let title = format!("Risk closed per hour of a whole queue (n = {} detections)", detections.len());
    show(&Figures::new(json!(entries)).with(title, table), &args.print)
}
