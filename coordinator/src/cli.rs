//! Command line of `coordinator`: parses arguments, runs the command, prints a failure once.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use cli_support::telemetry::Logs;
use cli_support::traces::Traces;
use cli_support::version::Version;
use cli_support::{Exit, failure, private};

use crate::commands;
use crate::ledger::{PostgresLedger, SqliteLedger};
use crate::llm_gateway::response_cache::ResponseCache;

/// Runs a corpus of Kubernetes misconfigurations through workers and commits each result exactly once.
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
    /// Reads the corpus, has it processed by workers in this process, and writes Parquet and run.json to `OUT/RUN_ID`.
    /// Killed or interrupted, the same command with the same --run-id goes on where it stopped. Data goes to stdout,
    /// messages to stderr. Ctrl-C (or SIGTERM) finishes the records that have begun and releases the rest; a second one
    /// stops at once. Exit code 0: the run finished, whatever became of its records; 2: it failed; 130: interrupted.
    Run(commands::run::Args),
    /// Serve workers and clients until it is interrupted
    ///
    /// Workers connect by `worker serve`, clients by `submit`, `status` and `cancel`. All durable state lies in --state, but
    /// for the ledger where --ledger names a PostgreSQL server: started again with the same arguments, whatever ended it, it
    /// goes on with all unfinished runs.
    Serve(commands::serve::Args),
    /// Send a corpus to a coordinator that serves
    ///
    /// Reads the corpus here and returns once the run is planned; with --wait, once it has ended. Where a provider is called
    /// and with which key (`grok.endpoint`, `grok.api_key_env` …) is the setting of each worker, and is not sent.
    Submit(commands::submit::Args),
    /// Show runs of a coordinator that serves
    Status(commands::status::Args),
    /// Stop a run; what was committed stays
    Cancel(commands::cancel::Args),
    /// List runs, and remove runs that have ended
    Runs(commands::runs::Args),
    /// Inspect, export, import and prune cached answers of models
    Answers(commands::answers::Args),
    /// List and cancel batches at providers
    Batches(commands::models::batches::Args),
    /// Examine a run where it lies
    ///
    /// Checks the ledger, run.json, every part's length and hash, every row's place, the corpus, and unreferenced files.
    /// With --ledger also that the PostgreSQL server cannot forget what it acknowledges. Works on finished runs without a
    /// ledger, and only reads, also while a coordinator works there. Exit code 0: all is as it should be; 1: something is
    /// wrong; 2: it could not be examined.
    Doctor(commands::doctor::Args),
    /// Drain a worker: let it finish its work and end
    ///
    /// It finishes the records that have begun, releases the rest and ends with exit code 0. `worker serve` does the same on
    /// Ctrl-C or SIGTERM, and ends with exit code 130.
    Drain(commands::drain::Args),
    /// Estimate what a model will cost before anything is spent
    ///
    /// Reads the corpus, builds every prompt that would be sent, and counts calls, tokens, US dollars and time.
    Estimate(commands::models::estimate::Args),
    /// Measure the rate limits and the latency of a provider of models
    ///
    /// Without --find: steps of so many calls in flight; for each latency (of single calls, no wait and no retry in it),
    /// throughput, tokens, statuses and the time to the first 429, and the knee: where more calls in flight only make answers
    /// slower. A step with more than a fifth of its calls refused is the last one.
    ///
    /// With --find: the limits on calls a minute, tokens a minute and calls in flight, with 95 % confidence intervals. A few
    /// calls alone, then twice as many a minute until some are refused; then a quarter above the limit until it is known
    /// within a few per cent; then the same with longer and longer prompts. It exceeds the limit on purpose; Retry-After is
    /// obeyed. Limits that the provider advertises (x-ratelimit-*) are shown, but not relied on. Allow some minutes for a
    /// limit of 60 calls a minute, and one for a limit of thousands.
    ///
    /// The prompts are a sentence each and ask for the word OK; --find ends with some of up to 8,000 tokens. The key comes
    /// from the environment variable that the configuration names. Whatever bound is reached first ends the probe, and so
    /// does Ctrl-C (a second one does not wait for calls in flight): what was measured is written either way. Exit code 0:
    /// done, or a bound was reached; 2: it failed (a wrong key ends it at once); 130: interrupted.
    Probe(commands::models::probe::Args),
    /// Write a synthetic corpus of any size
    Synth(commands::synth::Args),
    /// Make a finished run of published JSON files
    ///
    /// Each file may be plain or .gz. Rows follow the detections; patches and verdicts are joined by id. `analysis`
    /// treats the result like any other run.
    Import(commands::import::Args),
    /// Write a finished run as one archive that others can replay
    ///
    /// It holds documents, configuration, versions, recorded answers of the model and verdicts of the API server, outcomes and
    /// their fingerprint. The run is repeated from what was recorded before anything is written, so that what it used is
    /// known and the archive is known to replay. Give the configuration (--config, --set) that the run was given: the key
    /// of an answer depends on the URL that was called, and without it nothing is written. Exit code 0: written; 1:
    /// written, and its replay differs from the run as printed; 2: it failed.
    Bundle(commands::bundle::write::Args),
    /// Repeat the run of an archive without network, and compare the outcomes
    ///
    /// No model, API server or scanner is asked: answers and verdicts are those in the archive. Data goes to stdout,
    /// messages to stderr. Exit code 0: same fingerprint; 1: it differs, and the records and causes are printed; 2: it
    /// cannot be replayed.
    Replay(commands::bundle::replay::Args),
    /// Show the configuration in force
    Config(commands::config::Args),
    /// Print the completion script for a shell
    Completions(commands::completions::Args),
}

/// Runs the command that the process was started with. `commit` is what the program was built from.
pub fn main(commit: Option<&str>) -> ExitCode {
    private::create_for_owner_alone();
    let formats: [(&str, &dyn std::fmt::Display); 5] = [
        ("protocol", &proto::PROTOCOL_VERSION),
        ("results format", &results::schema::FORMAT_VERSION),
        ("ledger layout", &SqliteLedger::LAYOUT_VERSION),
        ("ledger layout in PostgreSQL", &PostgresLedger::LAYOUT_VERSION),
        ("layout of cached answers", &ResponseCache::LAYOUT_VERSION),
    ];
    let cli = Version { commit, formats: &formats }.parse();
    failure::finish("coordinator", run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let ours = ["coordinator", "worker", "engine", "llm", "results"];
    let _exporting = cli.logs.start_traced(&ours, &cli.traces, "coordinator")?;
    let quiet = cli.logs.quiet;
    match cli.command {
        Command::Run(args) => commands::run::run(&args, quiet),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Submit(args) => commands::submit::run(&args, quiet),
        Command::Status(args) => commands::status::run(&args, quiet),
        Command::Cancel(args) => commands::cancel::run(&args),
        Command::Runs(args) => commands::runs::run(&args),
        Command::Batches(args) => commands::models::batches::run(&args),
        Command::Answers(args) => commands::answers::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Drain(args) => commands::drain::run(&args),
        Command::Estimate(args) => commands::models::estimate::run(&args, quiet),
        Command::Probe(args) => commands::models::probe::run(&args, quiet),
        Command::Synth(args) => commands::synth::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Bundle(args) => commands::bundle::write::run(&args, quiet),
        Command::Replay(args) => commands::bundle::replay::run(&args, quiet),
        Command::Config(args) => commands::config::run(&args),
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
    }
}
