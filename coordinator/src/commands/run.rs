//! `coordinator run`: coordinator, workers and client in one process, over real gRPC in pipes that nothing outside can reach.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::ValueEnum;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::usage::Usage;
use cli_support::{Exit, descriptors, output};
use domain::config::RunConfig;
use domain::ids::RunId;
use domain::run::RunState;
use llm::settings::Settings;
use proto::convert::RunStatus;
use tokio::sync::oneshot;

use results::store::Store;

use super::models::by_batches::ByBatches;
use super::{block_on, follow::follow_own, open_results, run_id::fresh};
use crate::client::{Client, Request};
use crate::embedded::{
    CorpusArgs, Machine, ServerArgs, ServerJudge, Workers, connect_server, open_scanners, programs, reader,
};
use crate::ledger::state_folder::{RUN_STATE, StateFolder};
use crate::ledger::{Ledger as _, RunEntry, RunResources};
use crate::llm_gateway::response_cache::{ANSWERS_FILE, ResponseCache};
use crate::run::run_folder::{Maker, check_free};
use crate::run::{Coordinator, OwnerDeadline, Parts, Recovery, Standstill};
use crate::server::{self, Endpoints};
use crate::settings::{ConfigArgs, checked, end_of_model};
use crate::view::llm_line;
use crate::view::summary::{Summary, used};

/// Reads a corpus, has it processed by workers in this process, and writes Parquet and run.json to `<OUT>/<RUN_ID>`.
///
/// Killed or interrupted, the same command with the same --run-id goes on where it stopped. Data goes to stdout, messages
/// to stderr. Ctrl-C (or SIGTERM) finishes the records that have begun and releases the rest; a second one stops at once.
/// Exit code 0: the run finished, whatever became of its records; 2: it failed or stopped, or a model was asked and gave no
/// answer at all; 130: it was interrupted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) corpus: CorpusArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Workers [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Folder or object-store URL for the results
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: String,
    /// File of cached answers of models and API servers, shared by all runs [default: .answers.sqlite in the folder of the results]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Name of the run; an unfinished run of that name is resumed [default: a new one]
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Asks a finished run again, for the records that have no answer
    #[arg(long, value_enum, value_name = "WHAT", requires = "run_id")]
    retry: Option<Retry>,
    /// How to print the closing summary
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[cfg(debug_assertions)]
    #[command(flatten)]
    crash: super::crash::CrashArgs,
}

/// What a finished run is asked again for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Retry {
    /// Records that ended in an error, or to which a model gave no answer.
    Errors,
}

/// How a closing summary is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Readable text.
    #[default]
    Text,
    /// One line of JSON.
    Json,
}

/// Runs the corpus, once for each release that is named.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    #[cfg(debug_assertions)]
    args.crash.arm();
    let run_id = args.run_id.clone().map_or_else(fresh, Ok)?;
    let [_, _, ..] = args.config.kubernetes.as_slice() else {
        return run_one(args, &run_id, quiet);
    };
    let (mut made, mut command) = (Vec::new(), "diff");
    for release in &args.config.kubernetes {
        let run_id: RunId =
            format!("{run_id}-{release}").parse().context("the run's name gets its release")?;
        output::say(&format!("Kubernetes {release}: run {run_id}"));
        let config = ConfigArgs { kubernetes: vec![*release], ..args.config.clone() };
        if config.load()?.run.verifier.depth.needs_server() {
            command = "cross-version";
        }
        run_one(&Args { config, ..args.clone() }, &run_id, quiet)?;
        made.push(format!("{}/{run_id}", args.out.trim_end_matches('/')));
    }
    if command == "diff" {
        // It compares two: the oldest and the newest release say most.
        made.drain(1..made.len() - 1);
    }
    output::say(&format!("compare them: analysis {command} {}", made.join(" ")));
    Ok(Exit::Fine)
}

/// Runs the corpus.
fn run_one(args: &Args, run_id: &RunId, quiet: bool) -> anyhow::Result<Exit> {
    let resolved = args.config.resolve()?;
    let settings = checked(&resolved)?;
    if let Some(end) = end_of_model(&resolved)?.filter(|_| !quiet) {
        output::say(&end);
    }
    let workers = args.workers.map_or(2, |workers| workers.get() as u64);
    // Each worker's connection, and the calls in flight.
    let calls = settings.run.model().and(settings.run.limits.concurrency.known()).unwrap_or(0);
    descriptors::ensure(descriptors::FILES + 2 * workers + calls)?;
    let summary = block_on(run_here(args, settings, run_id, quiet))?;
    match args.output {
        Output::Text => output::print(&summary.text())?,
        Output::Json => output::print(&output::json_line(&summary.json()))?,
    }
    if summary.is_unanswered() {
        let unanswered: anyhow::Result<Exit> =
            Err(anyhow::anyhow!("run {run_id} has finished, and none of its calls was answered"));
        return unanswered.hint(format!(
            "once the cause is mended, the same command with --run-id {run_id} --retry errors asks again for these records"
        ));
    }
    Ok(Exit::Fine)
}

