//! The line to the coordinator: one stream for all questions of this worker, opened when there is one, opened again
//! whenever it breaks.
//!
//! What has to be sent waits in the [`PendingRequests`] until the link takes it; meanwhile responses are read, so that neither end
//! waits for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Streaming;
use tonic::transport::Channel;

use domain::ids::WorkerName;
use proto::channel::{OPEN_QUESTIONS, fleet_client};
use proto::convert::{AcquireCall, CallResult};
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;

use super::pending::{GatewayEvent, PendingRequests};
use crate::backoff::Backoff;

/// Orders to the line's task that may wait.
const COMMANDS: usize = 1024;

/// Messages that may wait for the link; the others wait in the pending.
const OUTBOX: usize = 256;

/// A stream that lasted this long starts the backoff afresh.
const STEADY: Duration = Duration::from_secs(10);

/// How long calls that are under way may take when the worker ends.
const LAST_CALLS: Duration = Duration::from_secs(60);

enum Command {
    Ask(AcquireCall, mpsc::Sender<GatewayEvent>),
    CallResult(Box<CallResult>),
    CancelCall(u64),
    Close(String),
}

/// The way to the line's task; cheap to clone.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    commands: mpsc::Sender<Command>,
    numbers: Arc<AtomicU64>,
    calls: TaskTracker,
    resting: Arc<AtomicUsize>,
    /// Told whenever a question waits for leave no more.
    calls_in_progress: Arc<Notify>,
}

/// Counts as long as it lives.
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

/// An open question; dropped before it is settled, it is withdrawn.
pub(super) struct OpenRequest {
    gateway: GatewayClient,
    number: u64,
    said: Option<mpsc::Receiver<GatewayEvent>>,
}

impl GatewayClient {
    /// A line over `channel`, once `name` holds the name that the coordinator gave. Its task ends when every line of it
    /// is gone and nothing is open.
    pub(crate) fn start(
        channel: Channel,
        name: watch::Receiver<Option<WorkerName>>,
    ) -> (Self, JoinHandle<()>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let task = tokio::spawn(
            StreamTask {
                channel,
                name,
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
                resting: Arc::default(),
                calls_in_progress: Arc::default(),
            },
            task,
        )
    }

    /// No question waits from now on: what waits is told `why`. Calls under way go on.
    pub(crate) async fn close(&self, why: &str) {
        // A task that has ended has nothing that waits.
        let _ = self.commands.send(Command::Close(why.to_owned())).await;
    }

    /// Returns when no call is under way any more, or has taken too long.
    pub(crate) async fn calls_end(&self) {
        self.calls.close();
        if tokio::time::timeout(LAST_CALLS, self.calls.wait()).await.is_err() {
            tracing::warn!("calls to the model are still under way: their answers are lost");
        }
    }

    /// Does a call, whoever waits for it: what is paid for has to be kept.
    pub(super) fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let call = self.calls.spawn(call);
        self.calls_in_progress.notify_one();
        call
    }

    /// Waits before a question is asked again.
    pub(super) async fn rest(&self, pause: Duration) {
        let _resting = Counted::new(&self.resting);
        self.calls_in_progress.notify_one();
        sleep(pause).await;
    }

    /// Questions that do not wait for leave: their calls are under way, or they rest before the next try.
    pub(crate) fn calls_in_progress(&self) -> usize {
        self.calls.len() + self.resting.load(Ordering::Relaxed)
    }

    /// Returns when there was one more of them since the last time.
    pub(crate) async fn call_started(&self) {
        self.calls_in_progress.notified().await;
    }

    /// Asks; `asked` fills in the number.
    pub(super) async fn ask(&self, asked: impl FnOnce(u64) -> AcquireCall) -> OpenRequest {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // Leave, and what the call came to.
        let (events, said) = mpsc::channel(2);
        // The events goes with an command that nobody takes: the question hears that it was stopped.
        let _ = self.commands.send(Command::Ask(asked(number), events)).await;
        OpenRequest { gateway: self.clone(), number, said: Some(said) }
    }
}

impl OpenRequest {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// What the coordinator says next.
    pub(super) async fn next_event(&mut self) -> GatewayEvent {
        let gone = || GatewayEvent::Stopped("the worker is ending".to_owned());
        let Some(events) = &mut self.said else { return gone() };
        let said = events.recv().await.unwrap_or_else(gone);
        if !matches!(said, GatewayEvent::CallPermit(_)) {
            self.said = None;
        }
        said
    }

