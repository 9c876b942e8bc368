//! Message queue from the workers' streams to the gateway task: in order, and bounded.
//!
//! The end of a stream takes no room, so that dropping a [`WorkerStream`] does not wait. It is one message for each stream,
//! after all others of the stream.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use domain::ids::{RunId, WorkerName};
use proto::convert::{AcquireCall, CallResult, Ticket};
use proto::status::ApiError;

use super::effect::{Reply, RequestId, StreamId};
use crate::refusals::ending;

/// Message of a worker to the gateway.
#[derive(Debug)]
pub(super) enum GatewayMessage {
    /// With the ticket of the worker's last stream, and the queue of its replies.
    Connected(StreamId, WorkerName, Option<Ticket>, mpsc::Sender<(u64, Reply)>),
    Acquire(StreamId, AcquireCall),
    Complete(StreamId, Box<CallResult>),
    Cancel(RequestId),
    Disconnected(StreamId),
}

impl GatewayMessage {
    /// The run that the message is about.
    pub(super) const fn run_id(&self) -> Option<&RunId> {
        match self {
            Self::Acquire(_, asked) => Some(&asked.run_id),
            Self::Complete(_, ended) => Some(&ended.run_id),
            Self::Connected(..) | Self::Cancel(_) | Self::Disconnected(_) => None,
        }
    }
}

/// A message in the queue, with its room until it is dropped.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) message: GatewayMessage,
    _room: Option<OwnedSemaphorePermit>,
}

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(super) struct MessageQueue {
    queue: mpsc::UnboundedSender<QueuedMessage>,
    room: Arc<Semaphore>,
}

impl MessageQueue {
    /// A queue with room for `most` messages, not counting ends of streams.
    pub(super) fn queue(most: usize) -> (Self, mpsc::UnboundedReceiver<QueuedMessage>) {
        let (queue, posted) = mpsc::unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(most)) }, posted)
    }

    /// Waits for room.
    pub(super) async fn send(&self, message: GatewayMessage) -> Result<(), ApiError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| ending())?;
        self.queue.send(QueuedMessage { message, _room: Some(room) }).map_err(|_| ending())
    }

    pub(super) fn inbox(&self, stream: StreamId) -> WorkerStream {
        WorkerStream { stream, messages: self.clone() }
    }
}

/// A worker's stream at the gateway. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct WorkerStream {
    stream: StreamId,
    messages: MessageQueue,
}

impl Drop for WorkerStream {
    fn drop(&mut self) {
        // Fails when the task has ended: then there are no streams.
        let _ = self
            .messages
            .queue
            .send(QueuedMessage { message: GatewayMessage::Disconnected(self.stream), _room: None });
    }
}

impl WorkerStream {
    /// Sends the worker's request.
    pub(crate) async fn acquire(&self, asked: AcquireCall) -> Result<(), ApiError> {
        self.messages.send(GatewayMessage::Acquire(self.stream, asked)).await
    }

    /// Sends the result of a call.
    pub(crate) async fn complete(&self, ended: CallResult) -> Result<(), ApiError> {
        self.messages.send(GatewayMessage::Complete(self.stream, Box::new(ended))).await
    }

    /// Cancels a request.
    pub(crate) async fn cancel(&self, number: u64) -> Result<(), ApiError> {
        self.messages.send(GatewayMessage::Cancel(RequestId { stream: self.stream, number })).await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_stream_comes_last_and_waits_for_nothing() {
        let (messages, mut posted) = MessageQueue::queue(1);
        let inbox = messages.inbox(StreamId(7));
        inbox.cancel(1).await.unwrap();
        assert!(inbox.cancel(2).now_or_never().is_none(), "no room");
        // A drop outside a task cannot wait.
        drop(inbox);
        assert!(matches!(
            posted.recv().await.unwrap().message,
            GatewayMessage::Cancel(RequestId { number: 1, .. })
        ));
        assert!(matches!(posted.recv().await.unwrap().message, GatewayMessage::Disconnected(StreamId(7))));
        let inbox = messages.inbox(StreamId(8));
        inbox.cancel(3).await.unwrap();
        posted.close();
        assert!(matches!(posted.recv().await.unwrap().message, GatewayMessage::Cancel(_)));
        assert!(inbox.cancel(4).await.is_err());
    }
}
