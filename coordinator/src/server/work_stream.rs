//! Handler of a worker's `Work` stream: grants requested shards as they become free, renews and releases leases.
//!
//! Two tasks serve a stream: the receive loop handles the worker's messages and replies at once, the dispatch loop waits for
//! shards and sends slices. So a renewal never waits behind a slice on a slow link. Both end with the stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use domain::api_server::ServerIdentity;
use domain::config::is_program_name;
use domain::ids::WorkerName;
use proto::convert::{BadMessage, LeaseKey, frames, scanners_from_wire};
use proto::known::KnownRuns;
use proto::secret::SharedSecret;
use proto::status::{ApiError, ErrorReason};
use proto::v1;
use proto::v1::work_request::Message as Request;
use proto::v1::work_response::Message as Response;

use super::identity::LeaseSecrets;
use crate::refusals::ending;
use crate::run::{Coordinator, Granted, Renewal};
use crate::scheduler::worker_registry::Abilities;
use crate::server::stream_limits::{StreamLimits, within};

/// Capacity of the queue of replies; a reply beyond it is dropped, and the worker's next heartbeat repeats it.
const REPLIES: usize = 16;

/// Capacity of the queue of slices.
const SLICES: usize = 2;

/// Most shards that a worker may have requested and not received yet.
const MAX_REQUESTED: usize = 4096;

/// Most programs of a worker.
const MAX_PROGRAMS: usize = 100;

/// Most leases in a message.
const MAX_LEASES: usize = 10_000;

type Outgoing = Result<v1::WorkResponse, Status>;

