//! The command line of `coordinator`: reads it, hands over to one of the commands, prints a failure once.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use console::telemetry::Logs;
use console::traces::Traces;
use console::{Exit, failure};

use crate::commands;

/// Runs a corpus of Kubernetes misconfigurations through workers and keeps what they find, exactly once.
///
/// `run` does everything in one process. `serve`, `submit`, `status` and `worker serve` spread it over machines.
#[derive(Debug, Parser)]
#[command(name = "coordinator", version, about, max_term_width = 100)]
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
    /// Run a corpus from end to end in this process
    ///
    /// Reads the corpus, has it processed by workers in this process, and leaves Parquet and run.json in `OUT/RUN_ID`.
    /// Killed or interrupted, the same command with the same --run-id goes on where it stopped. Data goes to stdout,
    /// talk to stderr. Ctrl-C (or SIGTERM) finishes the records that have begun and hands the rest back; a second one
    /// stops at once. Exit code 0: the run finished, whatever became of its records; 2: it failed; 130: interrupted.
    Run(commands::run::Args),
    /// Serve workers and clients until it is interrupted
    ///
    /// Workers come by `worker serve`, clients by `submit`, `status` and `cancel`. Everything that must not be forgotten
    /// lies in --state: started again with the same folder, whatever ended it, it goes on with all unfinished runs.
    Serve(commands::serve::Args),
    /// Send a corpus to a coordinator that serves
    ///
    /// Reads the corpus here and returns once the run is planned; with --wait, once it has ended.
    Submit(commands::submit::Args),
    /// Show runs of a coordinator that serves
    Status(commands::status::Args),
    /// Stop a run; what was committed stays
    Cancel(commands::cancel::Args),
    /// List what is kept, remove what nobody wants any more
    Runs(commands::runs::Args),
    /// Examine a run where it lies
    ///
    /// Looks at the ledger, run.json, every part's length and hash, every row's place, the corpus, and at what nobody names.
    /// Works on finished runs without a ledger, and only reads, also while a coordinator works there. Exit code 0: all is as
    /// it should be; 1: something is wrong; 2: it could not be examined.
    Doctor(commands::doctor::Args),
    /// Send a worker home
    ///
    /// It finishes what has begun, hands back the rest and ends with exit code 0. `worker serve` does the same on Ctrl-C or
    /// SIGTERM, and ends with exit code 130.
    Drain(commands::drain::Args),
    /// Write a synthetic corpus of any size
    Synth(commands::synth::Args),
    /// Make a finished run of published JSON files
    ///
    /// Each file may be plain or .gz. Rows follow the detections; patches and verdicts are joined by id. `analysis`
    /// treats the result like any other run.
    Import(commands::import::Args),
    /// Show the configuration in force
    Config(commands::config::Args),
    /// Print the completion script for a shell
    Completions(commands::completions::Args),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    failure::finish("coordinator", run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let ours = ["coordinator", "worker", "engine", "dataset"];
    let _exporting = cli.logs.start_traced(&ours, &cli.traces, "coordinator")?;
    let quiet = cli.logs.quiet;
    match cli.command {
        Command::Run(args) => commands::run::run(&args, quiet),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Submit(args) => commands::submit::run(&args, quiet),
        Command::Status(args) => commands::status::run(&args, quiet),
        Command::Cancel(args) => commands::cancel::run(&args),
        Command::Runs(args) => commands::runs::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Drain(args) => commands::drain::run(&args),
        Command::Synth(args) => commands::synth::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
    }
}
