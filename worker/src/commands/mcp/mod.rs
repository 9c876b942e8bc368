//! `worker mcp`: the tools `detect`, `propose`, `verify` and `explain` for assistants and editors, over the Model Context
//! Protocol on standard input and output.
//!
//! *Never* writes a file, starts a program or reaches the network; nothing but the protocol goes to standard output.
//! *Invariant*: a call has bounds on what it reads and on its time, calls at the same time are bounded, and no path leads out of
//! the root.

mod bounds;
mod call;
mod detect;
mod explain;
mod input;
mod propose;
mod server;
mod tools;
mod verify;
mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use cli_support::Exit;
use domain::config::{GateProfile, RunConfig};
use rmcp::ServiceExt as _;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::stdio;

use self::bounds::Bounds;
use self::call::Shared;
use self::server::Server;
use super::catalogue::CatalogueArgs;
use super::settings::Settings;

/// Arguments of `worker mcp`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder below which paths are read; nothing outside of it is
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    settings: Settings,
}

/// Serves until standard input ends.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = every_gate(args.wanted.applied(args.settings.load()?));
    let shared = Shared::open(&args.root, config, args.bounds)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ended = runtime.block_on(serve(shared));
    // Work of calls that nobody waits for any more.
    runtime.shutdown_background();
    ended
}

/// A patch is given back where all gates accept it: none is left out.
fn every_gate(mut config: RunConfig) -> RunConfig {
    config.verifier.gates = GateProfile::Strict;
    config.verifier.disabled_gates.clear();
    config
}

async fn serve(shared: Shared) -> anyhow::Result<Exit> {
    let (input, output) = stdio();
    let transport = AsyncRwTransport::new(input, output).with_max_line_length(shared.bounds.line_bytes());
    let service = Server::new(shared).serve(transport).await.context("no client has begun a session")?;
    service.waiting().await?;
    Ok(Exit::Fine)
}
