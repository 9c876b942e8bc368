//! The results that a command works on, loaded.

use cli_support::failure::WithHint as _;
use cli_support::output;
use domain::run::RunState;

use crate::load::Results;
use crate::load::cases::{self, Case};

/// Loads results and prints a notice to stderr for each run that is not finished.
pub(super) fn load(paths: &[String]) -> anyhow::Result<Results> {
    let results = Results::load(paths).hint(
        "name the folder of a run (results/<RUN_ID>), its parts, or a glob in quotes, e.g. 'results/*/*.parquet'",
    )?;
    for run in results.runs().filter(|run| run.state != RunState::Finished) {
        let rows: u64 = run.parts.iter().map(|part| part.rows).sum();
        output::say(&format!(
            "run {} is {}: the figures cover {rows} of {} records",
            run.run_id,
            run.state.as_str(),
            run.records
        ));
    }
    Ok(results)
}

/// The rows of results, as plain values.
pub(super) fn cases(paths: &[String]) -> anyhow::Result<Vec<Case>> {
    Ok(cases::read(&load(paths)?)?)
}