async fn run_here(args: &Args, settings: Settings, run_id: &RunId, quiet: bool) -> anyhow::Result<Summary> {
    let (begun, usage) = (Instant::now(), Usage::of_this_process());
    let mut interrupts = Interrupts::listen()?;
    let (config, machine) = open_machine(args, settings, &mut interrupts).await?;
    let store = open_results(&args.out).await?;
    let state_path = state_path(&store, run_id);
    if !state_path.exists() {
        // Before the state folder is made in it.
        check_free(&store.folder(run_id.as_str())?, run_id, Maker::Coordinator, None).await?;
    }
    let state = StateFolder::open(&state_path)?;
    let had_answers = answers_path(args, &store, &config).is_none_or(|path| path.exists());
    let answers = Arc::new(open_answers(args, &store, &config)?);
    let ledger = Arc::new(state.ledger()?);
    let mut before = ledger.run(run_id).await?;
    if !before.as_ref().is_some_and(is_over) {
        let by_batches =
            ByBatches { corpus: &args.corpus, run_id, config: &config, providers: &machine.providers, quiet };
        by_batches.deliver(&answers, answers_path(args, &store, &config), &mut interrupts).await?;
    }
    let coordinator = Coordinator::open(Parts {
        ledger,
        store,
        scratch: state.join(""),
        // Workers of an earlier process ended with it.
        recovery: Recovery::Forfeit,
        owner: OwnerDeadline::unlimited(),
    })
    .await?;
    if args.retry.is_some() {
        retry(&coordinator, run_id, had_answers).await?;
        before = coordinator.ledger.run(run_id).await?;
    }
    let (endpoints, address) = Endpoints::of_this_process()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server::run(endpoints, Arc::clone(&coordinator), answers, async move {
        // A dropped sender is a stop request, too.
        let _ = stopped.await;
    }));
    let end = |workers: Workers| async move {
        workers.drain().await;
        drop(stop);
        anyhow::Ok(server.await??)
    };
    let (mut workers, mut client) = (Workers::none(), Client::new(address.clone()));
    let request = Request { run_id: run_id.clone(), config: config.clone(), source: args.corpus.name() };
    let mut processing = Box::pin(async {
        let (status, existed, intake) = client.submit(request, reader(&args.corpus, &config)).await?;
        if existed && !quiet {
            output::say(&resumed(run_id, &status));
        }
        // Not before: a run that goes on goes on with the configuration that was just submitted.
        workers.start(&address, worker_count(args.workers), &machine)?;
        let status = workers.while_working(follow_own(&mut client, run_id, quiet)).await?;
        anyhow::Ok((status, intake))
    });
    let mut stalled = false;
    let ended = tokio::select! {
        ended = &mut processing => ended,
        standstill = coordinator.wait_for_standstill(run_id) => {
            stalled = matches!(standstill, Standstill::Stalled(_));
            Err(stopped_by(run_id, standstill))
        }
        () = interrupts.next() => {
            output::say("finishing the records that have begun; Ctrl-C again stops at once");
            Err(Interrupted).hint(format!("the same command with --run-id {run_id} goes on where it stopped"))
        }
    };
    let wall = begun.elapsed();
    // Ends a submission that is still under way.
    drop(processing);
    let orderly = tokio::select! {
        // Without store or ledger the workers cannot commit what they finish.
        orderly = end(workers), if !stalled => orderly,
        () = std::future::ready(()), if stalled => Ok(()),
        () = interrupts.next() => Ok(()),
    };
    if ended.is_err() {
        say_calls(&coordinator, run_id).await;
        state.discard_unused(&*coordinator.ledger).await;
    }
    let (status, intake) = ended?;
    orderly?;
    let own = RunResources::of_process(wall, Usage::since(usage));
    Ok(Summary { status, documents: intake.documents, used: used(before.as_ref(), own) })
}

/// Whether no question of a run will be asked any more.
fn is_over(run: &RunEntry) -> bool {
    run.state.has_ended() || run.state == RunState::Finishing
}

