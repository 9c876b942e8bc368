//! One worker's stream: what it asks for is granted as shards become free, what it holds is renewed.
//!
//! Two tasks: one hears the worker and answers at once, one waits for shards and sends slices. Renewals therefore never
//! wait behind a slice on a slow link. Both end with the stream.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use domain::ids::WorkerName;
use proto::convert::{BadMessage, LeaseKey, frames};
use proto::known::KnownRuns;
use proto::status::{ApiError, ErrorReason};
use proto::v1;
use proto::v1::work_request::Message as Request;
use proto::v1::work_response::Message as Response;

use crate::run::{Coordinator, Granted, Renewal};
use crate::server::stream_limits::{StreamLimits, within};

/// Answers that may wait for the link; an answer beyond them is dropped, and the worker's next heartbeat makes up for it.
const ANSWERS: usize = 16;

/// Slices that may wait for the link.
const SLICES: usize = 2;

/// Shards that a worker may ask for at a time.
const MOST_WANTED: usize = 4096;

/// Leases that one message may name.
const MOST_LEASES: usize = 10_000;

type Answer = Result<v1::WorkResponse, Status>;

/// Serves the stream of one worker.
pub(super) fn serve(
    coordinator: Arc<Coordinator>,
    inbound: Streaming<v1::WorkRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> impl Stream<Item = Answer> + Send {
    let (answers, answered) = mpsc::channel(ANSWERS);
    let (slices, outgoing) = mpsc::channel(SLICES);
    let receiver = tokio::spawn(receive_loop(coordinator, inbound, answers, slices, draining, limits));
    let ends_with_stream = AbortOnDrop(receiver.abort_handle());
    stream::select(ReceiverStream::new(answered), ReceiverStream::new(outgoing)).inspect(move |_| {
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

/// A worker counts as connected as long as this lives.
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

/// Hears the worker until its stream ends or the coordinator does.
async fn receive_loop(
    coordinator: Arc<Coordinator>,
    mut inbound: Streaming<v1::WorkRequest>,
    answers: mpsc::Sender<Answer>,
    slices: mpsc::Sender<Answer>,
    mut draining: watch::Receiver<bool>,
    limits: StreamLimits,
) {
    let ended = async {
        let (worker, open) = within(limits.first_message, "the first message", opened(&mut inbound)).await?;
        let worker = Arc::new(worker);
        let mut drain_requested = coordinator.connect(&worker, open.slots, &open.version);
        let mut drain_sent = false;
        let connection = Connection { coordinator: Arc::clone(&coordinator), worker: Arc::clone(&worker) };
        let wanted = Arc::new(Semaphore::new(0));
        let mut dispatcher = tokio::spawn(dispatch_loop(
            Arc::clone(&coordinator),
            Arc::clone(&worker),
            Arc::clone(&wanted),
            slices,
        ));
        let ends_with_receiver = AbortOnDrop(dispatcher.abort_handle());
        let mut gives = true;
        let ended = loop {
            let message = within(limits.work_silence, "a heartbeat", inbound.message());
            let request = tokio::select! {
                request = message => request?,
                given = &mut dispatcher, if gives => {
                    gives = false;
                    match panicked(given) {
                        Some(status) => break Err(status),
                        None => continue,
                    }
                }
                () = wait_until(&mut draining) => {
                    let _ = answers.try_send(answer(Response::Drain(v1::Drain {})));
                    break Ok(());
                }
                // Its worker hears it, release what has not begun, and leaves.
                () = wait_until(&mut drain_requested), if !drain_sent => {
                    drain_sent = true;
                    dispatcher.abort();
                    let _ = answers.try_send(answer(Response::DrainWorker(v1::DrainWorker {})));
                    continue;
                }
            };
            coordinator.worker_seen(&worker);
            match request {
                None => break Ok(()),
                Some(v1::WorkRequest { message: Some(Request::Deregister(_)) }) => {
                    // Nothing is granted to it any more once its dispatch loop has ended.
                    drop(ends_with_receiver);
                    if gives {
                        let _ = dispatcher.await;
                    }
                    coordinator.deregister(&worker);
                    break Ok(());
                }
                Some(request) => {
                    if let Err(status) = handle(&coordinator, request, &wanted, &answers) {
                        break Err(status);
                    }
                }
            }
        };
        drop(connection);
        ended
    };
    if let Err(status) = ended.await {
        let _ = answers.try_send(Err(status));
    }
}

/// Why the stream has to end when the task that grants has: a worker whose stream stayed open would wait for ever.
fn panicked(given: Result<(), JoinError>) -> Option<Status> {
    let error = given.err().filter(JoinError::is_panic)?;
    tracing::error!(%error, "granting shards to a worker broke off");
    Some(ApiError::new(ErrorReason::Internal, "granting shards broke off: a fault of the coordinator").into())
}

/// Waits until `flag` says so; for ever when nobody can say it any more.
pub(super) async fn wait_until(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|said| *said).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The first message says who speaks.
async fn opened(inbound: &mut Streaming<v1::WorkRequest>) -> Result<(WorkerName, v1::Open), Status> {
    let bad = |reason: String| Status::from(ApiError::from(BadMessage::new("open", reason)));
    match inbound.message().await?.and_then(|request| request.message) {
        Some(Request::Open(open)) => {
            let worker = WorkerName::new(open.worker.clone()).map_err(|error| bad(error.to_string()))?;
            Ok((worker, open))
        }
        _ => Err(bad("has to be the first message".to_owned())),
    }
}

fn handle(
    coordinator: &Coordinator,
    request: v1::WorkRequest,
    wanted: &Semaphore,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), Status> {
    match request.message {
        Some(Request::RequestShards(want)) => {
            let room = MOST_WANTED.saturating_sub(wanted.available_permits());
            wanted.add_permits(usize::try_from(want.shards).unwrap_or(usize::MAX).min(room));
        }
        Some(Request::Heartbeat(heartbeat)) => {
            let Renewal { renewed, lost } = coordinator.renew(keys(heartbeat.leases)?);
            let out = |keys: Vec<LeaseKey>| keys.into_iter().map(Into::into).collect();
            let renewed =
                v1::Renewed { sequence: heartbeat.sequence, renewed: out(renewed), lost: out(lost) };
            let _ = answers.try_send(answer(Response::Renewed(renewed)));
        }
        Some(Request::ReleaseLeases(back)) => {
            let keys = keys(back.leases)?;
            tracing::info!(leases = keys.len(), failed = back.failed, "leases were released");
            coordinator.note_contact();
            coordinator.release_leases(&keys, back.failed);
        }
        Some(Request::Open(_)) => {
            return Err(ApiError::from(BadMessage::new("open", "may come once only")).into());
        }
        // The first ends the stream before it comes here; the second is of a later version.
        Some(Request::Deregister(_)) | None => {}
    }
    Ok(())
}

fn keys(keys: Vec<v1::LeaseKey>) -> Result<Vec<LeaseKey>, ApiError> {
    if keys.len() > MOST_LEASES {
        return Err(ApiError::new(
            ErrorReason::TooLarge,
            format!("a message may name {MOST_LEASES} leases at most"),
        ));
    }
    Ok(keys.into_iter().map(LeaseKey::try_from).collect::<Result<_, _>>()?)
}

/// Waits for shards and sends them, as many as are wanted.
async fn dispatch_loop(
    coordinator: Arc<Coordinator>,
    worker: Arc<WorkerName>,
    wanted: Arc<Semaphore>,
    slices: mpsc::Sender<Answer>,
) {
    let mut sent_configs = KnownRuns::default();
    while let Ok(permit) = wanted.acquire().await {
        permit.forget();
        let sent = match coordinator.lease(&worker).await {
            Ok(granted) => {
                let key = LeaseKey::from(&granted.lease);
                let sent = send(granted, &mut sent_configs, &slices).await;
                if sent.is_err() {
                    coordinator.release_leases(&[key], false);
                }
                sent
            }
            Err(refusal) => Err(refusal.into()),
        };
        if let Err(status) = sent {
            // There is no receiver when the stream has gone.
            let _ = slices.send(Err(status)).await;
            return;
        }
    }
}

/// Sends the run's configuration unless the worker has it, then the lease, then its slice in frames.
async fn send(
    granted: Granted,
    sent_configs: &mut KnownRuns,
    slices: &mpsc::Sender<Answer>,
) -> Result<(), Status> {
    let Granted { lease, config, corpus } = granted;
    let gone = |_| Status::cancelled("the worker has gone");
    if !sent_configs.granted(&lease.run_id).known {
        let run = v1::RunConfig { run_id: lease.run_id.to_string(), config_json: config.to_string() };
        slices.send(answer(Response::Run(run))).await.map_err(gone)?;
    }
    let shard = lease.shard;
    let read =
        tokio::task::spawn_blocking(move || corpus.slice(shard.index.0.into(), shard.len.into()).map(frames));
    slices.send(answer(Response::Grant(lease.into()))).await.map_err(gone)?;
    let pieces = read
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| ApiError::new(ErrorReason::Storage, error.to_string()))?;
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        let piece = v1::SlicePiece { slice: Some(piece), last: number == last };
        slices.send(answer(Response::Slice(piece))).await.map_err(gone)?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "what the stream carries")]
fn answer(message: Response) -> Answer {
    Ok(v1::WorkResponse { message: Some(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_while_granting_ends_the_stream_and_nothing_else_does() {
        assert!(panicked(tokio::spawn(async {}).await).is_none());
        let aborted = tokio::spawn(std::future::pending::<()>());
        aborted.abort();
        assert!(panicked(aborted.await).is_none(), "a drained worker is granted nothing more");
        let status = panicked(tokio::spawn(async { panic!("on purpose") }).await).unwrap();
        assert_eq!(ErrorReason::of(&status), Some(ErrorReason::Internal));
    }
}
