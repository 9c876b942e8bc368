//! `coordinator status`: where runs stand.

use console::output::Align;
use console::{Exit, Format, Table, output};
use domain::ids::RunId;
use proto::convert::RunStatus;
use serde_json::{Value, json};

use super::{block_on, follow::follow};
use crate::client::Client;

/// Shows all runs of a coordinator, or one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the coordinator
    #[arg(long, value_name = "URL")]
    from: String,
    /// One run only
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Follow the run to its end
    #[arg(long, requires = "run_id")]
    watch: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the states.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let runs = block_on(async {
        let mut client = Client::new(&args.from)?;
        Ok(match &args.run_id {
            None => client.list().await?,
            Some(run_id) if args.watch => vec![follow(&mut client, run_id, quiet).await?],
            Some(run_id) => vec![client.status(run_id).await?],
        })
    })?;
    output::print(&match args.output {
        Format::Text => table(&runs).text(output::stdout_width()),
        Format::Csv => table(&runs).csv(),
        Format::Json => output::json(&runs.iter().map(value).collect()),
    })?;
    Ok(Exit::Fine)
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
        "workers": run.workers,
        "created_at_ms": run.created_at_ms,
        "path": run.results,
        "fingerprint": run.fingerprint,
        "corpus_hash": run.corpus_hash.to_string(),
        "config_hash": run.config_hash.to_string(),
        "trouble": run.trouble,
    })
}
