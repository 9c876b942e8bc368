//! A worker's life: join, take leases, compute, commit, keep the leases alive; join again when the stream breaks.
//!
//! *Owns* what the worker holds. One task (`dispatcher::Dispatcher`) hears every event in turn; the others compute and send.
//! *Invariant*: after a lease's deadline nothing is sent under it.

mod configs;
mod dispatcher;
mod lease_table;
mod prefetch;

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tonic::Status;

use domain::ids::WorkerName;
use proto::channel::BadAddress;

use crate::cpu_pool::CpuPool;
use crate::gateway_client::GatewayClient;
use crate::remote::Remote;

/// Who serves whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the coordinator, e.g. `http://127.0.0.1:7070`.
    pub coordinator: String,
    /// The worker's name; the coordinator may make it unique.
    pub name: WorkerName,
    /// How many shards are processed at the same time.
    pub slots: NonZeroUsize,
    /// About how many records a model may be asked about at the same time.
    pub questions: NonZeroUsize,
}

/// How many records a model may be asked about at the same time, where nobody says: two workers keep 2,000 calls under way
/// and as many questions besides as the budget takes up in a moment. Each takes about 100 kB.
pub const QUESTIONS: NonZeroUsize = NonZeroUsize::new(1200).unwrap();

/// How much longer the worker should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Take leases and work.
    Work,
    /// Finish and commit what has begun, hand back the rest, then end.
    Drain,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Shards that it committed.
    pub committed: u64,
    /// Shards whose lease was over before they could be committed.
    pub lost: u64,
    /// Leases that it gave back.
    pub handed_back: u64,
}

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The coordinator will not have it.
    #[error("the coordinator refuses this worker: {}", .0.message())]
    Refused(#[source] Status),
}

/// How long the last messages may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Events of the connection that may wait for the desk.
const INBOX: usize = 16;

/// Serves until `stage` says [`Stage::Drain`] (or its sender is gone), or the coordinator refuses for good.
pub async fn serve(options: Options, stage: watch::Receiver<Stage>) -> Result<Summary, SessionError> {
    let slots = u32::try_from(options.slots.get()).unwrap_or(u32::MAX);
    let remote = Remote::new(&options.coordinator, options.name.clone(), slots)?;
    let (joined, name) = watch::channel(None);
    let (gateway, talking) = GatewayClient::start(remote.channel(), name);
    let held = lease_table::LeaseTable::new(
        options.slots.get(),
        options.questions.get(),
        tokio::time::Instant::now(),
    );
    let pool = CpuPool::new(options.slots.get());
    let desk =
        dispatcher::Dispatcher::new(options.name, held, pool, remote.channel(), gateway.clone(), joined);
    let (events, inbox) = mpsc::channel(INBOX);
    let connection = tokio::spawn(remote.keep_open(events));
    let ended = desk.run(inbox, stage).await;
    // The inbox is closed now, which ends the connection's task; give its last messages the chance to leave.
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, connection).await;
    gateway.calls_end().await;
    drop(gateway);
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, talking).await;
    ended
}