/// The configuration of the run, and what its workers may use.
async fn open_machine(
    args: &Args,
    settings: Settings,
    interrupts: &mut Interrupts,
) -> anyhow::Result<(RunConfig, Machine)> {
    let programs = programs::open_for(&settings, &settings.run)?;
    let Settings { run: config, providers, scanners, .. } = settings;
    let scanners = open_scanners(&config, scanners).await?;
    let server = api_server(args, &config, interrupts).await?;
    Ok((config, Machine { providers, programs, server, scanners }))
}

/// The API server of a run that needs one.
async fn api_server(
    args: &Args,
    config: &RunConfig,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Option<Arc<ServerJudge>>> {
    let server = match args.config.kubernetes.as_slice() {
        [release] => args.server.of_release(*release)?,
        _ => args.server.clone(),
    };
    tokio::select! {
        connected = connect_server(&server, &args.corpus, config) => connected,
        () = interrupts.next() => Err(Interrupted).hint("the run was not begun"),
    }
}

/// How many workers there are where so many were asked for; by default one a core.
pub(super) fn worker_count(workers: Option<NonZeroUsize>) -> NonZeroUsize {
    workers.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Makes a finished run ask again for its records without an answer.
async fn retry(coordinator: &Arc<Coordinator>, run_id: &RunId, had_answers: bool) -> anyhow::Result<()> {
    if !had_answers {
        let missing: anyhow::Result<()> =
            Err(anyhow::anyhow!("the file of cached answers of run {run_id} is missing"));
        return missing.hint(
            "without it, records beside those without an answer would be asked and paid for again: name it by --answers, or \
             repeat the run under another --run-id",
        );
    }
    let records = coordinator.retry_errors(run_id).await?;
    output::say(&match records {
        0 => format!("run {run_id} has no finished record without an answer: there is nothing to ask again"),
        _ => format!("run {run_id}: {records} records without an answer are asked again"),
    });
    Ok(())
}

/// Says how many calls a run has made that did not finish, and why some gave no answer.
async fn say_calls(coordinator: &Coordinator, run_id: &RunId) {
    let Ok(status) = coordinator.status(run_id).await else { return };
    let calls = status.model.as_ref().map_or(0, |model| model.calls);
    if calls > 0
        && let Some(line) = llm_line::totals(&status)
    {
        output::say(&format!("  {line}"));
        let failures = llm_line::failures(&status);
        if !failures.is_empty() {
            output::say(failures.trim_end());
        }
    }
}

/// Message on a run that existed before.
fn resumed(run_id: &RunId, status: &RunStatus) -> String {
    match status.state {
        RunState::Finished => format!("run {run_id} was finished before; this is its summary"),
        RunState::Cancelled | RunState::Removing => {
            format!("run {run_id} was cancelled before; this is its summary")
        }
        _ => format!("run {run_id} goes on: {} of {} records are done", status.tally.records, status.records),
    }
}

/// The error for a run that is stalled or halted.
fn stopped_by(run_id: &RunId, standstill: Standstill) -> anyhow::Error {
    let (Standstill::Stalled(why) | Standstill::Halted(why)) = standstill;
    let stopped: anyhow::Result<Infallible> = Err(anyhow::anyhow!("run {run_id} stopped: {why}"));
    let hint =
        format!("nothing is lost: once that is repaired, the same command with --run-id {run_id} goes on");
    let Err(error) = stopped.hint(hint);
    error
}

/// Opens the response cache beside the results, so that all runs there share it. A run without an LLM proposer and an API
/// server leaves no file.
fn open_answers(args: &Args, store: &Store, config: &RunConfig) -> anyhow::Result<ResponseCache> {
    Ok(match answers_path(args, store, config) {
        Some(path) => ResponseCache::open(&path)?.with_workers_of_this_process(),
        None => ResponseCache::in_memory()?,
    })
}

/// File of the response cache; `None` where there is none.
fn answers_path(args: &Args, store: &Store, config: &RunConfig) -> Option<PathBuf> {
    // Verdicts of API servers are in the same file.
    let needed = config.model().is_some() || config.verifier.depth.needs_server();
    if args.answers.is_some() || !needed {
        return args.answers.clone();
    }
    let beside = format!(".{ANSWERS_FILE}");
    Some(store.local_path(&beside).unwrap_or_else(|| Path::new(".k8s-auto-fix").join(ANSWERS_FILE)))
}

/// Folder of a run's ledger: beside its results, or in the working directory where these go to an object store.
fn state_path(store: &Store, run_id: &RunId) -> PathBuf {
    let hidden = format!("{run_id}/{RUN_STATE}");
    store.local_path(&hidden).unwrap_or_else(|| Path::new(".k8s-auto-fix").join(run_id.as_str()))
}
