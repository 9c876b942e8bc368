//! `analysis baselines`.

use std::path::Path;

use cli_support::Exit;

use crate::cli;
use crate::commands::print::{print, show};
use crate::load::files::{self, Csv, FileError};
use crate::paper::baselines::Baselines;
use crate::render::{Figures, Form};

pub(crate) fn run(args: &cli::Baselines) -> anyhow::Result<Exit> {
    let mut joined = Baselines::default();
    joined.add_ours(&files::objects(&args.detections)?, &files::objects(&args.verified)?);
    for baseline in &args.baseline {
        let path = Path::new(&baseline.place);
        joined.add(&baseline.name, &Csv::read(path)?).map_err(|problem| FileError::shape(path, problem))?;
    }
    match args.print.output {
        Form::Md => print(&joined.markdown()),
        Form::Tex => print(&joined.latex()),
        _ => show(
            &Figures::new(joined.value()).with("Accepted by policy and system", joined.table()),
            &args.print,
        ),
    }
}
