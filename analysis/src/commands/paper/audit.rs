//! `analysis audit`.

use cli_support::Exit;

use crate::cli;
use crate::commands::print::show;
use crate::paper::{PaperFolder, audit, audit_figures};

pub(crate) fn run(args: &cli::Paper) -> anyhow::Result<Exit> {
    show(&audit_figures(&audit(&PaperFolder::open(&args.reference, args.corpus.as_deref())?)), &args.print)
}
