//! `analysis compare-proposers`.

use cli_support::Exit;

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::metrics::head_to_head::proposers;

pub(crate) fn run(args: &cli::Runs) -> anyhow::Result<Exit> {
    show(&proposers(&load(&args.input.paths)?)?, &args.print)
}
