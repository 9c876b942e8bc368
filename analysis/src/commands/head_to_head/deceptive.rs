//! `analysis deceptive`.

use cli_support::{Exit, output};

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::metrics::head_to_head::deceptive;

pub(crate) fn run(args: &cli::Deceptive) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let figures = deceptive(&results, args.top)?;
    let proposers = figures.value.get("proposers").and_then(serde_json::Value::as_array);
    let missed: u64 = proposers
        .into_iter()
        .flatten()
        .filter_map(|of| of.get("not_examined").and_then(serde_json::Value::as_u64))
        .sum();
    if missed > 0 {
        output::say(&format!(
            "{missed} repairs are not examined: name runs by their folders, whose copy of the corpus has the documents; \
             and a patch must apply to its document"
        ));
    }
    show(&figures, &args.print)
}