/// Serves the stream of one worker.
pub(super) fn serve(
    coordinator: Arc<Coordinator>,
    secrets: Arc<LeaseSecrets>,
    inbound: Streaming<v1::WorkRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> impl Stream<Item = Outgoing> + Send {
    let (replies, control) = mpsc::channel(REPLIES);
    let (slices, outgoing) = mpsc::channel(SLICES);
    let receiver =
        tokio::spawn(receive_loop((coordinator, secrets), inbound, replies, slices, draining, limits));
    let ends_with_stream = AbortOnDrop(receiver.abort_handle());
    stream::select(ReceiverStream::new(control), ReceiverStream::new(outgoing)).inspect(move |_| {
        let _ = &ends_with_stream;
    })
}

/// Ends a task when the stream it works for is dropped.
pub(super) struct AbortOnDrop(pub(super) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Marks a worker as connected until it is dropped.
struct Connection {
    coordinator: Arc<Coordinator>,
    worker: Arc<WorkerName>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        tracing::info!(worker = %self.worker, "a worker's stream ended");
        self.coordinator.disconnect(&self.worker);
    }
}

/// The names of a worker's programs.
fn programs(names: Vec<String>) -> Result<Arc<BTreeSet<String>>, ApiError> {
    let refuse = |why: &str| Err(ApiError::from(BadMessage::new("programs", why)));
    if names.len() > MAX_PROGRAMS {
        return refuse("are too many");
    }
    if !names.iter().all(|name| is_program_name(name)) {
        return refuse("has a name that is not valid");
    }
    Ok(Arc::new(names.into_iter().collect()))
}

/// Handles the worker's messages until its stream ends or the coordinator shuts down.
async fn receive_loop(
    (coordinator, secrets): (Arc<Coordinator>, Arc<LeaseSecrets>),
    mut inbound: Streaming<v1::WorkRequest>,
    replies: mpsc::Sender<Outgoing>,
    slices: mpsc::Sender<Outgoing>,
    mut draining: watch::Receiver<bool>,
    limits: StreamLimits,
) {
    let ended = async {
        let (worker, open) = within(limits.first_message, "the first message", opened(&mut inbound)).await?;
        coordinator.check_session(&worker, SharedSecret::from_slice(&open.session).unwrap_or_default())?;
        let worker = Arc::new(worker);
        let server = open.api_server.map(ServerIdentity::try_from).transpose().map_err(ApiError::from)?;
        let abilities = Abilities {
            server: server.map(Arc::new),
            programs: programs(open.programs)?,
            scanners: scanners_from_wire(open.scanners).map_err(ApiError::from)?,
        };
        let mut drain_requested = coordinator.connect(&worker, open.slots, &open.version, abilities)?;
        let mut drain_sent = false;
        let connection = Connection { coordinator: Arc::clone(&coordinator), worker: Arc::clone(&worker) };
        let requested = Arc::new(Semaphore::new(0));
        let mut dispatcher = tokio::spawn(dispatch_loop(
            Arc::clone(&coordinator),
            Arc::clone(&secrets),
            Arc::clone(&worker),
            Arc::clone(&requested),
            slices,
        ));
        let ends_with_receiver = AbortOnDrop(dispatcher.abort_handle());
        let mut dispatching = true;
        let ended = loop {
            let message = within(limits.work_silence, "a heartbeat", inbound.message());
            let request = tokio::select! {
                request = message => request?,
                ended = &mut dispatcher, if dispatching => {
                    dispatching = false;
                    match panicked(ended) {
                        Some(status) => break Err(status),
                        None => continue,
                    }
                }
                () = wait_until(&mut draining) => {
                    let _ = replies.try_send(reply(Response::Drain(v1::Drain {})));
                    break Ok(());
                }
                // The worker finishes what has begun, releases the rest and deregisters.
                () = wait_until(&mut drain_requested), if !drain_sent => {
                    drain_sent = true;
                    dispatcher.abort();
                    let reason = coordinator.drain_reason(&worker);
                    let _ = replies.try_send(reply(Response::DrainWorker(v1::DrainWorker { reason })));
                    continue;
                }
            };
            coordinator.worker_seen(&worker);
            match request {
                None => break Ok(()),
                Some(v1::WorkRequest { message: Some(Request::Deregister(_)) }) => {
                    // Once its dispatch loop has ended, no more leases are granted to it.
                    drop(ends_with_receiver);
                    if dispatching {
                        let _ = dispatcher.await;
                    }
                    coordinator.deregister(&worker);
                    break Ok(());
                }
                Some(request) => {
                    if let Err(status) =
                        handle((&coordinator, &secrets), &worker, request, &requested, &replies)
                    {
                        break Err(status);
                    }
                }
            }
        };
        drop(connection);
        ended
    };
    if let Err(status) = ended.await {
        let _ = replies.try_send(Err(status));
    }
}

/// The error that ends the stream after a panic of the dispatch loop: on an open stream the worker would wait for ever.
fn panicked(ended: Result<(), JoinError>) -> Option<Status> {
    let error = ended.err().filter(JoinError::is_panic)?;
    tracing::error!(%error, "the dispatch loop of a worker panicked");
    Some(ApiError::new(ErrorReason::Internal, "granting shards failed: a bug of the coordinator").into())
}

/// Waits until `flag` turns true; for ever when its sender is dropped.
pub(super) async fn wait_until(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|flag| *flag).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Reads the first message, which names the worker.
async fn opened(inbound: &mut Streaming<v1::WorkRequest>) -> Result<(WorkerName, v1::Open), Status> {
    let bad = |reason: String| Status::from(ApiError::from(BadMessage::new("open", reason)));
    match inbound.message().await?.and_then(|request| request.message) {
        Some(Request::Open(open)) => {
            let worker = WorkerName::new(open.worker.clone()).map_err(|error| bad(error.to_string()))?;
            Ok((worker, open))
        }
        _ => Err(bad("must be the first message".to_owned())),
    }
}

fn handle(
    (coordinator, secrets): (&Coordinator, &LeaseSecrets),
    worker: &WorkerName,
    request: v1::WorkRequest,
    requested: &Semaphore,
    replies: &mpsc::Sender<Outgoing>,
) -> Result<(), Status> {
    match request.message {
        Some(Request::RequestShards(request)) => {
            let room = MAX_REQUESTED.saturating_sub(requested.available_permits());
            requested.add_permits(usize::try_from(request.shards).unwrap_or(usize::MAX).min(room));
        }
        Some(Request::Heartbeat(heartbeat)) => {
            coordinator.worker_waits(worker, &heartbeat.waits_for);
            let (held, foreign) = keys(heartbeat.leases, secrets)?;
            let Renewal { renewed, mut lost } = coordinator.renew(held);
            lost.extend(foreign);
            let out = |keys: Vec<LeaseKey>| keys.into_iter().map(Into::into).collect();
            let renewed =
                v1::Renewed { sequence: heartbeat.sequence, renewed: out(renewed), lost: out(lost) };
            let _ = replies.try_send(reply(Response::Renewed(renewed)));
        }
        Some(Request::ReleaseLeases(release)) => {
            let (keys, foreign) = keys(release.leases, secrets)?;
            if let Some(key) = foreign.first() {
                return Err(secrets.check(key).err().unwrap_or_else(ending).into());
            }
            tracing::info!(leases = keys.len(), failed = release.failed, "leases were released");
            coordinator.note_contact();
            coordinator.release_leases(&keys, release.failed);
        }
        Some(Request::Open(_)) => {
            return Err(ApiError::from(BadMessage::new("open", "may be sent only once")).into());
        }
        // `Deregister` ends the stream in the receive loop; `None` is a message of a later protocol version.
        Some(Request::Deregister(_)) | None => {}
    }
    Ok(())
}

/// The leases that a message names: those that the sender holds, or held, and those that it never did.
fn keys(keys: Vec<v1::LeaseKey>, secrets: &LeaseSecrets) -> Result<(Vec<LeaseKey>, Vec<LeaseKey>), ApiError> {
    if keys.len() > MAX_LEASES {
        return Err(ApiError::new(
            ErrorReason::TooLarge,
            format!("a message may name {MAX_LEASES} leases at most"),
        ));
    }
    let keys: Vec<LeaseKey> = keys.into_iter().map(LeaseKey::try_from).collect::<Result<_, _>>()?;
    Ok(keys.into_iter().partition(|key| secrets.holds(key)))
}

/// Leases and sends as many shards as the worker has requested.
async fn dispatch_loop(
    coordinator: Arc<Coordinator>,
    secrets: Arc<LeaseSecrets>,
    worker: Arc<WorkerName>,
    requested: Arc<Semaphore>,
    slices: mpsc::Sender<Outgoing>,
) {
    let mut sent_configs = KnownRuns::default();
    while let Ok(permit) = requested.acquire().await {
        permit.forget();
        let sent = match coordinator.lease(&worker).await {
            Ok(granted) => {
                let key = LeaseKey::from(&granted.lease);
                let sent = send(granted, &secrets, &mut sent_configs, &slices).await;
                if sent.is_err() {
                    coordinator.release_leases(&[key], false);
                }
                sent
            }
            Err(refusal) => Err(refusal.into()),
        };
        if let Err(status) = sent {
            // The send fails where the stream has been dropped.
            let _ = slices.send(Err(status)).await;
            return;
        }
    }
}

/// Sends the run's configuration unless it was sent before, then the lease, then its slice in frames.
async fn send(
    granted: Granted,
    secrets: &LeaseSecrets,
    sent_configs: &mut KnownRuns,
    slices: &mpsc::Sender<Outgoing>,
) -> Result<(), Status> {
    let Granted { lease, config, corpus } = granted;
    let gone = |_| Status::cancelled("the worker's stream has ended");
    if !sent_configs.granted(&lease.run_id).known {
        let run = v1::RunConfig { run_id: lease.run_id.to_string(), config_json: config.to_string() };
        slices.send(reply(Response::Run(run))).await.map_err(gone)?;
    }
    let shard = lease.shard;
    let read =
        tokio::task::spawn_blocking(move || corpus.slice(shard.index.0.into(), shard.len.into()).map(frames));
    slices.send(reply(Response::Grant(secrets.grant(lease)))).await.map_err(gone)?;
    let pieces = read
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| ApiError::new(ErrorReason::Storage, error.to_string()))?;
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        let piece = v1::SlicePiece { slice: Some(piece), last: number == last };
        slices.send(reply(Response::Slice(piece))).await.map_err(gone)?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the item type of the stream")]
fn reply(message: Response) -> Outgoing {
    Ok(v1::WorkResponse { message: Some(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_panic_of_the_dispatch_loop_ends_the_stream() {
        assert!(panicked(tokio::spawn(async {}).await).is_none());
        let aborted = tokio::spawn(std::future::pending::<()>());
        aborted.abort();
        assert!(panicked(aborted.await).is_none(), "aborted for a worker that is draining");
        let status = panicked(tokio::spawn(async { panic!("on purpose") }).await).unwrap();
        assert_eq!(ErrorReason::of(&status), Some(ErrorReason::Internal));
    }
}
