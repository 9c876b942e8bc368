//! `analysis ablation`.

use cli_support::Exit;

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::ablation::{Scenario, ablation};

pub(crate) fn run(args: &cli::Ablation) -> anyhow::Result<Exit> {
    let scenarios = if args.scenario.is_empty() {
        Scenario::paper()
    } else {
        let parsed = args.scenario.iter().map(|text| Scenario::parse(text).map_err(anyhow::Error::msg));
        parsed.collect::<anyhow::Result<_>>()?
    };
    show(&ablation(&cases(&args.runs.input.paths)?, &scenarios), &args.runs.print)
}
