//! `analysis latency`.

use analysis::metrics::latency::{figures, latencies};
use console::Exit;

use crate::cli::Runs;
use crate::commands::input::cases;
use crate::commands::print::show;

pub(crate) fn run(args: &Runs) -> anyhow::Result<Exit> {
    let cases = cases(&args.input.paths)?;
    show(&figures(&latencies(&cases, args.print.seed), cases.len()), &args.print)
}
