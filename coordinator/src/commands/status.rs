//! `coordinator status`: shows runs and workers.

use std::collections::BTreeMap;
use std::time::Duration;

use cli_support::output::Align;
use cli_support::{Exit, Format, Table, output};
use domain::ids::RunId;
use proto::channel::Access;
use proto::convert::{LlmStatus, RunStatus, WorkerStatus};
use serde_json::{Value, json};

use super::{block_on, follow::follow};
use crate::client::{Client, Patience};
use crate::view::{judge_line, status_table};

/// Interval between two frames of the live view.
const FRAME: Duration = Duration::from_millis(500);

/// Shows all runs of a coordinator, or one.
///
/// With --watch it shows them until they have ended: a live table on a terminal, elsewhere a line for each change (with
/// --output json a JSON object a line). A coordinator that is away meanwhile is waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this run only
    #[arg(value_name = "RUN")]
    run_id: Option<RunId>,
    /// Address of the coordinator; several, separated by commas, are tried in turn until one answers
    #[arg(long = "coordinator", aliases = ["to", "from"], value_name = "URL")]
    coordinator: String,
    #[command(flatten)]
    access: Access,
    /// Follow until every run shown has ended
    #[arg(long)]
    watch: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the states.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = Client::at(&args.coordinator, &args.access).await?;
        let terminal = output::stdout_width().is_some();
        match (&args.run_id, args.watch, args.output) {
            (_, true, Format::Text) if terminal => watch(args, &mut client).await,
            (_, true, Format::Json) => lines(args, &mut client).await,
            (Some(run_id), true, _) => {
                let ended = follow(&mut client, run_id, quiet).await?;
                show(args, &[ended], None)
            }
            (None, true, _) => {
                let mut patience = Patience::default();
                loop {
                    let runs = query(args, &mut client).await;
                    if let Some(runs) = patience.take(runs).await?
                        && runs.iter().all(|run| run.state.has_ended())
                    {
                        return show(args, &runs, None);
                    }
                    tokio::time::sleep(FRAME).await;
                }
            }
            (_, false, _) => show(args, &query(args, &mut client).await?, Some(&client.workers().await?)),
        }
    })?;
    Ok(Exit::Fine)
}

async fn query(args: &Args, client: &mut Client) -> anyhow::Result<Vec<RunStatus>> {
    Ok(match &args.run_id {
        None => client.list().await?,
        Some(run_id) => vec![client.status(run_id).await?],
    })
}

/// `workers`: those that are connected; `None`: the runs have ended, and nothing is said of workers.
fn show(args: &Args, runs: &[RunStatus], workers: Option<&[WorkerStatus]>) -> anyhow::Result<()> {
    let width = output::stdout_width();
    output::print(&match (args.output, workers) {
        (Format::Text, None) => status_table::runs(runs, width),
        (Format::Text, Some(workers)) => status_table::render(runs, workers, width),
        (Format::Csv, _) => table(runs).csv(),
        (Format::Json, _) => output::json(&runs.iter().map(value).collect()),
    })?;
    Ok(())
}

/// The live view, redrawn in place until every run has ended or the command is interrupted.
async fn watch(args: &Args, client: &mut Client) -> anyhow::Result<()> {
    let (mut drawn, mut patience) = (0, Patience::default());
    loop {
        let Some((runs, workers)) = patience.take(everything(args, client).await).await? else {
            // What was said of it stands below the table.
            drawn = 0;
            continue;
        };
        let view = status_table::render(&runs, &workers, output::stdout_width());
        output::redraw(drawn, &view)?;
        drawn = view.lines().count();
        if !runs.is_empty() && runs.iter().all(|run| run.state.has_ended()) {
            return Ok(());
        }
        tokio::time::sleep(FRAME).await;
    }
}

async fn everything(args: &Args, client: &mut Client) -> anyhow::Result<(Vec<RunStatus>, Vec<WorkerStatus>)> {
    Ok((query(args, client).await?, client.workers().await?))
}

/// A JSON object for each run that changed, a line each, until every run has ended.
async fn lines(args: &Args, client: &mut Client) -> anyhow::Result<()> {
    let (mut printed, mut patience) = (BTreeMap::<RunId, Value>::new(), Patience::default());
    loop {
        let Some(runs) = patience.take(query(args, client).await).await? else { continue };
        for run in &runs {
            let now = value(run);
            if printed.get(&run.run_id) != Some(&now) {
                output::print(&output::json_line(&now))?;
                printed.insert(run.run_id.clone(), now);
            }
        }
        if runs.iter().all(|run| run.state.has_ended()) {
            return Ok(());
        }
        tokio::time::sleep(FRAME).await;
    }
}

fn table(runs: &[RunStatus]) -> Table {
    let right = Align::Right;
    let mut table = Table::new([
        ("run", Align::Left),
        ("state", Align::Left),
        ("records", right),
        ("done", right),
        ("accepted", right),
        ("rejected", right),
        ("review", right),
        ("errors", right),
        ("shards", right),
        ("leased", right),
        ("trouble", Align::Left),
    ]);
    for run in runs {
        table.push([
            run.run_id.to_string(),
            run.state.as_str().to_owned(),
            run.records.to_string(),
            run.tally.records.to_string(),
            run.tally.accepted.to_string(),
            run.tally.rejected.to_string(),
            run.tally.needs_review.to_string(),
            run.tally.errors.to_string(),
            format!("{}/{}", run.committed, run.shards),
            run.leased.to_string(),
            run.trouble.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn model(model: &LlmStatus) -> Value {
    json!({
        "calls": model.calls,
        "failed": model.failed,
        "throttled": model.throttled,
        "reused": model.reused,
        "waiting": model.waiting,
        "under_way": model.under_way,
        "calls_per_min": model.calls_per_min,
        "limit_per_min": model.limit_per_min,
        "limit_learnt": model.limit_learnt,
        "prompt_tokens": model.usage.prompt,
        "completion_tokens": model.usage.completion,
        "reasoning_tokens": model.usage.reasoning,
        "cached_tokens": model.usage.cached,
        "total_tokens": model.usage.total,
        "estimated_tokens": model.usage.estimated,
        "cost_usd": model.whole_cost_usd(),
        "paused_until_ms": model.paused_until_ms,
        "waits_for": model.waits_for,
        "failures": model
            .failures
            .iter()
            .map(|(reason, count)| json!({"reason": reason, "calls": count}))
            .collect::<Vec<_>>(),
    })
}

fn value(run: &RunStatus) -> Value {
    json!({
        "run_id": run.run_id.as_str(),
        "state": run.state.as_str(),
        "records": run.records,
        "done": run.tally.records,
        "accepted": run.tally.accepted,
        "rejected": run.tally.rejected,
        "needs_review": run.tally.needs_review,
        "not_applicable": run.tally.not_applicable,
        "errors": run.tally.errors,
        "shards": run.shards,
        "committed": run.committed,
        "leased": run.leased,
        "waiting": status_table::waiting(run),
        "records_per_s": run.records_per_s,
        "seconds_left": status_table::seconds_left(run),
        "workers": run.workers,
        "created_at_ms": run.created_at_ms,
        "path": run.results,
        "fingerprint": run.fingerprint,
        "corpus_hash": run.corpus_hash.to_string(),
        "config_hash": run.config_hash.to_string(),
        "trouble": run.trouble,
        "model": run.model.as_ref().map(model),
        "judge": judge_line::json(run),
    })
}
