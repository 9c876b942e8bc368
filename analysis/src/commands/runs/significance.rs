//! `analysis significance`.

use cli_support::Exit;
use serde_json::json;

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::load::files::{Csv, FileError};
use crate::metrics::significance::{Counted, intervals, of_runs, pairs};
use crate::render::Figures;

pub(crate) fn run(args: &cli::Significance) -> anyhow::Result<Exit> {
    let Some(file) = &args.counts else {
        return show(&of_runs(&cases(&args.paths)?, args.print.seed), &args.print);
    };
    let counts = Counted::read(&Csv::read(file)?).map_err(|problem| FileError::shape(file, problem))?;
    let (tests, table) = pairs(&counts);
    let figures = Figures::new(json!({"acceptance": tests}))
        .with("Acceptance by corpus, with Wilson 95 % bounds", intervals(&counts))
        .with("Corpora against each other", table);
    show(&figures, &args.print)
}
