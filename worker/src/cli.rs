//! The command line of `worker`: reads it, hands over to one of [`commands`], prints a failure once.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use console::telemetry::Logs;
use console::traces::Traces;
use console::{Exit, failure};

use crate::commands;

/// Finds, repairs and judges Kubernetes manifests; alone on files, or as a member of a fleet.
#[derive(Debug, Parser)]
#[command(name = "worker", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    traces: Traces,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find violations of the policies in manifests
    Detect(commands::detect::Args),
    /// Propose a patch for every violation
    Propose(commands::propose::Args),
    /// Judge patches by the gates
    Verify(commands::verify::Args),
    /// Repair files: shows a diff, or writes it with --write
    Fix(commands::fix::Args),
    /// Serve a coordinator: lease shards, process them, hand in the results
    Serve(commands::serve::Args),
    /// Simulate a provider of models, with limits, latency and faults
    MockLlm(commands::mock_llm::Args),
    /// Print the completion script for a shell
    Completions(commands::completions::Args),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    failure::finish("worker", run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let ours = ["worker", "engine", "llm", "dataset"];
    let _exporting = cli.logs.start_traced(&ours, &cli.traces, "worker")?;
    match cli.command {
        Command::Detect(args) => commands::detect::run(&args),
        Command::Propose(args) => commands::propose::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Fix(args) => commands::fix::run(&args),
        Command::Serve(args) => commands::serve::run(args),
        Command::MockLlm(args) => commands::mock_llm::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
    }
}
