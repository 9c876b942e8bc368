//! `analysis patch-stats`.

use analysis::patch_stats::patch_stats;
use console::Exit;

use super::input::cases;
use super::print::show;
use crate::cli::Runs;

pub(super) fn run(args: &Runs) -> anyhow::Result<Exit> {
    show(&patch_stats(&cases(&args.input.paths)?, args.print.seed), &args.print)
}
