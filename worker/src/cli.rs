//! The command line of `worker`: parses it, runs one of the [`commands`], prints a failure once.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use cli_support::telemetry::Logs;
use cli_support::traces::Traces;
use cli_support::version::Version;
use cli_support::{Exit, failure, private};

use crate::commands;

/// Detects violations in Kubernetes manifests, repairs and verifies them: on files, or as a worker of a fleet.
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
    ///
    /// Exit code 0: everything was read, and no violation found. 1: violations. 2: the command failed, or something could not be
    /// read or parsed (see --ignore-unreadable).
    Detect(commands::detect::Args),
    /// Propose a patch for every violation
    Propose(commands::propose::Args),
    /// Verify patches by the gates
    Verify(commands::verify::Args),
    /// Repair files: shows a diff, or writes it with --write
    ///
    /// Exit code 0: everything was read, and no violation is left. 1: violations are left, or repairs are to be written. 2: the
    /// command failed, or something could not be read, parsed (see --ignore-unreadable) or written.
    Fix(commands::fix::Args),
    /// Work for a coordinator: lease shards, process them, commit the results
    ///
    /// A run names a provider (grok, vendor, vllm) and its model. Where that provider is called, and with which key, is
    /// the setting of this worker: the keys `grok.endpoint`, `grok.api_key_env`, `grok.auth_header` and
    /// `grok.auth_scheme` (the same for vendor and vllm) of --config, the environment and --set. A key goes over https
    /// to its own host, or to this machine.
    ///
    /// A run may name a program instead: what it is are the keys `programs.NAME` of --config.
    Serve(commands::serve::Args),
    /// Simulate an LLM provider, with limits, latency and faults
    ///
    /// Serves POST /v1/chat/completions, GET /v1/models, GET /stats (JSON) and POST /limits (changes the limits while
    /// it runs: `{"rpm": 480, "tpm": 100000, "max_in_flight": 8, "burst": 30, "window_seconds": 60}`; a limit that is
    /// left out is unlimited). A call beyond a limit gets a real 429 with Retry-After and x-ratelimit-* headers. The
    /// answer, latency and fault of a call depend on the seed, the prompt and how often it was sent, not on the order
    /// of calls.
    ///
    /// With --corpus or --replay it builds the prompt of every record as a run does, and answers each with the patch
    /// of the rules, or with the recorded patch of a model for that record. Answers are found by the hash of the
    /// prompt: give the same --config and --set as to the runs that will call it. Any other prompt gets an empty
    /// patch and counts as `unknown` in /stats. Without both every prompt gets an empty patch, which is enough for a
    /// probe. Values that are masked in the prompt stay masked in the answer.
    ///
    /// Ctrl-C ends it and prints its statistics. Needs no key and no network; `configs/mock.yaml` points a run at it.
    MockLlm(commands::mock_llm::Args),
    /// Serve detect, propose, verify and explain to assistants and editors (MCP)
    ///
    /// Speaks the Model Context Protocol on standard input and output until the input ends; logs go to stderr. The tools read only: a client
    /// names manifests as text or by paths below --root, is given patches that passed every gate, and applies them itself.
    /// Values of secrets in files are masked. No file is written, no program is started, no network is reached.
    Mcp(commands::mcp::Args),
    /// List the policies
    Policies(commands::policies::ListArgs),
    /// Say what a policy checks, why, and how it is repaired
    Explain(commands::policies::ExplainArgs),
    /// Print the completion script for a shell
    Completions(commands::completions::Args),
}

/// Runs the command that the process was started with. `commit` is what the program was built from.
pub fn main(commit: Option<&str>) -> ExitCode {
    private::create_for_owner_alone();
    // A control plane, and a program that proposes, are supervised by this program, started anew.
    if let Some(code) = crate::server_judge::supervise() {
        return code;
    }
    let formats: [(&str, &dyn std::fmt::Display); 2] =
        [("protocol", &proto::PROTOCOL_VERSION), ("results format", &results::schema::FORMAT_VERSION)];
    let cli = Version { commit, formats: &formats }.parse();
    failure::finish("worker", run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let ours = ["worker", "api_server", "engine", "llm", "mock_llm", "proposers", "results"];
    let _exporting = cli.logs.start_traced(&ours, &cli.traces, "worker")?;
    match cli.command {
        Command::Detect(args) => commands::detect::run(&args),
        Command::Propose(args) => commands::propose::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Fix(args) => commands::fix::run(&args),
        Command::Serve(args) => commands::serve::run(args),
        Command::MockLlm(args) => commands::mock_llm::run(&args),
        Command::Mcp(args) => commands::mcp::run(&args),
        Command::Policies(args) => commands::policies::list(&args),
        Command::Explain(args) => commands::policies::explain(&args),
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
    }
}
