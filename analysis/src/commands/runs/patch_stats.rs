//! `analysis patch-stats`.

use cli_support::Exit;

use crate::cli::Runs;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::patch_stats::patch_stats;

pub(crate) fn run(args: &Runs) -> anyhow::Result<Exit> {
    show(&patch_stats(&cases(&args.input.paths)?, args.print.seed), &args.print)
}
