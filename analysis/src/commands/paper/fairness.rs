//! `analysis fairness`.

use cli_support::Exit;

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::paper::fairness::fairness;

pub(crate) fn run(args: &cli::Fairness) -> anyhow::Result<Exit> {
    show(&fairness(&files::objects(&args.file)?, args.starved), &args.print)
}
