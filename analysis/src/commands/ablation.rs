//! `analysis ablation`.

use analysis::ablation::{Scenario, ablation};
use console::Exit;

use super::input::cases;
use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::Ablation) -> anyhow::Result<Exit> {
    let scenarios = if args.scenario.is_empty() {
        Scenario::published()
    } else {
        let parsed = args.scenario.iter().map(|text| Scenario::parse(text).map_err(anyhow::Error::msg));
        parsed.collect::<anyhow::Result<_>>()?
    };
    show(&ablation(&cases(&args.runs.input.paths)?, &scenarios), &args.runs.print)
}
