//! One thin file per subcommand.

mod export;
mod failures;
mod figures;
mod fingerprint;
mod metrics;
mod policy_metrics;

use analysis::Results;
use anyhow::Context as _;
use clap::CommandFactory as _;
use console::failure::WithHint as _;
use console::{Exit, completions, output};
use domain::run::RunState;

use crate::cli::{Cli, Command};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    cli.logs.start(&["analysis", "dataset"])?;
    match cli.command {
        Command::Metrics(args) => metrics::run(&args),
        Command::PolicyMetrics(args) => policy_metrics::run(&args),
        Command::Failures(args) => failures::run(&args),
        Command::Fingerprint(args) => fingerprint::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Completions { shell } => {
            completions::print(Cli::command(), shell).context("cannot print the completions")?;
            Ok(Exit::Fine)
        }
    }
}

/// Loads results, and says on stderr when a run is not finished.
fn load(paths: &[String]) -> anyhow::Result<Results> {
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

/// Prints a result; a reader that went away is no failure.
fn print(text: &str) -> anyhow::Result<Exit> {
    output::print(text).context("cannot write to stdout")?;
    Ok(Exit::Fine)
}
