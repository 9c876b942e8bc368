//! `analysis latency`.

use analysis::latency::{figures, latencies};
use console::Exit;

use super::input::cases;
use super::print::show;
use crate::cli::Runs;

pub(super) fn run(args: &Runs) -> anyhow::Result<Exit> {
    let cases = cases(&args.input.paths)?;
    show(&figures(&latencies(&cases, args.print.seed), cases.len()), &args.print)
}
