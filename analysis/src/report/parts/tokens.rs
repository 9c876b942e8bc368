//! Tokens and cost of the calls to a model.

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::load::cases::Case;
use crate::metrics::served::ByModel;
use crate::metrics::tokens::tokens;
use crate::render::{Titled, thousands};
use crate::report::block::{Block, table};
use crate::report::options::Options;
use crate::report::run::Run;
use crate::stats::Sample;

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn blocks(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let sums = tokens(&run.cases, options.prices);
    let of_records = of_records(run);
    if sums.by_model == 0 {
        let text = format!(
            "No patch of run {} was written by a model (n = {} records).",
            run.id,
            thousands(run.metrics.records)
        );
        return Ok(std::iter::once(Block::Text(text)).chain(of_records).collect());
    }
    let unit = format!("tokens and US dollars; {} with usage", thousands(sums.with_usage));
    let title =
        run.title("Tokens and cost of the patches that a model wrote", &unit, thousands(sums.by_model));
    let tables = sums.figures().tables;
    let tables =
        tables.into_iter().map(|titled| table(run.name("tokens"), Titled { title: title.clone(), ..titled }));
    Ok(of_records.into_iter().chain(tables).chain(by_model(run)).collect())
}

/// What the answers of all records took, and those of the accepted; empty where no record has tokens.
fn of_records(run: &Run) -> Vec<Block> {
    let numbers = ["records with tokens", "prompt", "completion", "reasoning", "all tokens", "cost, USD"];
    let mut lines =
        Table::new(std::iter::once(("records", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let asked = || run.cases.iter().filter(|case| case.tokens.total.is_some());
    let mut line = |name: &str, is_wanted: fn(&Case) -> bool| {
        let of = || asked().filter(|case| is_wanted(case));
        let sum = |tokens: fn(&Case) -> Option<u64>| thousands(of().filter_map(tokens).sum());
        let costs: Sample = of().filter_map(|case| case.tokens.cost_usd).collect();
        lines.push([
            name.to_owned(),
            thousands(of().count() as u64),
            sum(|case| case.tokens.prompt),
            sum(|case| case.tokens.completion),
            sum(|case| case.tokens.reasoning),
            sum(|case| case.tokens.total),
            if costs.is_empty() { "-".to_owned() } else { format!("{:.4}", costs.sum()) },
        ]);
    };
    line("all", |_| true);
    line("accepted", |case| case.accepted);
    let n = asked().count() as u64;
    if n == 0 {
        return vec![];
    }
    let title = run.title("Tokens and cost of the answers of records", "tokens and US dollars", thousands(n));
    let note = "All answers that records were given, whether their patch was taken or not. Calls without an answer (refused, cut \
                off, timed out) are part of what a run spends, and of no record.";
    vec![Block::Text(note.to_owned()), table(run.name("tokens-of-records"), Titled { title, table: lines })]
}

/// The records by the model that answered; `None` where the rows do not say.
fn by_model(run: &Run) -> Option<Block> {
    let groups = ByModel::of(&run.cases);
    let records: u64 = groups.0.values().map(|group| group.records).sum();
    let title = run.title("Records by the model that answered", "records and US dollars", thousands(records));
    (records > 0).then(|| table(run.name("models"), Titled { title, table: groups.table() }))
}
