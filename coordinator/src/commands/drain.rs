//! `coordinator drain`: sends a worker home.

use std::time::Duration;

use cli_support::{Exit, output};
use domain::ids::WorkerName;

use super::block_on;
use crate::client::Client;

/// Between two looks at a worker that is ending.
const LOOK: Duration = Duration::from_millis(200);

/// Tells a worker to finish what has begun, hand back the rest and end; it ends with exit code 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which worker, as `status` names it
    #[arg(value_name = "WORKER")]
    worker: WorkerName,
    /// Address of the coordinator
    #[arg(long, value_name = "URL")]
    to: String,
    /// Return once the worker has gone
    #[arg(long)]
    wait: bool,
}

/// Tells the worker.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = Client::new(&args.to)?;
        let status = client.drain_worker(&args.worker).await?;
        output::say(&format!("worker {} ends; it holds {} shards", status.worker, status.leased));
        while args.wait && client.workers().await?.iter().any(|known| known.worker == args.worker) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(Exit::Fine)
    })
}
