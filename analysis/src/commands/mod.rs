//! One thin file per subcommand.

mod ablation;
mod audit;
mod baselines;
mod calibration;
mod detector_eval;
mod diff;
mod export;
mod failures;
mod fairness;
mod fingerprint;
mod input;
mod latency;
mod metrics;
mod multi_seed;
mod parity;
mod patch_stats;
mod policy_metrics;
mod print;
mod probe_report;
mod queue;
mod report;
mod risk;
mod schedule;
mod significance;
mod simulate;
mod sql;
mod throughput;
mod tokens;

use anyhow::Context as _;
use clap::CommandFactory as _;
use console::{Exit, completions};

use crate::cli::{Cli, Command};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    cli.logs.start(&["analysis", "dataset"])?;
    match cli.command {
        Command::Metrics(args) => metrics::run(&args),
        Command::PolicyMetrics(args) => policy_metrics::run(&args),
        Command::Failures(args) => failures::run(&args),
        Command::PatchStats(args) => patch_stats::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Tokens(args) => tokens::run(&args),
        Command::Ablation(args) => ablation::run(&args),
        Command::DetectorEval(args) => detector_eval::run(&args),
        Command::Significance(args) => significance::run(&args),
        Command::MultiSeed(args) => multi_seed::run(&args),
        Command::Calibration(args) => calibration::run(&args),
        Command::CrossVersion(args) => calibration::cross_version(&args),
        Command::Throughput(args) => throughput::run(&args),
        Command::Baselines(args) => baselines::run(&args),
        Command::Fairness(args) => fairness::run(&args),
        Command::ProbeReport(args) => probe_report::run(&args),
        Command::Risk(args) => risk::run(&args),
        Command::Schedule(args) => schedule::schedule(&args),
        Command::Compare(args) => schedule::compare(&args),
        Command::Sweep(args) => schedule::sweep(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Queue(args) => queue::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Parity(args) => parity::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Fingerprint(args) => fingerprint::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Completions { shell } => {
            completions::print(Cli::command(), shell).context("cannot print the completions")?;
            Ok(Exit::Fine)
        }
    }
}