    /// The call has ended.
    pub(super) async fn ended(&self, ended: CallResult) {
        let _ = self.gateway.commands.send(Command::CallResult(Box::new(ended))).await;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.said.is_some() {
            // Not heard, it is withdrawn when leave comes.
            let _ = self.gateway.commands.try_send(Command::CancelCall(self.number));
        }
    }
}

/// Failures of the stream in a row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failures(u32);

impl Failures {
    /// One more; whether a person should know now: one failure may be a coordinator that starts again.
    fn add(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == 2
    }

    /// The stream works; whether a person was told that it did not.
    fn end(&mut self) -> bool {
        std::mem::take(&mut self.0) >= 2
    }
}

type Opened = (mpsc::Sender<v1::LlmCallsRequest>, Streaming<v1::LlmCallsResponse>);

/// Opens a stream.
async fn open(channel: Channel, mut name: watch::Receiver<Option<WorkerName>>) -> Result<Opened, String> {
    let worker = match name.wait_for(Option::is_some).await.map(|name| name.clone()) {
        Ok(Some(name)) => name.to_string(),
        _ => return Err("the worker never joined".to_owned()),
    };
    let (outbox, requests) = mpsc::channel(OUTBOX);
    let open = v1::LlmCallsRequest { message: Some(Request::Open(v1::LlmCallsOpen { worker })) };
    outbox.send(open).await.map_err(|error| error.to_string())?;
    let stream = fleet_client(channel).llm_calls(ReceiverStream::new(requests)).await;
    Ok((outbox, stream.map_err(|status| status.message().to_owned())?.into_inner()))
}

struct StreamTask {
    channel: Channel,
    name: watch::Receiver<Option<WorkerName>>,
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
            let opening = open(self.channel.clone(), self.name.clone());
            let Some(opened) = self.take_orders_during(opening).await else { return };
            let begun = Instant::now();
            let reason = match opened {
                Ok(opened) => self.talk(opened).await,
                Err(reason) => Some(reason),
            };
            let Some(reason) = reason else { return };
            if begun.elapsed() >= STEADY {
                backoff = Backoff::new();
                self.failures.end();
            }
            if self.failures.add() {
                tracing::warn!(reason, "no line to the coordinator for questions to a model; trying again");
            } else {
                tracing::debug!(reason, "no line to the coordinator for questions to a model");
            }
            if self.take_orders_during(sleep(backoff.next_delay())).await.is_none() {
                return;
            }
        }
    }

    /// Takes commands until `waited` is there; `None`: there will be no more commands.
    async fn take_orders_during<T>(&mut self, waited: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(waited);
        loop {
            tokio::select! {
                done = &mut waited => return Some(done),
                command = self.inbox.recv() => self.take(command?),
            }
        }
    }

    /// Talks until the stream breaks, and gives why; `None`: there will be no more commands.
    async fn talk(&mut self, (outbox, mut stream): Opened) -> Option<String> {
        self.pending.begin_stream();
        loop {
            tokio::select! {
                command = self.inbox.recv() => self.take(command?),
                room = outbox.reserve(), if self.pending.has_message() => match room {
                    Ok(room) => {
                        if let Some(message) = self.pending.next_message() {
                            room.send(v1::LlmCallsRequest { message: Some(message) });
                        }
                    }
                    Err(_) => return Some("the link is broken".to_owned()),
                },
                response = stream.message() => match response {
                    Ok(Some(response)) => {
                        if self.failures.end() {
                            tracing::info!("the line to the coordinator for questions to a model is open again");
                        }
                        // No message: of a later version.
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
            Command::Ask(asked, events) => self.pending.ask(asked, events),
            Command::CallResult(ended) => self.pending.ended(*ended),
            Command::CancelCall(number) => self.pending.withdraw(number),
            Command::Close(why) => self.pending.close(&why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_once_of_failures_in_a_row() {
        let mut failures = Failures::default();
        assert!(!failures.end() && !failures.add(), "one may be a coordinator that starts again");
        assert!(!failures.end(), "nothing was said");
        assert_eq!([(); 4].map(|()| failures.add()), [false, true, false, false]);
        assert!(failures.end() && !failures.end());
        assert!(!failures.add() && failures.add());
    }
}
