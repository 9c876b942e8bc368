//! `coordinator drain`: drains a worker.

use std::time::Duration;

use cli_support::{Exit, output};
use domain::ids::WorkerName;
use proto::channel::Access;

use super::block_on;
use crate::client::Client;

/// Interval of polling a worker that is draining.
const POLL: Duration = Duration::from_millis(200);

/// Drains a worker: it finishes the records that have begun, releases the rest and ends with exit code 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the worker, as `status` shows it
    #[arg(value_name = "WORKER")]
    worker: WorkerName,
    /// Address of the coordinator; several, separated by commas, are tried in turn until one answers
    #[arg(long = "coordinator", aliases = ["to", "from"], value_name = "URL")]
    coordinator: String,
    #[command(flatten)]
    access: Access,
    /// Return once the worker has ended
    #[arg(long)]
    wait: bool,
}

/// Drains the worker.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = Client::at(&args.coordinator, &args.access).await?;
        let status = client.drain_worker(&args.worker).await?;
        output::say(&format!(
            "worker {} is draining; it holds {} shard{}",
            status.worker,
            status.leased,
            if status.leased == 1 { "" } else { "s" }
        ));
        while args.wait && client.workers().await?.iter().any(|known| known.worker == args.worker) {
            tokio::time::sleep(POLL).await;
        }
        Ok(Exit::Fine)
    })
}
