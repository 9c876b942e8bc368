//! `analysis latency`.

use cli_support::Exit;

use crate::cli::Runs;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::latency::{figures, latencies};

pub(crate) fn run(args: &Runs) -> anyhow::Result<Exit> {
    let cases = cases(&args.input.paths)?;
    show(&figures(&latencies(&cases, args.print.seed), cases.len()), &args.print)
}
