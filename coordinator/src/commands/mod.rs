//! One thin file per subcommand: its arguments, and what it calls.

use std::future::Future;
use std::time::Duration;

pub(crate) mod answers;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod config;
#[cfg(debug_assertions)]
pub(crate) mod crash;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod estimate;
pub(crate) mod import;
pub(crate) mod probe;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod synth;

mod follow;
mod run_id;

/// How long work that blocks may take to notice that its command has ended.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Runs a command's async part.
fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // Coordinating is little work; the workers' computing has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(task);
    // What still computes when a command has ended is of no use to anybody: a second Ctrl-C does not wait for it.
    runtime.shutdown_timeout(LAST_MOMENT);
    ended
}
