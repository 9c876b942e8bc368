//! Tokens and cost of the calls to a model.

use crate::load::AnalysisError;
use crate::metrics::tokens::tokens;
use crate::render::{Titled, thousands};
use crate::report::block::{Block, table};
use crate::report::options::Options;
use crate::report::run::Run;

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn blocks(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let sums = tokens(&run.cases, options.prices);
    if sums.by_model == 0 {
        return Ok(vec![Block::Text(format!(
            "No patch of run {} was written by a model (n = {} records).",
            run.id,
            thousands(run.metrics.records)
        ))]);
    }
    let unit = format!("tokens and US dollars; {} with usage", thousands(sums.with_usage));
    let title =
        run.title("Tokens and cost of the patches that a model wrote", &unit, thousands(sums.by_model));
    let tables = sums.figures().tables;
    Ok(tables
        .into_iter()
        .map(|titled| table(run.name("tokens"), Titled { title: title.clone(), ..titled }))
        .collect())
}
