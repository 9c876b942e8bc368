//! `analysis power`.

use anyhow::bail;
use cli_support::Exit;

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::head_to_head::{Plan, power};
use crate::stats::power::Errors;

pub(crate) fn run(args: &cli::Power) -> anyhow::Result<Exit> {
    let inside = |x: &f64| *x > 0.0 && *x < 1.0;
    if !inside(&args.alpha) || !inside(&args.sensitivity) {
        bail!("--alpha and --power are probabilities between 0 and 1");
    }
    if !args.acceptance.iter().all(|x| (0.0..=1.0).contains(x)) {
        bail!("--acceptance takes shares from 0 to 1");
    }
    let plan = Plan {
        difference: args.difference.0,
        acceptance: args.acceptance.clone(),
        errors: Errors { alpha: args.alpha, power: args.sensitivity },
    };
    let cases = if args.paths.is_empty() { vec![] } else { cases(&args.paths)? };
    show(&power(&cases, &plan), &args.print)
}
