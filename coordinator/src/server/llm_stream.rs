//! Handler of a worker's `LlmCalls` stream: converts between wire messages and the gateway's types.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use domain::answer::Answer;
use domain::ids::WorkerName;
use proto::convert::{AcquireCall, BadMessage, CallResult, Ticket};
use proto::secret::SharedSecret;
use proto::status::ApiError;
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;
use proto::v1::llm_calls_response::Message as Response;

use super::work_stream::{AbortOnDrop, wait_until};
use crate::llm_gateway::{GatewayHandle, Reply, WorkerStream};
use crate::refusals::ending;
use crate::run::Coordinator;
use crate::server::stream_limits::{StreamLimits, within};

/// An item of the response stream.
type ResponseItem = Result<v1::LlmCallsResponse, Status>;

/// Serves the stream of one worker. The response headers are sent before the worker's first message arrives.
pub(super) fn serve(
    to: (Arc<Coordinator>, GatewayHandle),
    inbound: Streaming<v1::LlmCallsRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> impl Stream<Item = ResponseItem> + Send {
    let opening = async move {
        match begin(to, inbound, draining, limits).await {
            Ok(responses) => responses.left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        }
    };
    stream::once(opening).flatten()
}

/// Reads the first message, connects the worker to the gateway and starts the receive loop. Returns the responses.
async fn begin(
    (coordinator, gateway): (Arc<Coordinator>, GatewayHandle),
    mut inbound: Streaming<v1::LlmCallsRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> Result<impl Stream<Item = ResponseItem> + Send, Status> {
    let first = within(limits.first_message, "the first message", opened(&mut inbound)).await?;
    let (worker, session, resume) = first;
    coordinator.check_session(&worker, session)?;
    drop(coordinator);
    tracing::debug!(%worker, "an LLM stream was opened");
    let (worker_stream, replies) = gateway.connect(worker, resume).await?;
    let (failure, failed) = mpsc::channel(1);
    let receiver = tokio::spawn(receive_loop(worker_stream, inbound, failure, draining.clone()));
    let ends_with_stream = AbortOnDrop(receiver.abort_handle());
    let replies = ReceiverStream::new(replies).map(|(number, reply)| Ok(response(number, reply)));
    // Never ends by itself: a receive loop that ends without an error must not end the responses.
    let failed = ReceiverStream::new(failed).map(Err).chain(stream::pending());
    // The closure owns the guard, so that dropping the responses aborts the receive loop.
    Ok(until_failed(replies, failed, draining).inspect(move |_| {
        let _ = &ends_with_stream;
    }))
}

/// The items of `replies` until it ends or `failed` yields an error. When the coordinator shuts down, the gateway may
/// end `replies` before the receive loop reports the shutdown; the stream then ends with the error `Draining`.
fn until_failed(
    replies: impl Stream<Item = ResponseItem> + Send,
    failed: impl Stream<Item = ResponseItem> + Send,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = ResponseItem> + Send {
    // `None` marks the end of the stream. `select` alone would end only when both of its streams have ended.
    let last = stream::once(async move { draining.borrow().then(|| Err(ending().into())) });
    let replies = replies.map(Some).chain(last);
    // An error is sent before its receive loop ends `replies`, and so is found before their end.
    let first = |(): &mut ()| stream::PollNext::Left;
    let items = stream::select_with_strategy(failed.map(Some), replies, first);
    let ended_by_errors = items.flat_map(|item| {
        let end = matches!(item, Some(Err(_))).then_some(None);
        stream::iter(std::iter::once(item).chain(end))
    });
    ended_by_errors.scan((), |(), item| std::future::ready(item))
}

/// Reads the first message: the worker's name, the secret that proves its session, and the ticket of its last stream.
async fn opened(
    inbound: &mut Streaming<v1::LlmCallsRequest>,
) -> Result<(WorkerName, SharedSecret, Option<Ticket>), Status> {
    let bad = |reason: String| Status::from(ApiError::from(BadMessage::new("open", reason)));
    match inbound.message().await?.and_then(|request| request.message) {
        Some(Request::Open(open)) => {
            let resume = Ticket::from_wire("open.resume", &open.resume).map_err(ApiError::from)?;
            let worker = WorkerName::new(open.worker).map_err(|error| bad(error.to_string()))?;
            Ok((worker, SharedSecret::from_slice(&open.session).unwrap_or_default(), resume))
        }
        _ => Err(bad("must be the first message".to_owned())),
    }
}

/// Receives the worker's messages until its stream ends or the coordinator shuts down.
async fn receive_loop(
    worker_stream: WorkerStream,
    mut inbound: Streaming<v1::LlmCallsRequest>,
    failure: mpsc::Sender<Status>,
    mut draining: watch::Receiver<bool>,
) {
    let ended: Result<(), Status> = async {
        loop {
            let request = tokio::select! {
                request = inbound.message() => request?,
                () = wait_until(&mut draining) => {
                    return Err(ending().into());
                }
            };
            match request {
                None => return Ok(()),
                Some(request) => handle(&worker_stream, request).await?,
            }
        }
    }
    .await;
    if let Err(status) = ended {
        // The send fails only if the response stream has been dropped.
        let _ = failure.send(status).await;
    }
}

async fn handle(worker_stream: &WorkerStream, request: v1::LlmCallsRequest) -> Result<(), ApiError> {
    match request.message {
        Some(Request::AcquireCall(call)) => worker_stream.acquire(AcquireCall::try_from(call)?).await,
        Some(Request::CallResult(result)) => worker_stream.complete(CallResult::try_from(result)?).await,
        Some(Request::CancelCall(cancel)) => worker_stream.cancel(cancel.number).await,
        Some(Request::Open(_)) => Err(BadMessage::new("open", "may be sent only once").into()),
        // A message of a later protocol version.
        None => Ok(()),
    }
}

/// The response with the gateway's reply to the request `number`.
fn response(number: u64, reply: Reply) -> v1::LlmCallsResponse {
    let message = match reply {
        Reply::CachedResponse(answer) => {
            let answer = Arc::try_unwrap(answer).unwrap_or_else(|shared| Answer::clone(&shared));
            Response::CachedResponse(v1::CachedResponse { number, answer: Some(answer.into()) })
        }
        Reply::Opened(ticket) => Response::Opened(v1::StreamOpened { resume: Ticket::to_wire(Some(ticket)) }),
        Reply::CallPermit { valid_ms, ticket, .. } => {
            Response::CallPermit(v1::CallPermit { number, valid_ms, ticket: Ticket::to_wire(ticket) })
        }
        Reply::ResultPersisted => Response::ResultPersisted(v1::ResultPersisted { number, ask_again: false }),
        Reply::AskAgain => Response::ResultPersisted(v1::ResultPersisted { number, ask_again: true }),
        Reply::Stopped(reason) => Response::Stopped(v1::Stopped { number, reason }),
    };
    v1::LlmCallsResponse { message: Some(message) }
}

#[cfg(test)]
mod tests {
    use proto::status::ErrorReason;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_ends_by_a_shutdown_ends_with_the_reason() {
        let replies = || stream::iter([Ok(response(1, Reply::ResultPersisted))]);
        for is_draining in [true, false] {
            let (_flag, draining) = watch::channel(is_draining);
            let responses: Vec<ResponseItem> =
                until_failed(replies(), stream::pending(), draining).collect().await;
            let error = responses.get(1).map(|item| ErrorReason::of(item.as_ref().unwrap_err()));
            assert_eq!(
                (responses.len(), error.flatten()),
                if is_draining { (2, Some(ErrorReason::Draining)) } else { (1, None) }
            );
        }
    }
}
