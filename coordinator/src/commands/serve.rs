//! `coordinator serve`: serves runs to workers and clients on other machines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, descriptors, output};
use results::store::Store;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::block_on;
use crate::ledger::state_folder::StateFolder;
use crate::llm_gateway::response_cache::{ANSWERS_FILE, ResponseCache};
use crate::run::{Coordinator, Parts, Recovery};
use crate::server;
use crate::server::connections::Limits;
use crate::server::http;

/// Connections with which a coordinator is of use.
const FEWEST_CONNECTIONS: u64 = 16;

/// Serves workers (`worker serve`) and clients (`coordinator submit`, `status`, `cancel`).
///
/// All durable state lies in --state: started again with the same folder, after whatever ended it, it goes on with all
/// unfinished runs. Ctrl-C (or SIGTERM) notifies workers and clients and ends with exit code 130; workers go on with what
/// they have begun and reconnect to the next coordinator on the same address. Serves gRPC with the standard health and
/// reflection services.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Address for metrics (/metrics), health (/healthz) and a status page (/) over HTTP [default: none]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Folder or object-store URL for the results [default: results in the state folder]
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// File of cached answers of models, shared by all runs [default: answers.sqlite in the state folder]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Listen on an address that other machines can reach, in plain text and without authentication
    #[arg(long)]
    insecure: bool,
    #[cfg(debug_assertions)]
    #[command(flatten)]
    crash: super::crash::CrashArgs,
}

/// Serves until it is interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    #[cfg(debug_assertions)]
    args.crash.arm();
    if !args.listen.ip().is_loopback() && !args.insecure {
        let refused: anyhow::Result<Exit> = Err(anyhow::anyhow!(
            "{} can be reached from other machines, and the protocol is plain text",
            args.listen
        ));
        return refused.hint("listen on 127.0.0.1, or add --insecure on a network that you trust");
    }
    block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<Exit> {
    let limits = Limits::within(descriptors::ensure(descriptors::FILES + FEWEST_CONNECTIONS)?);
    let mut interrupts = Interrupts::listen()?;
    let page_listener = match args.http {
        None => None,
        Some(address) => Some(cli_support::http::listen(address, args.insecure).await?),
    };
    let state = StateFolder::open(&args.state)?;
    let results = state.join("results");
    let store = match &args.out {
        Some(out) => Store::open(out)?,
        None => Store::local(&results)?,
    };
    let place = store.location().to_owned();
    let scratch = state.join("");
    let answers = args.answers.clone().unwrap_or_else(|| state.join(ANSWERS_FILE));
    let answers = Arc::new(ResponseCache::open(&answers)?);
    let coordinator = Coordinator::open(Parts {
        ledger: Arc::new(state.ledger()?),
        store,
        scratch,
        recovery: Recovery::Grace,
    })
    .await?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    output::say(&format!("serving http://{address}, results in {place}; Ctrl-C ends it"));
    if let Some(listener) = &page_listener {
        output::say(&format!("status page on http://{}", listener.local_addr()?));
    }
    let (quiet, mut page) = watch::channel(());
    let page = page_listener.map(|listener| {
        let router = http::router(Arc::clone(&coordinator));
        tokio::spawn(cli_support::http::serve(listener, router, async move {
            // Nothing is sent on it: it ends when the sender is dropped.
            let _ = page.changed().await;
        }))
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server::run_with(listener, coordinator, answers, limits, async move {
        // A dropped sender is a stop request, too.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => ended?,
        () = interrupts.next() => {
            output::say("notifying workers and clients; Ctrl-C again stops at once");
            drop(stop);
            tokio::select! {
                ended = serving => ended?,
                () = interrupts.next() => {}
            }
        }
    }
    drop(quiet);
    if let Some(page) = page {
        page.await?;
    }
    Err(Interrupted).hint("started again with the same --state it goes on where it stopped")
}
