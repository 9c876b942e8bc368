//! `worker serve`: a worker of a fleet.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, descriptors, output};
use domain::config::RunConfig;
use domain::ids::WorkerName;
use domain::scanner::Scanner;
use proto::channel::{Access, CoordinatorAddress};
use tokio::sync::watch;

use crate::commands::detect::{counted, scanner};
use crate::commands::settings::{Machine, Settings};
use crate::server_judge::{Definitions, ServerArgs, definitions};
use crate::session::{self, Options, Stage, Tool};

/// Leases shards from a coordinator, processes them and commits the results.
///
/// Needs the address of the coordinator, or of each of several with the same ledger, from another machine or user what proves its role, and the key of each provider that
/// runs name: no shared disk, no credentials of the store. A run names a provider (grok, vendor, vllm) and its model; where
/// that provider is called, and with which key, is the setting of this worker: the keys `grok.endpoint`,
/// `grok.api_key_env`, `grok.auth_header` and `grok.auth_scheme` (the same for vendor and vllm) of --config, of the
/// environment (`K8S_AUTO_FIX_<KEY>`, `__` for a dot) and of --set. A key is sent over https to the host that it is bound
/// to, or to this machine. A run may name a program as well (`proposer.mode: command`): what its name stands for are the keys
/// `programs.NAME` of --config, and a worker is leased shards of the programs that it has alone. Runs whose schema gate asks an
/// API server (`verifier.depth` server or both) go to workers with --kubeconfig or --control-plane alone, and runs that ask
/// scanners (`verifier.rescan`) to workers with --scanners. Ctrl-C (or SIGTERM)
/// finishes the records in progress, commits the shards that end within seconds, releases the other leases and ends
/// with exit code 130; a second one stops at once, and the leases expire. Drained by `coordinator drain`, the worker
/// does the same and ends with exit code 0. Exit code 2: the coordinator refuses it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the coordinator: <http://127.0.0.1:7070> (one of the same user), <https://host:7070> or
    /// `unix:PATH`; several, separated by commas, are tried in turn until one answers
    #[arg(long, value_name = "URL")]
    coordinator: String,
    #[command(flatten)]
    access: Access,
    /// Name of this worker in results and tables [default: the host's name]
    #[arg(long, value_name = "NAME")]
    name: Option<WorkerName>,
    /// Shards processed at the same time [default: one per core]
    #[arg(long, value_name = "N")]
    slots: Option<NonZeroUsize>,
    /// About how many records may wait for LLM calls at the same time; fewer do while the rate limits are low
    #[arg(long, value_name = "N", default_value_t = session::QUESTIONS)]
    questions: NonZeroUsize,
    #[command(flatten)]
    server: ServerArgs,
    /// Corpus (as `coordinator submit` takes it) whose custom resource definitions the server of --control-plane is given, so
    /// that it knows their kinds
    #[arg(long, value_name = "PATH", requires = "control_plane")]
    definitions: Option<PathBuf>,
    /// Scanners that runs may ask (`verifier.rescan`): kube-linter, kyverno, checkov (several with commas); where they are is set
    /// by the keys of `detector`
    #[arg(long, value_name = "SCANNER", value_delimiter = ',', value_parser = scanner)]
    scanners: Vec<Scanner>,
    #[command(flatten)]
    settings: Settings,
}

/// Serves until it is interrupted or refused.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    descriptors::ensure(descriptors::FILES)?;
    let slots = args.slots.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let name = args.name.unwrap_or_else(host_name);
    let Machine { providers, programs, scanners, unused } = args.settings.machine()?;
    if let Some(unused) = unused {
        output::say(&unused);
    }
    let coordinator = CoordinatorAddress::parse(&args.coordinator, &args.access)?;
    if coordinator.is_plain_text() {
        output::say(&proto::channel::plain_text_warning(&coordinator));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = if args.server.is_given() {
        let definitions = match args.definitions {
            Some(corpus) => definitions(&corpus::Source { corpus, manifests: None }, &RunConfig::default())?,
            None => Definitions::default(),
        };
        Some(Arc::new(runtime.block_on(args.server.connect(definitions.texts()))?))
    } else {
        None
    };
    let scanners = Tool::open_all(args.scanners, &scanners)?;
    let questions = args.questions;
    let options = Options { coordinator, name, slots, questions, providers, programs, server, scanners };
    let ended = runtime.block_on(serve(options));
    // After a second Ctrl-C, abandon the work in progress.
    runtime.shutdown_background();
    ended
}

async fn serve(options: Options) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    let scanners = options.scanners.iter().map(|tool| format!(", {} {}", tool.scanner(), tool.version()));
    let scanners: String = scanners.collect();
    output::say(&format!(
        "worker {} serves {} with {}{}{scanners}; Ctrl-C ends it",
        options.name,
        options.coordinator,
        counted(options.slots.get() as u64, "slot"),
        options
            .server
            .as_ref()
            .map(|server| format!(", API server {}", server.identity()))
            .unwrap_or_default()
    ));
    let (stage, stages) = watch::channel(Stage::Work);
    let session = tokio::spawn(session::serve(options, stages));
    tokio::pin!(session);
    tokio::select! {
        ended = &mut session => {
            let ended = ended?;
            let remedy = ended.as_ref().err().map(session::SessionError::remedy).unwrap_or_default();
            output::say(&sentence(ended.hint(remedy)?));
            return Ok(Exit::Fine);
        }
        () = interrupts.next() => {}
    }
    output::say("finishing the shards in progress; Ctrl-C again stops at once");
    stage.send_replace(Stage::Drain);
    tokio::select! {
        ended = &mut session => output::say(&sentence(ended??)),
        () = interrupts.next() => {}
    }
    Err(Interrupted)
        .hint("start it again to go on: its coordinator leases the remaining shards to any worker")
}

fn sentence(summary: session::Summary) -> String {
    format!(
        "{} shards committed, {} leases released, {} shards lost",
        summary.committed, summary.released, summary.lost
    )
}

/// The host's name, reduced to the characters of a valid worker name.
fn host_name() -> WorkerName {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    valid_name(&text)
}

/// `text` without the characters that a worker name cannot have; `worker` if none is left.
fn valid_name(text: &str) -> WorkerName {
    let valid: String =
        text.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let valid = valid.trim_start_matches(['.', '_', '-']);
    let cut: String = valid.chars().take(60).collect();
    WorkerName::new(cut).unwrap_or_else(|_| fallback_name())
}

fn fallback_name() -> WorkerName {
    #[expect(clippy::expect_used, reason = "a constant that is a valid name")]
    WorkerName::new("worker").expect("letters are valid")
}

#[cfg(test)]
mod tests {
    use super::valid_name;

    #[test]
    fn any_host_name_gives_a_valid_name() {
        for (host, name) in [
            ("node-7.example.org\n", "node-7.example.org"),
            ("-_.node 7/ä", "node7"),
            ("", "worker"),
            (" \n", "worker"),
            ("---", "worker"),
            ("äöü", "worker"),
        ] {
            assert_eq!(valid_name(host).as_str(), name, "{host:?}");
        }
        assert_eq!(valid_name(&"n".repeat(300)).as_str(), "n".repeat(60));
    }
}
