//! Subcommands, one thin file each: its arguments, and what it calls.

use std::future::Future;
use std::time::Duration;

use cli_support::failure::WithHint as _;
use cli_support::output;
use results::store::{Conditions, Store, StoreError};

pub(crate) mod answers;
pub(crate) mod bundle;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod config;
#[cfg(debug_assertions)]
pub(crate) mod crash;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod import;
pub(crate) mod models;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod synth;

mod follow;
mod ledger_args;
mod run_id;

/// How long blocking work may go on after its command has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

/// Runs the asynchronous part of a command.
fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // Two threads are enough for coordination; workers compute on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(task);
    // Results that are still being computed are discarded, so that a second Ctrl-C does not wait for them.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended
}

/// Opens a folder, or a bucket by its URL. A bucket is written to first: so wrong credentials or a missing bucket are said
/// before a corpus is read.
async fn open_results(location: &str) -> anyhow::Result<Store> {
    let store = Store::open(location)?;
    let found = store.probe().await;
    let found = match found {
        Err(error @ StoreError::Failed { .. }) => {
            let refused: anyhow::Result<Conditions> = Err(error.into());
            refused.hint(
                "the bucket must be there, and its credentials be in the environment, as the programs of its cloud take them \
                 (AWS_*, GOOGLE_*, AZURE_*), or be the identity of this machine",
            )?
        }
        found => found?,
    };
    if found == Conditions::Ignored {
        output::say(&format!(
            "{}: this server ignores conditions of writes; nothing depends on them here",
            store.location()
        ));
    }
    Ok(store)
}
