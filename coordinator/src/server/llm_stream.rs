//! Handler of a worker's `LlmCalls` stream: converts between wire messages and the gateway's types.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use domain::answer::Answer;
use domain::ids::WorkerName;
use proto::convert::{AcquireCall, BadMessage, CallResult};
use proto::status::ApiError;
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;
use proto::v1::llm_calls_response::Message as Response;

use super::work_stream::{AbortOnDrop, wait_until};
use crate::llm_gateway::{GatewayHandle, Reply, WorkerStream};
use crate::refusals::ending;
use crate::server::stream_limits::{StreamLimits, within};

type Answered = Result<v1::LlmCallsResponse, Status>;

/// Serves the stream of one worker. The response headers are sent before the worker's first message arrives.
pub(super) fn serve(
    gateway: GatewayHandle,
    inbound: Streaming<v1::LlmCallsRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> impl Stream<Item = Answered> + Send {
    let begun = async move {
        match begin(gateway, inbound, draining, limits).await {
            Ok(answers) => answers.left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        }
    };
    stream::once(begun).flatten()
}

async fn begin(
    gateway: GatewayHandle,
    mut inbound: Streaming<v1::LlmCallsRequest>,
    draining: watch::Receiver<bool>,
    limits: StreamLimits,
) -> Result<impl Stream<Item = Answered> + Send, Status> {
    let worker = within(limits.first_message, "the first message", opened(&mut inbound)).await?;
    tracing::debug!(%worker, "an LLM stream was opened");
    let (worker_stream, replies) = gateway.connect(worker).await?;
    let (failure, failed) = mpsc::channel(1);
    let receiver = tokio::spawn(receive_loop(worker_stream, inbound, failure, draining.clone()));
    let ends_with_stream = AbortOnDrop(receiver.abort_handle());
    let replies = ReceiverStream::new(replies).map(|(number, reply)| Ok(answer(number, reply)));
    // The stream ends when the gateway closes it, or with an error.
    let failed = ReceiverStream::new(failed).map(Err).chain(stream::pending());
    Ok(until_failed(replies, failed, draining).inspect(move |_| {
        let _ = &ends_with_stream;
    }))
}

/// The items of `replies` until it ends or `failed` yields an error. When the gateway closes the stream because the
/// coordinator shuts down, possibly before the receive loop has seen that, the stream ends with `draining`.
fn until_failed(
    replies: impl Stream<Item = Answered> + Send,
    failed: impl Stream<Item = Answered> + Send,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = Answered> + Send {
    let last = stream::once(async move { draining.borrow().then(|| Err(ending().into())) });
    let replies = replies.map(Some).chain(last);
    let ended_by_errors = stream::select(replies, failed.map(Some)).flat_map(|item| {
        let end = matches!(item, Some(Err(_))).then_some(None);
        stream::iter(std::iter::once(item).chain(end))
    });
    ended_by_errors.scan((), |(), item| std::future::ready(item))
}

async fn opened(inbound: &mut Streaming<v1::LlmCallsRequest>) -> Result<WorkerName, Status> {
    let bad = |reason: String| Status::from(ApiError::from(BadMessage::new("open", reason)));
    match inbound.message().await?.and_then(|request| request.message) {
        Some(Request::Open(open)) => WorkerName::new(open.worker).map_err(|error| bad(error.to_string())),
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
        // The send fails where the stream has been dropped.
        let _ = failure.send(status).await;
    }
}

async fn handle(worker_stream: &WorkerStream, request: v1::LlmCallsRequest) -> Result<(), ApiError> {
    match request.message {
        Some(Request::AcquireCall(question)) => worker_stream.acquire(AcquireCall::try_from(question)?).await,
        Some(Request::CallResult(ended)) => worker_stream.complete(CallResult::try_from(ended)?).await,
        Some(Request::CancelCall(withdraw)) => worker_stream.cancel(withdraw.number).await,
        Some(Request::Open(_)) => Err(BadMessage::new("open", "may be sent only once").into()),
        // A message of a later protocol version.
        None => Ok(()),
    }
}

fn answer(number: u64, reply: Reply) -> v1::LlmCallsResponse {
    let message = match reply {
        Reply::CachedResponse(answer) => {
            let answer = Arc::try_unwrap(answer).unwrap_or_else(|shared| Answer::clone(&shared));
            Response::CachedResponse(v1::CachedResponse { number, answer: Some(answer.into()) })
        }
        Reply::CallPermit { valid_ms } => Response::CallPermit(v1::CallPermit { number, valid_ms }),
        Reply::ResultPersisted => Response::ResultPersisted(v1::ResultPersisted { number }),
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
        let replies = || stream::iter([Ok(answer(1, Reply::ResultPersisted))]);
        for ends in [true, false] {
            let (_flag, draining) = watch::channel(ends);
            let answers: Vec<Answered> = until_failed(replies(), stream::pending(), draining).collect().await;
            let refused = answers.get(1).map(|answer| ErrorReason::of(answer.as_ref().unwrap_err()));
            assert_eq!(
                (answers.len(), refused.flatten()),
                if ends { (2, Some(ErrorReason::Draining)) } else { (1, None) }
            );
        }
    }
}
