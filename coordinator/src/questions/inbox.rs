//! The way from workers' streams to the task: one queue, in order, with room for so many messages.
//!
//! The end of a stream needs no room, so that whoever drops an [`Inbox`] does not wait: there is one for each stream, and it
//! comes after all that the stream sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use domain::ids::{RunId, WorkerName};
use proto::convert::{Asked, Ended};
use proto::status::Refusal;

use super::effect::{Place, Reply, StreamId};
use crate::runs::ending;

/// What a worker says.
#[derive(Debug)]
pub(super) enum Note {
    Opened(StreamId, WorkerName, mpsc::Sender<(u64, Reply)>),
    Asked(StreamId, Asked),
    Ended(StreamId, Ended),
    Withdrawn(Place),
    Gone(StreamId),
}

impl Note {
    /// The run that it is about, where it is about one.
    pub(super) const fn run_id(&self) -> Option<&RunId> {
        match self {
            Self::Asked(_, asked) => Some(&asked.run_id),
            Self::Ended(_, ended) => Some(&ended.run_id),
            Self::Opened(..) | Self::Withdrawn(_) | Self::Gone(_) => None,
        }
    }
}

/// A message in the queue, with the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) note: Note,
    _room: Option<OwnedSemaphorePermit>,
}

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    queue: mpsc::UnboundedSender<Posted>,
    room: Arc<Semaphore>,
}

impl Notes {
    /// A queue with room for `most` messages, besides ends of streams.
    pub(super) fn queue(most: usize) -> (Self, mpsc::UnboundedReceiver<Posted>) {
        let (queue, posted) = mpsc::unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(most)) }, posted)
    }

    /// Waits for room.
    pub(super) async fn send(&self, note: Note) -> Result<(), Refusal> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| ending())?;
        self.queue.send(Posted { note, _room: Some(room) }).map_err(|_| ending())
    }

    pub(super) fn inbox(&self, stream: StreamId) -> Inbox {
        Inbox { stream, notes: self.clone() }
    }
}

/// A worker's stream at the desk. Dropped, the stream has ended.
#[derive(Debug)]
pub(crate) struct Inbox {
    stream: StreamId,
    notes: Notes,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // A task that has ended knows of no stream any more.
        let _ = self.notes.queue.send(Posted { note: Note::Gone(self.stream), _room: None });
    }
}

impl Inbox {
    /// The worker wants an answer.
    pub(crate) async fn asked(&self, asked: Asked) -> Result<(), Refusal> {
        self.notes.send(Note::Asked(self.stream, asked)).await
    }

    /// A call of the worker has ended.
    pub(crate) async fn ended(&self, ended: Ended) -> Result<(), Refusal> {
        self.notes.send(Note::Ended(self.stream, ended)).await
    }

    /// The worker wants an answer no more.
    pub(crate) async fn withdrawn(&self, number: u64) -> Result<(), Refusal> {
        self.notes.send(Note::Withdrawn(Place { stream: self.stream, number })).await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_stream_comes_last_and_waits_for_nothing() {
        let (notes, mut posted) = Notes::queue(1);
        let inbox = notes.inbox(StreamId(7));
        inbox.withdrawn(1).await.unwrap();
        assert!(inbox.withdrawn(2).now_or_never().is_none(), "no room");
        // Outside of any task: nothing may be started for it.
        drop(inbox);
        assert!(matches!(posted.recv().await.unwrap().note, Note::Withdrawn(Place { number: 1, .. })));
        assert!(matches!(posted.recv().await.unwrap().note, Note::Gone(StreamId(7))));
        let inbox = notes.inbox(StreamId(8));
        inbox.withdrawn(3).await.unwrap();
        posted.close();
        assert!(matches!(posted.recv().await.unwrap().note, Note::Withdrawn(_)));
        assert!(inbox.withdrawn(4).await.is_err());
    }
}
