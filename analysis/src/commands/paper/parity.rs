//! `analysis parity`.

use cli_support::Exit;

use crate::cli;
use crate::commands::print::show;
use crate::paper::{PaperFolder, Status, figures, recompute};

pub(crate) fn run(args: &cli::Paper) -> anyhow::Result<Exit> {
    let lines = recompute(&PaperFolder::open(&args.reference, args.corpus.as_deref())?)?;
    show(&figures(&lines), &args.print)?;
    let differs = lines.iter().any(|line| line.status == Status::Differs);
    Ok(if differs { Exit::Findings } else { Exit::Fine })
}
