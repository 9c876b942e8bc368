//! `analysis escapes`.

use cli_support::Exit;

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::head_to_head::escapes;

pub(crate) fn run(args: &cli::Escapes) -> anyhow::Result<Exit> {
    show(&escapes(&cases(&args.runs.input.paths)?, args.common), &args.runs.print)
}
