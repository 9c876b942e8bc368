//! The line to the coordinator: one stream for all questions of this worker, opened when there is one, opened again
//! whenever it breaks.

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
use proto::channel::fleet_client;
use proto::convert::{Asked, Ended};
use proto::v1;
use proto::v1::ask_request::Message as Request;

use super::book::{Book, Said};
use crate::backoff::Backoff;

/// Orders to the line's task that may wait.
const ORDERS: usize = 1024;

/// Messages that may wait for the link. A link that is this far behind is opened again.
const OUTBOX: usize = 16 << 10;

/// A stream that lasted this long starts the backoff afresh.
const STEADY: Duration = Duration::from_secs(10);

/// How long calls that are under way may take when the worker ends.
const LAST_CALLS: Duration = Duration::from_secs(60);

enum Order {
    Ask(Asked, mpsc::Sender<Said>),
    Ended(Box<Ended>),
    Withdraw(u64),
    Close(String),
}

/// The way to the line's task; cheap to clone.
#[derive(Clone)]
pub(crate) struct Line {
    orders: mpsc::Sender<Order>,
    numbers: Arc<AtomicU64>,
    calls: TaskTracker,
    resting: Arc<AtomicUsize>,
    /// Told whenever a question waits for leave no more.
    engaged: Arc<Notify>,
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
pub(super) struct Open {
    line: Line,
    number: u64,
    said: Option<mpsc::Receiver<Said>>,
}

impl Line {
    /// A line over `channel`, once `name` holds the name that the coordinator gave. Its task ends when every line of it
    /// is gone and nothing is open.
    pub(crate) fn start(
        channel: Channel,
        name: watch::Receiver<Option<WorkerName>>,
    ) -> (Self, JoinHandle<()>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let task = tokio::spawn(Task { channel, name, inbox, book: Book::default() }.run());
        (
            Self {
                orders,
                numbers: Arc::default(),
                calls: TaskTracker::new(),
                resting: Arc::default(),
                engaged: Arc::default(),
            },
            task,
        )
    }

    /// No question waits from now on: what waits is told `why`. Calls under way go on.
    pub(crate) async fn close(&self, why: &str) {
        // A task that has ended has nothing that waits.
        let _ = self.orders.send(Order::Close(why.to_owned())).await;
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
        self.engaged.notify_one();
        call
    }

    /// Waits before a question is asked again.
    pub(super) async fn rest(&self, pause: Duration) {
        let _resting = Counted::new(&self.resting);
        self.engaged.notify_one();
        sleep(pause).await;
    }

    /// Questions that do not wait for leave: their calls are under way, or they rest before the next try.
    pub(crate) fn engaged(&self) -> usize {
        self.calls.len() + self.resting.load(Ordering::Relaxed)
    }

    /// Returns when there was one more of them since the last time.
    pub(crate) async fn engages(&self) {
        self.engaged.notified().await;
    }

    /// Asks; `asked` fills in the number.
    pub(super) async fn ask(&self, asked: impl FnOnce(u64) -> Asked) -> Open {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // Leave, and what the call came to.
        let (ear, said) = mpsc::channel(2);
        // The ear goes with an order that nobody takes: the question hears that it was stopped.
        let _ = self.orders.send(Order::Ask(asked(number), ear)).await;
        Open { line: self.clone(), number, said: Some(said) }
    }
}

impl Open {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// What the coordinator says next.
    pub(super) async fn said(&mut self) -> Said {
        let gone = || Said::Stopped("the worker is ending".to_owned());
        let Some(ear) = &mut self.said else { return gone() };
        let said = ear.recv().await.unwrap_or_else(gone);
        if !matches!(said, Said::Go(_)) {
            self.said = None;
        }
        said
    }

    /// The call has ended.
    pub(super) async fn ended(&self, ended: Ended) {
        let _ = self.line.orders.send(Order::Ended(Box::new(ended))).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.said.is_some() {
            // Not heard, it is withdrawn when leave comes.
            let _ = self.line.orders.try_send(Order::Withdraw(self.number));
        }
    }
}

/// Whether the line goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    End,
}

struct Task {
    channel: Channel,
    name: watch::Receiver<Option<WorkerName>>,
    inbox: mpsc::Receiver<Order>,
    book: Book,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            while self.book.is_empty() {
                let Some(order) = self.inbox.recv().await else { return };
                self.take(order);
            }
            let begun = Instant::now();
            match self.open().await {
                Ok((outbox, stream)) => {
                    if self.talk(outbox, stream).await == Next::End {
                        return;
                    }
                }
                Err(error) => tracing::debug!(error, "no line to the coordinator's budget"),
            }
            if begun.elapsed() >= STEADY {
                backoff = Backoff::new();
            }
            if self.rest(backoff.next_delay()).await == Next::End {
                return;
            }
        }
    }

    /// Waits, and takes orders meanwhile.
    async fn rest(&mut self, delay: Duration) -> Next {
        let pause = sleep(delay);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return Next::Again,
                order = self.inbox.recv() => match order {
                    Some(order) => drop(self.take(order)),
                    None => return Next::End,
                },
            }
        }
    }

    /// Opens a stream and tells it everything.
    async fn open(&mut self) -> Result<(mpsc::Sender<v1::AskRequest>, Streaming<v1::AskResponse>), String> {
        let worker = match self.name.wait_for(Option::is_some).await.map(|name| name.clone()) {
            Ok(Some(name)) => name.to_string(),
            _ => return Err("the worker never joined".to_owned()),
        };
        let (outbox, requests) = mpsc::channel(OUTBOX);
        let told = std::iter::once(Request::Open(v1::AskOpen { worker })).chain(self.book.all());
        for message in told {
            send(&outbox, message)?;
        }
        let mut client = fleet_client(self.channel.clone());
        let stream = client.ask(ReceiverStream::new(requests)).await;
        let stream = stream.map_err(|status| status.message().to_owned())?.into_inner();
        Ok((outbox, stream))
    }

    /// Talks until the stream breaks.
    async fn talk(
        &mut self,
        outbox: mpsc::Sender<v1::AskRequest>,
        mut stream: Streaming<v1::AskResponse>,
    ) -> Next {
        loop {
            let messages = tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(order) => self.take(order),
                    None => return Next::End,
                },
                response = stream.message() => match response {
                    Ok(Some(v1::AskResponse { message: Some(message) })) => {
                        self.book.hear(message, Instant::now()).into_iter().collect()
                    }
                    // Of a later version.
                    Ok(Some(v1::AskResponse { message: None })) => continue,
                    Ok(None) => return Next::Again,
                    Err(status) => {
                        tracing::debug!(%status, "the line to the coordinator's budget broke");
                        return Next::Again;
                    }
                },
            };
            for message in messages {
                if let Err(why) = send(&outbox, message) {
                    tracing::warn!(why, "opening the line to the coordinator's budget again");
                    return Next::Again;
                }
            }
        }
    }

    fn take(&mut self, order: Order) -> Vec<Request> {
        match order {
            Order::Ask(asked, ear) => self.book.ask(asked, ear).into_iter().collect(),
            Order::Ended(ended) => vec![self.book.ended(*ended)],
            Order::Withdraw(number) => self.book.withdraw(number).into_iter().collect(),
            Order::Close(why) => self.book.close(&why),
        }
    }
}

fn send(outbox: &mpsc::Sender<v1::AskRequest>, message: Request) -> Result<(), String> {
    let sent = outbox.try_send(v1::AskRequest { message: Some(message) });
    sent.map_err(|_| "the link is broken or stuck".to_owned())
}
