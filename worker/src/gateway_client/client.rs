//! The client of the gateway's stream: one stream for all call requests of this worker, opened on the first request and
//! reopened whenever it breaks.
//!
//! Messages queue in [`PendingRequests`] until the stream accepts them; responses are read meanwhile, so that the two
//! ends cannot block each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use proto::channel::{Connection, OPEN_QUESTIONS, fleet_client};
use proto::convert::{AcquireCall, CallResult, Ticket};
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;

use super::pending::{GatewayEvent, PendingRequests};
use crate::backoff::Backoff;
use crate::remote::Identity;

/// Commands that may queue for the stream's task.
const COMMANDS: usize = 1024;

/// Messages that may queue for the stream; further ones stay in [`PendingRequests`].
const OUTBOX: usize = 256;

/// A stream that lasted this long resets the backoff.
const STEADY: Duration = Duration::from_secs(10);

/// How long calls in progress may take when the worker ends.
const LAST_CALLS: Duration = Duration::from_secs(60);

enum Command {
    AcquireCall(AcquireCall, mpsc::Sender<GatewayEvent>),
    CallResult(Box<CallResult>),
    CancelCall(u64),
    Close(String),
}

/// Handle of the stream's task; cheap to clone.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    commands: mpsc::Sender<Command>,
    numbers: Arc<AtomicU64>,
    calls: TaskTracker,
    /// Requests that wait before a retry.
    retrying: Arc<AtomicUsize>,
    /// Notified whenever a request stops waiting for a permit.
    started: Arc<Notify>,
}

/// Counts one more until it is dropped.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open request; dropped before it is settled, it is cancelled.
pub(super) struct OpenRequest {
    gateway: GatewayClient,
    number: u64,
    /// `None` once it is settled.
    events: Option<mpsc::Receiver<GatewayEvent>>,
}

impl GatewayClient {
    /// A client over `connection`, which connects once `identity` holds the name and session that the coordinator
    /// assigned. Its task ends when every handle is dropped.
    pub(crate) fn start(
        connection: Connection,
        identity: watch::Receiver<Option<Identity>>,
    ) -> (Self, JoinHandle<()>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let task = tokio::spawn(
            StreamTask {
                connection,
                identity,
                inbox,
                pending: PendingRequests::new(OPEN_QUESTIONS),
                failures: Failures::default(),
            }
            .run(),
        );
        (
            Self {
                commands,
                numbers: Arc::default(),
                calls: TaskTracker::new(),
                retrying: Arc::default(),
                started: Arc::default(),
            },
            task,
        )
    }

    /// Stops every request that waits for a permit, now and later, for the reason `why`. Calls in progress go on.
    pub(crate) async fn close(&self, why: &str) {
        // A task that has ended has no requests.
        let _ = self.commands.send(Command::Close(why.to_owned())).await;
    }

    /// Returns when no call is in progress, or the last ones have taken too long.
    pub(crate) async fn wait_for_calls(&self) {
        self.calls.close();
        if tokio::time::timeout(LAST_CALLS, self.calls.wait()).await.is_err() {
            tracing::warn!(
                "LLM calls are still in progress after a minute: giving up on them, their responses are lost"
            );
        }
    }

    /// Makes a call in a task of its own, which ends also when the caller is dropped: a paid response has to be
    /// persisted.
    pub(super) fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let call = self.calls.spawn(call);
        self.started.notify_one();
        call
    }

    /// Waits before a retry.
    pub(super) async fn wait_to_retry(&self, pause: Duration) {
        let _retrying = Counted::new(&self.retrying);
        self.started.notify_one();
        sleep(pause).await;
    }

    /// Requests that do not wait for a permit: their calls are in progress, or they wait before a retry.
    pub(crate) fn calls_in_progress(&self) -> usize {
        self.calls.len() + self.retrying.load(Ordering::Relaxed)
    }

    /// Returns when [`calls_in_progress`](Self::calls_in_progress) has grown since the last call.
    pub(crate) async fn call_started(&self) {
        self.started.notified().await;
    }

    /// Requests a permit; `request` takes the number.
    pub(super) async fn acquire(&self, request: impl FnOnce(u64) -> AcquireCall) -> OpenRequest {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // The permit, and the acknowledgement of the result.
        let (sender, events) = mpsc::channel(2);
        // A task that has ended drops the sender, which the request reads as stopped.
        let _ = self.commands.send(Command::AcquireCall(request(number), sender)).await;
        OpenRequest { gateway: self.clone(), number, events: Some(events) }
    }
}

impl OpenRequest {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The next event of the request.
    pub(super) async fn next_event(&mut self) -> GatewayEvent {
        let stopped = || GatewayEvent::Stopped("the worker is ending".to_owned());
        let Some(events) = &mut self.events else { return stopped() };
        let event = events.recv().await.unwrap_or_else(stopped);
        if !matches!(event, GatewayEvent::CallPermit(_)) {
            self.events = None;
        }
        event
    }

