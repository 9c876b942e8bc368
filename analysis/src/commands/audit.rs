//! `analysis audit`.

use analysis::reference::{Reference, audit, audit_figures};
use console::Exit;

use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::Published) -> anyhow::Result<Exit> {
    show(&audit_figures(&audit(&Reference::open(&args.reference, args.corpus.as_deref())?)), &args.print)
}
