//! Connection to the coordinator: joins, opens the work stream, and joins again whenever it breaks.
//!
//! *Owns* the connection. The session receives [`Event`]s and sends through the latest [`Link`].

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use domain::api_server::ServerIdentity;
use domain::ids::WorkerName;
use domain::scanner::ScannerVersions;
use proto::channel::{Connection, CoordinatorAddress, Unreachable, connect, fleet_client};
use proto::convert::scanners_to_wire;
use proto::secret::SharedSecret;
use proto::status::{ErrorReason, check_version, explained, is_transient};
use proto::v1;

use crate::backoff::Backoff;

/// Version of this program, for logs and errors.
const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The role that a worker has to prove.
pub(crate) const ROLE: &str = "worker";

/// Messages to the coordinator that may queue for the stream.
const OUTBOX: usize = 64;

/// How long the closing of a stream may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that lasted this long resets the backoff.
const STEADY: Duration = Duration::from_secs(10);

/// Event of the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream is open; requests on an earlier one are void.
    Connected(Link),
    /// A message arrived on the stream.
    Message(v1::work_response::Message),
    /// The stream broke; another will be opened.
    Disconnected,
    /// The coordinator refuses this worker for good, or none can be reached before a setting is changed.
    Refused(Status),
}

/// Who this worker is to the coordinator since it joined last.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The name that the coordinator assigned to this worker.
    pub(crate) worker: WorkerName,
    /// Proves that a stream or a part is of this worker.
    pub(crate) session: SharedSecret,
}

impl Identity {
    /// Of a test, with a session that no coordinator checks.
    #[cfg(test)]
    pub(crate) fn of(worker: WorkerName) -> Self {
        Self { worker, session: SharedSecret::default() }
    }
}

/// Sender of an open stream.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) identity: Identity,
    outbox: mpsc::Sender<v1::WorkRequest>,
}

impl Link {
    /// A link whose messages the test receives.
    #[cfg(test)]
    pub(crate) fn of(worker: WorkerName, outbox: mpsc::Sender<v1::WorkRequest>) -> Self {
        Self { identity: Identity::of(worker), outbox }
    }

    /// Sends a message. One is dropped where the stream is broken or stuck: both end in a new stream, on which the
    /// session reports its whole state.
    pub(crate) fn send(&self, message: v1::work_request::Message) {
        if self.outbox.try_send(v1::WorkRequest { message: Some(message) }).is_err() {
            tracing::debug!("dropped a message: the stream is broken or stuck");
        }
    }
}

/// What this worker can do that not every worker can: it is leased no shard that needs more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abilities {
    /// The API server that it can ask.
    pub(crate) server: Option<ServerIdentity>,
    /// Names of the programs that it can start.
    pub(crate) programs: Vec<String>,
    /// The scanners that it can start.
    pub(crate) scanners: ScannerVersions,
}

/// Addresses of coordinators, and what to join with.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    connection: Connection,
    address: CoordinatorAddress,
    name: WorkerName,
    slots: u32,
    abilities: Abilities,
}

impl Remote {
    /// Does not connect yet.
    pub(crate) fn new(
        address: CoordinatorAddress,
        name: WorkerName,
        slots: u32,
        abilities: Abilities,
    ) -> Self {
        Self { connection: connect(&address), address, name, slots, abilities }
    }

    /// Connection to the coordinator, shared with other calls.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Keeps a stream open and reports its events, until the receiver is dropped or the coordinator refuses for good. After
    /// a coordinator was joined, one whose certificate cannot be used is tried again: it may get a new one.
    pub(crate) async fn keep_open(self, events: mpsc::Sender<Event>) {
        let short = || Backoff::for_coordinators(self.address.has_several());
        let mut backoff = short();
        let (mut joined, mut warned) = (false, false);
        loop {
            let started = Instant::now();
            match self.open().await {
                Ok((link, stream)) => {
                    tracing::info!(coordinator = self.address.reached(), worker = %link.identity.worker, "joined");
                    (joined, warned) = (true, false);
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
                Err(status) if is_final(&status) || (!joined && is_unusable(&status)) => {
                    let _ = events.send(Event::Refused(status)).await;
                    return;
                }
                Err(status) => {
                    if !warned {
                        warn_of(&self.address, &status);
                        warned = true;
                    }
                }
            }
            if started.elapsed() >= STEADY {
                backoff = short();
            }
            tokio::select! {
                () = sleep(backoff.next_delay()) => {}
                () = events.closed() => return,
            }
        }
    }

    async fn open(&self) -> Result<(Link, tonic::Streaming<v1::WorkResponse>), Status> {
        let mut client = fleet_client(self.connection.clone());
        let joined = client
            .join(v1::JoinRequest {
                protocol_version: proto::PROTOCOL_VERSION,
                version: OUR_VERSION.to_owned(),
                worker: self.name.as_str().to_owned(),
                slots: self.slots,
            })
            .await?
            .into_inner();
        // A coordinator of another version may have admitted this worker, so the worker checks too.
        check_version(joined.protocol_version, ("coordinator", &joined.version), ("worker", OUR_VERSION))?;
        let worker = WorkerName::new(joined.worker).map_err(|error| Status::internal(error.to_string()))?;
        let session = SharedSecret::from_slice(&joined.session)
            .ok_or_else(|| Status::internal("the coordinator sent a session of the wrong length"))?;
        let (outbox, requests) = mpsc::channel(OUTBOX);
        let link = Link { identity: Identity { worker, session }, outbox };
        link.send(v1::work_request::Message::Open(v1::Open {
            worker: link.identity.worker.as_str().to_owned(),
            slots: self.slots,
            version: OUR_VERSION.to_owned(),
            session: session.expose().to_vec(),
            api_server: self.abilities.server.as_ref().map(Into::into),
            programs: self.abilities.programs.clone(),
            scanners: scanners_to_wire(&self.abilities.scanners),
        }));
        let stream = client.work(ReceiverStream::new(requests)).await?.into_inner();
        Ok((link, stream))
    }
}

/// Forwards the messages of a stream until it ends; fails when the receiver is dropped.
async fn forward(
    mut stream: impl Stream<Item = Result<v1::WorkResponse, Status>> + Unpin,
    events: &mpsc::Sender<Event>,
) -> Result<(), mpsc::error::SendError<Event>> {
    use futures::StreamExt as _;
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = events.closed() => {
                // The worker's last messages are in flight; the coordinator ends the stream when it has received them.
                let last = async { while stream.next().await.is_some() {} };
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, last).await;
                return Ok(());
            }
        };
        match next {
            Some(Ok(v1::WorkResponse { message: Some(message) })) => {
                events.send(Event::Message(message)).await?;
            }
            // A message of a later protocol version.
            Some(Ok(v1::WorkResponse { message: None })) => {}
            Some(Err(status)) => {
                tracing::debug!(%status, "the stream broke");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

/// Whether a retry cannot succeed.
fn is_final(status: &Status) -> bool {
    match ErrorReason::of(status) {
        Some(_) => !is_transient(status),
        None => status.code() == Code::Unimplemented,
    }
}

/// Whether no address can be connected to before a setting or a certificate is changed.
fn is_unusable(status: &Status) -> bool {
    Unreachable::of(status).is_some_and(Unreachable::is_final)
}

fn warn_of(address: &CoordinatorAddress, status: &Status) {
    let remedy = Unreachable::of(status).map(|unreachable| unreachable.remedy(ROLE));
    let reason = explained(status);
    tracing::warn!(coordinator = %address, reason, remedy, "cannot join the coordinator; retrying");
}
