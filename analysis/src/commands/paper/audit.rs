//! `analysis audit`.

use analysis::paper::{Reference, audit, audit_figures};
use console::Exit;

use crate::cli;
use crate::commands::print::show;

pub(crate) fn run(args: &cli::Published) -> anyhow::Result<Exit> {
    show(&audit_figures(&audit(&Reference::open(&args.reference, args.corpus.as_deref())?)), &args.print)
}
