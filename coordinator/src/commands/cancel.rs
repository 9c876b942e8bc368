//! `coordinator cancel`.

use cli_support::{Exit, output};
use domain::ids::RunId;
use proto::channel::Access;

use super::block_on;
use crate::client::Client;

/// Stops a run. Workers drop its shards at their next heartbeat; what was committed stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the coordinator; several, separated by commas, are tried in turn until one answers
    #[arg(long = "coordinator", aliases = ["to", "from"], value_name = "URL")]
    coordinator: String,
    #[command(flatten)]
    access: Access,
    /// Id of the run
    #[arg(value_name = "RUN_ID")]
    run_id: RunId,
}

/// Stops the run.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let status =
        block_on(async { Client::at(&args.coordinator, &args.access).await?.cancel(&args.run_id).await })?;
    output::print(&format!(
        "run {} {}: {} of {} records are done, results in {}\n",
        status.run_id,
        status.state.as_str(),
        status.tally.records,
        status.records,
        status.results
    ))?;
    Ok(Exit::Fine)
}
