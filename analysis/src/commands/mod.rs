//! One thin file per subcommand: arguments in, library called, figures printed.

mod head_to_head;
mod input;
mod paper;
mod print;
mod rollout;
mod runs;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use cli_support::failure::WithHint as _;
use cli_support::version::Version;
use cli_support::{Exit, completions, private};

use crate::cli::{Cli, Command};

/// Parses the arguments, runs the command and reports its failure: the whole program. `commit` is what it was built from.
pub fn main(commit: Option<&str>) -> ExitCode {
    private::create_for_owner_alone();
    let cli = Version { commit, formats: &[("results format", &results::schema::FORMAT_VERSION)] }.parse();
    cli_support::failure::finish("analysis", run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    cli.logs.start(&["analysis", "results"])?;
    match cli.command {
        Command::Metrics(args) => runs::metrics::run(&args),
        Command::PolicyMetrics(args) => runs::policy_metrics::run(&args),
        Command::Failures(args) => runs::failures::run(&args),
        Command::PatchStats(args) => runs::patch_stats::run(&args),
        Command::Latency(args) => runs::latency::run(&args),
        Command::Tokens(args) => runs::tokens::run(&args),
        Command::Ablation(args) => runs::ablation::run(&args),
        Command::Agreement(args) => runs::agreement::run(&args),
        Command::Escapes(args) => head_to_head::escapes::run(&args),
        Command::Deceptive(args) => head_to_head::deceptive::run(&args),
        Command::CompareProposers(args) => head_to_head::proposers::run(&args),
        Command::Power(args) => head_to_head::power::run(&args),
        Command::DetectorEval(args) => paper::detector_eval::run(&args),
        Command::Significance(args) => runs::significance::run(&args),
        Command::MultiSeed(args) => paper::multi_seed::run(&args),
        Command::Calibration(args) => paper::calibration::run(&args),
        Command::CrossVersion(args) => runs::cross_version::run(&args),
        Command::Throughput(args) => paper::throughput::run(&args),
        Command::Baselines(args) => paper::baselines::run(&args),
        Command::Fairness(args) => paper::fairness::run(&args),
        Command::ProbeReport(args) => runs::probe_report::run(&args),
        Command::Risk(args) => rollout::risk::run(&args),
        Command::Schedule(args) => rollout::schedule::schedule(&args),
        Command::Compare(args) => rollout::schedule::compare(&args),
        Command::Sweep(args) => rollout::schedule::sweep(&args),
        Command::Simulate(args) => rollout::simulate::run(&args),
        Command::Queue(args) => rollout::queue::run(&args),
        Command::Packet(args) => rollout::packet::run(&args),
        Command::Report(args) => runs::report::run(&args),
        Command::Cite(args) => runs::cite::run(&args),
        Command::Diff(args) => runs::diff::run(&args),
        Command::Parity(args) => paper::parity::run(&args),
        Command::Audit(args) => paper::audit::run(&args),
        Command::Fingerprint(args) => runs::fingerprint::run(&args),
        Command::Export(args) => runs::export::run(&args),
        Command::Sql { words: _ } => Err(anyhow::anyhow!("analysis answers no SQL: results are plain Parquet")).hint(
            "duckdb -c \"select status, count(*) from 'results/RUN/part-*.parquet' group by 1\" does; so do pandas and polars",
        ),
        Command::Completions { shell } => {
            completions::print(Cli::command(), shell).context("cannot print the completions")?;
            Ok(Exit::Fine)
        }
    }
}
