//! `analysis calibration`, and `analysis cross-version --risk`.

use std::path::Path;

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
    let runs = args.runs.iter().map(|run| (run.name.as_str(), run.place.as_str()));
    show(&calibrate(runs, args.policy_metrics.as_deref())?.figures(), &args.print)
}

/// The paper's table of the risk closed, for runs with names.
pub(crate) fn cross_version(runs: &[(String, String)], args: &cli::CrossVersion) -> anyhow::Result<Exit> {
    let runs = runs.iter().map(|(name, place)| (name.as_str(), place.as_str()));
    let calibrated = calibrate(runs, args.policy_metrics.as_deref())?;
    show(&cross_version::figures(&calibrated.ratios), &args.print)
}

fn calibrate<'a>(
    runs: impl Iterator<Item = (&'a str, &'a str)>,
    of_policies: Option<&Path>,
) -> anyhow::Result<Calibration> {
    let mut datasets = vec![];
    let mut map: Map<String, Value> = Map::new();
    for (name, place) in runs {
        let results = load(&[place.to_owned()])?;
        datasets.push(Dataset::from_cases(name, &cases::read(&results)?));
        if of_policies.is_none() {
            for of in policy_metrics::compute(&results)? {
                map.entry(of.policy).or_insert(json!(of.paper));
            }
        }
    }
    if let Some(file) = of_policies {
        let Value::Object(given) = files::json(file)? else {
            bail!("{} is not a JSON object", file.display())
        };
        map = given;
    }
    Ok(calibration(&map, &datasets))
}
