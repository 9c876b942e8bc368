//! `analysis fairness`.

use analysis::load::files;
use analysis::paper::fairness::fairness;
use console::Exit;

use crate::cli;
use crate::commands::print::show;

pub(crate) fn run(args: &cli::Fairness) -> anyhow::Result<Exit> {
    show(&fairness(&files::objects(&args.file)?, args.starved), &args.print)
}
