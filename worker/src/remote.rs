//! The coordinator as a worker sees it: joins, opens the work stream, joins again whenever it breaks.
//!
//! *Owns* the connection. The session hears [`Event`]s and sends through the [`Link`] of the latest one.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use domain::ids::WorkerName;
use proto::channel::{BadAddress, endpoint, fleet_client};
use proto::status::{ErrorReason, check_version, is_transient};
use proto::v1;

use crate::backoff::Backoff;

/// Version of this software, for people.
const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Messages to the coordinator that may wait for the connection.
const OUTBOX: usize = 64;

/// How long a stream that is being closed may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A connection that lasted this long starts the backoff afresh.
const STEADY: Duration = Duration::from_secs(10);

/// What comes from the coordinator.
#[derive(Debug)]
pub(crate) enum Event {
    /// The stream is open; what was asked on an earlier one is forgotten.
    Connected(Link),
    /// A message of the open stream.
    Message(v1::work_response::Message),
    /// The stream broke; there will be another.
    Disconnected,
    /// The coordinator will never take this worker.
    Refused(Status),
}

/// The way to the coordinator, as long as the stream is open.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// The name the coordinator knows this worker by.
    pub(crate) worker: WorkerName,
    outbox: mpsc::Sender<v1::WorkRequest>,
}

impl Link {
    /// The way of a worker whose messages the test receives.
    #[cfg(test)]
    pub(crate) fn of(worker: WorkerName, outbox: mpsc::Sender<v1::WorkRequest>) -> Self {
        Self { worker, outbox }
    }

    /// Sends a message unless the stream is broken or stuck; both end in a new stream, which begins by saying it all.
    pub(crate) fn send(&self, message: v1::work_request::Message) {
        if self.outbox.try_send(v1::WorkRequest { message: Some(message) }).is_err() {
            tracing::debug!("a message was not sent: the stream is broken or stuck");
        }
    }
}

/// How to reach the coordinator and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    channel: Channel,
    url: String,
    name: WorkerName,
    slots: u32,
}

impl Remote {
    /// Takes the coordinator's address. Does not connect yet.
    pub(crate) fn new(url: &str, name: WorkerName, slots: u32) -> Result<Self, BadAddress> {
        Ok(Self { channel: endpoint(url)?.connect_lazy(), url: url.to_owned(), name, slots })
    }

    /// The channel, for other calls to the same coordinator.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Keeps a stream open and reports what happens on it, until nobody listens or the coordinator refuses for good.
    pub(crate) async fn keep_open(self, events: mpsc::Sender<Event>) {
        let mut backoff = Backoff::new();
        let mut complained = false;
        loop {
            let begun = Instant::now();
            match self.open().await {
                Ok((link, stream)) => {
                    tracing::info!(coordinator = %self.url, worker = %link.worker, "joined");
                    complained = false;
                    if events.send(Event::Connected(link)).await.is_err() {
                        return;
                    }
                    if forward(stream, &events).await.is_err() {
                        return;
                    }
                    if events.send(Event::Disconnected).await.is_err() {
                        return;
                    }
                }
                Err(status) if is_final(&status) => {
                    let _ = events.send(Event::Refused(status)).await;
                    return;
                }
                Err(status) => {
                    if !complained {
                        tracing::warn!(coordinator = %self.url, reason = status.message(), "cannot join; trying again");
                        complained = true;
                    }
                }
            }
            if begun.elapsed() >= STEADY {
                backoff = Backoff::new();
            }
            tokio::select! {
                () = sleep(backoff.next_delay()) => {}
                () = events.closed() => return,
            }
        }
    }

    async fn open(&self) -> Result<(Link, tonic::Streaming<v1::WorkResponse>), Status> {
        let mut client = fleet_client(self.channel.clone());
        let joined = client
            .join(v1::JoinRequest {
                protocol_version: proto::PROTOCOL_VERSION,
                version: OUR_VERSION.to_owned(),
                worker: self.name.as_str().to_owned(),
                slots: self.slots,
            })
            .await?
            .into_inner();
        // A coordinator of another version may have let us in; then we have to know better.
        check_version(joined.protocol_version, ("coordinator", &joined.version), ("worker", OUR_VERSION))?;
        let worker = WorkerName::new(joined.worker).map_err(|error| Status::internal(error.to_string()))?;
        let (outbox, requests) = mpsc::channel(OUTBOX);
        let link = Link { worker, outbox };
        link.send(v1::work_request::Message::Open(v1::Open {
            worker: link.worker.as_str().to_owned(),
            slots: self.slots,
            version: OUR_VERSION.to_owned(),
        }));
        let stream = client.work(ReceiverStream::new(requests)).await?.into_inner();
        Ok((link, stream))
    }
}

/// Hands over what arrives until the stream ends; fails when nobody listens.
async fn forward(
    mut stream: impl Stream<Item = Result<v1::WorkResponse, Status>> + Unpin,
    events: &mpsc::Sender<Event>,
) -> Result<(), mpsc::error::SendError<Event>> {
    use futures::StreamExt as _;
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = events.closed() => {
                // The worker's last words are on their way; the coordinator ends the stream when it has heard them.
                let last = async { while stream.next().await.is_some() {} };
                let _ = tokio::time::timeout(LAST_WORDS, last).await;
                return Ok(());
            }
        };
        match next {
            Some(Ok(v1::WorkResponse { message: Some(message) })) => {
                events.send(Event::Message(message)).await?;
            }
            // A message of a later version that this one does not know.
            Some(Ok(v1::WorkResponse { message: None })) => {}
            Some(Err(status)) => {
                tracing::debug!(%status, "the stream broke");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

/// Whether trying again cannot help.
fn is_final(status: &Status) -> bool {
    match ErrorReason::of(status) {
        Some(_) => !is_transient(status),
        None => status.code() == Code::Unimplemented,
    }
}
