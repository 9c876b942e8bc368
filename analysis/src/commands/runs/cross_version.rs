//! `analysis cross-version`.

use std::collections::BTreeMap;
use std::path::Path;

use cli_support::Exit;
use cli_support::failure::WithHint as _;

use crate::cli;
use crate::commands::input::load;
use crate::commands::paper::calibration;
use crate::commands::print::show;
use crate::metrics::servers::{Judged, cross_version};

pub(crate) fn run(args: &cli::CrossVersion) -> anyhow::Result<Exit> {
    let named: Vec<(Option<&str>, &str)> = args.runs.iter().map(|text| split(text)).collect();
    if args.risk {
        let runs: Vec<(String, String)> = named
            .into_iter()
            .map(|(name, place)| (name.unwrap_or(place).to_owned(), place.to_owned()))
            .collect();
        return calibration::cross_version(&runs, args);
    }
    let mut runs = vec![];
    for (name, place) in named {
        let judged = Judged::read(&load(&[place.to_owned()])?, false)?;
        let versions = judged.versions();
        let [version] = versions.as_slice() else {
            let problem = if versions.is_empty() {
                format!("{place} has no answers of an API server")
            } else {
                format!("{place} has answers of several servers: {}", versions.join(", "))
            };
            return Err(anyhow::anyhow!(problem))
                .hint("name runs with verifier.depth: server or both, each judged by one server");
        };
        runs.push((name.unwrap_or(version).to_owned(), judged));
    }
    show(&cross_version(distinct(runs)), &args.print)
}

/// `NAME=RUN`, unless a file or folder is called like that.
fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() && !Path::new(text).exists() => {
            (Some(name), place)
        }
        _ => (None, text),
    }
}

/// Runs of one name get numbers.
fn distinct(mut runs: Vec<(String, Judged)>) -> Vec<(String, Judged)> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (name, _) in &mut runs {
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            *name = format!("{name} ({times})");
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_optional() {
        assert_eq!(split("old=results/a"), (Some("old"), "results/a"));
        assert_eq!(split("results/a"), (None, "results/a"));
        assert_eq!(split("=results/a"), (None, "=results/a"));
    }
}
