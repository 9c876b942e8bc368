//! `coordinator submit`: sends a corpus to a coordinator that serves.

use std::time::Instant;

use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use domain::config::{Delivery, Documents};
use domain::ids::RunId;
use domain::run::RunState;
use proto::channel::Access;

use super::run::Output;
use super::{block_on, follow::follow, run_id::fresh};
use crate::client::{Client, Request};
use crate::embedded::{CorpusArgs, reader};
use crate::ledger::RunResources;
use crate::settings::{ConfigArgs, end_of_model, run_checked, unsent};
use crate::view::summary::Summary;

/// Reads a corpus here, sends it to a coordinator, and by default returns once the run is planned. Where a provider is called
/// and with which key (`grok.endpoint`, `grok.api_key_env` …) is the setting of each worker, and is not sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the coordinator; several, separated by commas, are tried in turn until one answers
    #[arg(long = "coordinator", aliases = ["to", "from"], value_name = "URL")]
    coordinator: String,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    corpus: CorpusArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the run; an unfinished run of that name is resumed [default: a new one]
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Follow the run to its end and print its summary
    #[arg(long)]
    wait: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Says how a submission that broke off goes on: the coordinator may have taken it in.
fn again<T>(error: anyhow::Error, run_id: &RunId) -> anyhow::Result<T> {
    if !crate::client::is_lost(&error) {
        return Err(error);
    }
    Err(error).hint(format!("submit the same corpus again with --run-id {run_id}: what was taken in goes on"))
}

/// Sends the corpus.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let resolved = args.config.resolve()?;
    let config = run_checked(&resolved)?.run;
    if let Some(end) = end_of_model(&resolved)?.filter(|_| !quiet) {
        output::say(&end);
    }
    if config.proposer.delivery == Delivery::Batch {
        let refused: anyhow::Result<Exit> = Err(anyhow::anyhow!(
            "proposer.delivery is batch: a coordinator that serves has no keys to submit batches with"
        ));
        return refused
            .hint("use `coordinator run`, whose answers later runs find, or set proposer.delivery to live");
    }
    if let Some(unsent) = unsent(&resolved).filter(|_| !quiet) {
        output::say(&unsent);
    }
    let run_id = args.run_id.clone().map_or_else(fresh, Ok)?;
    let begun = Instant::now();
    let (status, documents, existed) = block_on(async {
        let mut client = Client::at(&args.coordinator, &args.access).await?;
        let request = Request { run_id: run_id.clone(), config: config.clone(), source: args.corpus.name() };
        let submitted = client.submit(request, reader(&args.corpus, &config)).await;
        let (status, existed, intake) = submitted.or_else(|error| again(error, &run_id))?;
        if existed && !quiet {
            output::say(&format!("run {run_id} existed: it is {}", status.state.as_str()));
        }
        if matches!(status.state, RunState::Cancelled | RunState::Removing) {
            let refused: anyhow::Result<_> =
                Err(anyhow::anyhow!("run {run_id} was cancelled, and does not go on"));
            return refused.hint("submit the corpus under another --run-id");
        }
        let documents: Documents = intake.documents;
        let status = if args.wait { follow(&mut client, &run_id, quiet).await? } else { status };
        Ok((status, documents, existed))
    })?;
    // Of a run that others began, this command knows a part of the time alone.
    let used = if existed { RunResources::UNKNOWN } else { RunResources::of_process(begun.elapsed(), None) };
    let summary = Summary { status, documents, used };
    match args.output {
        Output::Json => output::print(&output::json_line(&summary.json()))?,
        Output::Text if args.wait => output::print(&summary.text())?,
        Output::Text => output::print(&format!(
            "run {run_id}: {} records in {} shard{}\nnext: coordinator status {run_id} --coordinator {} --watch\n",
            summary.status.records,
            summary.status.shards,
            if summary.status.shards == 1 { "" } else { "s" },
            args.coordinator
        ))?,
    }
    if args.wait && summary.is_unanswered() {
        anyhow::bail!("run {run_id} has finished, and none of its calls was answered");
    }
    Ok(Exit::Fine)
}
