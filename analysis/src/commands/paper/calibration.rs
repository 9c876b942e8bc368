//! `analysis calibration` and `analysis cross-version`.

use anyhow::bail;
use cli_support::Exit;
use serde_json::{Map, Value, json};

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::{cases, files};
use crate::metrics::policy_metrics;
use crate::paper::calibration::{Calibration, Dataset, calibration};
use crate::paper::cross_version;

pub(crate) fn run(args: &cli::Calibration) -> anyhow::Result<Exit> {
    show(&calibrate(args)?.figures(), &args.print)
}

pub(crate) fn cross_version(args: &cli::CrossVersion) -> anyhow::Result<Exit> {
    let args = &args.calibration;
    show(&cross_version::figures(&calibrate(args)?.ratios), &args.print)
}

fn calibrate(args: &cli::Calibration) -> anyhow::Result<Calibration> {
    let mut datasets = vec![];
    let mut map: Map<String, Value> = Map::new();
    for run in &args.runs {
        let results = load(std::slice::from_ref(&run.place))?;
        datasets.push(Dataset::from_cases(&run.name, &cases::read(&results)?));
        if args.policy_metrics.is_none() {
            for of in policy_metrics::compute(&results)? {
                map.entry(of.policy).or_insert(json!(of.paper));
            }
        }
    }
    if let Some(file) = &args.policy_metrics {
        let Value::Object(given) = files::json(file)? else {
            bail!("{} is not a JSON object", file.display())
        };
        map = given;
    }
    Ok(calibration(&map, &datasets))
}