    /// Sends the result of the call.
    pub(super) async fn send_result(&self, result: CallResult) {
        let _ = self.gateway.commands.send(Command::CallResult(Box::new(result))).await;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.events.is_some() {
            // Where the command queue is full, the request is cancelled when its permit arrives.
            let _ = self.gateway.commands.try_send(Command::CancelCall(self.number));
        }
    }
}

/// Failures of the stream in a row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failures(u32);

impl Failures {
    /// Counts a failure; returns whether to warn now: a single failure may be a coordinator that restarts.
    fn add(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == 2
    }

    /// Resets the count; returns whether there was a warning.
    fn end(&mut self) -> bool {
        std::mem::take(&mut self.0) >= 2
    }
}

type OpenStream = (mpsc::Sender<v1::LlmCallsRequest>, Streaming<v1::LlmCallsResponse>);

/// Opens the LLM call stream; waits for the name that the coordinator assigns. `resume`: the ticket of the last stream.
async fn open(
    connection: Connection,
    mut identity: watch::Receiver<Option<Identity>>,
    resume: Option<Ticket>,
) -> Result<OpenStream, String> {
    let joined = identity.wait_for(Option::is_some).await.map(|identity| identity.clone());
    let Ok(Some(Identity { worker, session })) = joined else {
        return Err("the worker has not joined".to_owned());
    };
    let (outbox, requests) = mpsc::channel(OUTBOX);
    let (session, resume) = (session.expose().to_vec(), Ticket::to_wire(resume));
    let open = v1::LlmCallsOpen { worker: worker.into(), session, resume };
    let open = v1::LlmCallsRequest { message: Some(Request::Open(open)) };
    outbox.send(open).await.map_err(|error| error.to_string())?;
    let stream = fleet_client(connection).llm_calls(ReceiverStream::new(requests)).await;
    Ok((outbox, stream.map_err(|status| status.message().to_owned())?.into_inner()))
}

struct StreamTask {
    connection: Connection,
    identity: watch::Receiver<Option<Identity>>,
    inbox: mpsc::Receiver<Command>,
    pending: PendingRequests,
    failures: Failures,
}

impl StreamTask {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            while self.pending.is_empty() {
                let Some(command) = self.inbox.recv().await else { return };
                self.take(command);
            }
            self.identity.mark_unchanged();
            let opening = open(self.connection.clone(), self.identity.clone(), self.pending.resume());
            let Some(opened) = self.take_commands_during(opening).await else { return };
            let begun = Instant::now();
            let reason = match opened {
                Ok(opened) => self.run_stream(opened).await,
                Err(reason) => Some(reason),
            };
            let Some(reason) = reason else { return };
            if begun.elapsed() >= STEADY {
                backoff = Backoff::new();
                self.failures.end();
            }
            if self.failures.add() {
                tracing::warn!(reason, "cannot keep the LLM call stream to the coordinator open; retrying");
            } else {
                tracing::debug!(reason, "the LLM call stream to the coordinator ended");
            }
            // Once joined again, at this coordinator or another one, the stream can be opened at once.
            let mut rejoined = self.identity.clone();
            let delay = backoff.next_delay();
            let pause = async move {
                tokio::select! {
                    () = sleep(delay) => {}
                    Ok(()) = rejoined.changed() => {}
                }
            };
            if self.take_commands_during(pause).await.is_none() {
                return;
            }
        }
    }

    /// Handles commands until `future` is ready; `None`: every handle is dropped.
    async fn take_commands_during<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Some(done),
                command = self.inbox.recv() => self.take(command?),
            }
        }
    }

    /// Sends and receives until the stream breaks, and returns why; `None`: every handle is dropped.
    async fn run_stream(&mut self, (outbox, mut stream): OpenStream) -> Option<String> {
        self.pending.begin_stream();
        loop {
            tokio::select! {
                command = self.inbox.recv() => self.take(command?),
                permit = outbox.reserve(), if self.pending.has_message() => match permit {
                    Ok(permit) => {
                        if let Some(message) = self.pending.next_message() {
                            permit.send(v1::LlmCallsRequest { message: Some(message) });
                        }
                    }
                    Err(_) => return Some("the stream is broken".to_owned()),
                },
                response = stream.message() => match response {
                    Ok(Some(response)) => {
                        if self.failures.end() {
                            tracing::info!("the LLM call stream to the coordinator is open again");
                        }
                        // `None`: a message of a later protocol version.
                        if let Some(message) = response.message {
                            self.pending.on_response(message, Instant::now());
                        }
                    }
                    Ok(None) => return Some("the coordinator ended the stream".to_owned()),
                    Err(status) => return Some(status.message().to_owned()),
                },
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::AcquireCall(request, events) => self.pending.acquire(request, events),
            Command::CallResult(result) => self.pending.on_result(*result),
            Command::CancelCall(number) => self.pending.cancel(number),
            Command::Close(why) => self.pending.close(&why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_warned_about_once() {
        let mut failures = Failures::default();
        assert!(!failures.end() && !failures.add(), "a single one may be a coordinator that restarts");
        assert!(!failures.end(), "there was no warning");
        assert_eq!([(); 4].map(|()| failures.add()), [false, true, false, false]);
        assert!(failures.end() && !failures.end());
        assert!(!failures.add() && failures.add());
    }
}
