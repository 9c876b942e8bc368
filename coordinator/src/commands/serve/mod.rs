//! `coordinator serve`: serves runs to workers and clients on other machines.

mod args;
mod durable;
mod listen;
mod page;

use std::sync::Arc;
use std::time::Duration;

use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, descriptors, output};
use proto::status::{ApiError, ErrorReason};
use results::store::Store;
use tokio::sync::oneshot;

use super::{block_on, open_results};
use crate::ledger::LedgerError;
use crate::ledger::state_folder::StateFolder;
use crate::llm_gateway::response_cache::CacheError;
use crate::run::{Coordinator, Parts, Recovery};
use crate::server::access::AccessControl;
use crate::server::connections::Limits;
use crate::server::{self, Endpoints};

pub(crate) use args::Args;
use durable::{Durable, Shared};
use listen::{access_control, check_plain_text, listen, reload_on_hangup};
use page::Page;

/// After this time a start that waits for its server says so.
const LONG: Duration = Duration::from_secs(10);

/// Pause before an owner that could not begin is a candidate again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the ownership to be given back.
const RELEASE: Duration = Duration::from_secs(2);

/// Connections with which a coordinator is of use.
const FEWEST_CONNECTIONS: u64 = 16;

/// Serves until it is interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    #[cfg(debug_assertions)]
    args.crash.arm();
    check_plain_text(args)?;
    block_on(serve(args))
}

/// What a coordinator has over its whole life, as the owner and as a standby.
struct Process<'a> {
    args: &'a Args,
    limits: Limits,
    state: StateFolder,
    store: Store,
    access: Arc<AccessControl>,
    page: Option<Page>,
}

/// Why a coordinator does not serve any more.
enum Ended {
    Interrupted,
    /// Another coordinator has taken over.
    Deposed,
}

async fn serve(args: &Args) -> anyhow::Result<Exit> {
    let limits = Limits::within(descriptors::ensure(descriptors::FILES + FEWEST_CONNECTIONS)?);
    let mut interrupts = Interrupts::listen()?;
    let state = StateFolder::open(&args.state)?;
    let store = match &args.out {
        Some(out) => open_results(out).await?,
        None => Store::local(&state.join("results"))?,
    };
    let access = access_control(args)?;
    let page = Page::listen(args, Arc::clone(&access)).await?;
    let reloading = tokio::spawn(reload_on_hangup(Arc::clone(&access)));
    let process = Process { args, limits, state, store, access, page };
    let shared = tokio::select! {
        shared = patiently(Shared::open(args, &process.state, &process.store)) => shared?,
        () = interrupts.next() => return interrupted(),
    };
    match shared {
        None => {
            let durable = Durable::in_folder(args, &process.state)?;
            Box::pin(process.serve(durable, std::future::pending(), &mut interrupts)).await?;
        }
        Some(shared) => Box::pin(process.take_turns(&shared, &mut interrupts)).await?,
    }
    reloading.abort();
    interrupted()
}

fn interrupted() -> anyhow::Result<Exit> {
    Err(Interrupted).hint("started again with the same --state it goes on where it stopped")
}

/// Says what a server may wait for that takes long.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(LONG, &mut work).await {
        return done;
    }
    output::say(
        "still waiting for the PostgreSQL server: it may wait for a standby that is not connected (synchronous_standby_names)",
    );
    work.await
}

/// Whether an owner could not begin because of something that passes: its server went away, or another coordinator was faster.
fn is_passing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LedgerError::Unavailable { .. }))
        || matches!(error.downcast_ref(), Some(CacheError::Unavailable { .. }))
        || error.downcast_ref::<ApiError>().is_some_and(|refusal| refusal.reason == ErrorReason::Storage)
}

impl Process<'_> {
    /// Is a standby and the owner in turn, until it is interrupted.
    async fn take_turns(&self, shared: &Shared, interrupts: &mut Interrupts) -> anyhow::Result<()> {
        loop {
            let standby = self.page.as_ref().map(Page::of_standby).transpose()?;
            let lease = tokio::select! {
                lease = shared.acquire() => lease?,
                () = interrupts.next() => return Ok(()),
            };
            if let Some(standby) = standby {
                standby.end().await;
            }
            tracing::info!(epoch = %lease.epoch(), "this coordinator is the owner");
            let served = async {
                let durable = tokio::select! {
                    durable = patiently(shared.durable(&lease)) => durable?,
                    () = interrupts.next() => return Ok(Ended::Interrupted),
                };
                Box::pin(self.serve(durable, lease.deposed(), interrupts)).await
            };
            let ended = Box::pin(served).await;
            lease.release(RELEASE).await;
            match ended {
                Ok(Ended::Interrupted) => return Ok(()),
                Ok(Ended::Deposed) => {
                    output::say("another coordinator has taken over; this one is a standby");
                }
                Err(error) if is_passing(&error) => {
                    output::say(&format!("{error:#}; this coordinator is a standby, and tries again"));
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves as the owner.
    async fn serve(
        &self,
        durable: Durable,
        deposed: impl Future<Output = ()>,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<Ended> {
        let coordinator = Coordinator::open(Parts {
            ledger: durable.ledger,
            store: self.store.clone(),
            scratch: self.state.join(""),
            recovery: Recovery::Grace,
            owner: durable.owner,
        })
        .await?;
        let (listeners, shown) = listen(self.args).await?;
        let endpoints = Endpoints { listeners, access: Arc::clone(&self.access), leases: durable.leases };
        output::say(&format!("serving {shown}, results in {}; Ctrl-C ends it", self.store.location()));
        let page = self.page.as_ref().map(|page| page.of_owner(self.args, &coordinator)).transpose()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server::run_with(endpoints, coordinator, durable.answers, self.limits, async move {
            // A dropped sender is a stop request, too.
            let _ = stopped.await;
        });
        tokio::pin!(serving, deposed);
        let ended = tokio::select! {
            ended = &mut serving => {
                ended?;
                Ended::Interrupted
            }
            () = &mut deposed => {
                drop(stop);
                // What it still has to write is refused.
                serving.await?;
                Ended::Deposed
            }
            () = interrupts.next() => {
                output::say("notifying workers and clients; Ctrl-C again stops at once");
                drop(stop);
                tokio::select! {
                    ended = serving => ended?,
                    () = interrupts.next() => {}
                }
                Ended::Interrupted
            }
        };
        if let Some(page) = page {
            page.end().await;
        }
        Ok(ended)
    }
}
