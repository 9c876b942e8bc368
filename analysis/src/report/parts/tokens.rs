//! Tokens and cost of the calls to a model.

use crate::load::AnalysisError;
use crate::metrics::served::ByModel;
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
    let tables =
        tables.into_iter().map(|titled| table(run.name("tokens"), Titled { title: title.clone(), ..titled }));
    Ok(tables.chain(by_model(run)).collect())
}

/// The records by the model that answered; `None` where the rows do not say.
fn by_model(run: &Run) -> Option<Block> {
    let groups = ByModel::of(&run.cases);
    let records: u64 = groups.0.values().map(|group| group.records).sum();
    let title = run.title("Records by the model that answered", "records and US dollars", thousands(records));
    (records > 0).then(|| table(run.name("models"), Titled { title, table: groups.table() }))
}
