//! `analysis fairness`.

use analysis::fairness::fairness;
use analysis::files;
use console::Exit;

use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::Fairness) -> anyhow::Result<Exit> {
    show(&fairness(&files::objects(&args.file)?, args.starved), &args.print)
}
