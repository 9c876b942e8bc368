//! Client of the `Runs` service: submits a corpus, follows a run.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use domain::config::RunConfig;
use domain::ids::{RunId, WorkerName};
use domain::record::{Record, Slice, SourceDocument};
use proto::channel::{
    Access, Connection, CoordinatorAddress, Unreachable, connect, plain_text_warning, runs_client,
};
use proto::convert::{FRAME_BYTES, RunStatus, StoredRun, WorkerStatus, config_to_wire, frames};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::runs_client::RunsClient;
use proto::v1::submit_request::Message;

/// Capacity of the queue of messages to the connection.
const QUEUE: usize = 4;

/// Most records in a message.
const FRAME_RECORDS: usize = 1000;

/// A coordinator's client.
#[derive(Debug, Clone)]
pub struct Client {
    runs: RunsClient<Connection>,
    address: CoordinatorAddress,
    /// Whether a coordinator that was reached before is waited for when it is away.
    waits: bool,
}

/// Pause before the coordinator is asked again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long a standby may take to become the owner: the lease of the one before it, and a little more.
const TAKE_OVER: Duration = Duration::from_secs(15);

/// The role that a client has to prove.
const ROLE: &str = "operator or viewer";

/// Remedy where a connection broke.
const LOST_HINT: &str = "is it running? start it with `coordinator serve`, and check the address";

/// The connection to the coordinator is broken, or the coordinator ends: it, or another one, may answer later.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// At an address, or at one of several.
    #[error("cannot reach the coordinator at {0}")]
    At(String),
    /// None of several addresses can be connected to.
    #[error(transparent)]
    Everywhere(Unreachable),
}

/// Whether the connection broke, or the coordinator ended: what it was asked for may have been done.
pub(crate) fn is_lost(error: &anyhow::Error) -> bool {
    error.is::<Lost>()
}

/// A coordinator that may be away: says once that it is, and once that it answers again.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    reached: bool,
    is_lost: bool,
}

impl Patience {
    /// Takes an answer: `None` where the coordinator is away and was reached before, after a pause.
    pub(crate) async fn take<T>(&mut self, answer: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match answer {
            Ok(value) => {
                self.reached = true;
                if std::mem::take(&mut self.is_lost) {
                    cli_support::output::say("the coordinator answers again");
                }
                Ok(Some(value))
            }
            Err(error) if self.reached && error.is::<Lost>() => {
                if !std::mem::replace(&mut self.is_lost, true) {
                    cli_support::output::say(&format!("{error}; waiting for it, Ctrl-C ends that"));
                }
                tokio::time::sleep(RECONNECT_PAUSE).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A run to submit.
#[derive(Debug, Clone)]
pub struct Request {
    /// Id of the run.
    pub run_id: RunId,
    /// Configuration of the run.
    pub config: RunConfig,
    /// Source of the corpus, for display.
    pub source: String,
}

/// Reads a corpus: calls its argument with each record and its document.
pub type Reader<S> =
    Box<dyn FnOnce(&mut dyn FnMut(Record, SourceDocument) -> anyhow::Result<()>) -> anyhow::Result<S> + Send>;

impl Client {
    /// A client of the coordinator at `address`; connects at the first call.
    pub fn new(address: CoordinatorAddress) -> Self {
        Self { runs: runs_client(connect(&address)), address, waits: false }
    }

    /// A client of the coordinator at `url`, or at one of several addresses, which warns where that is plain text. Where none of
    /// several answers, the next owner may take over in a moment: it is waited for.
    ///
    /// # Errors
    /// When an address cannot be used, or none of several answers in time.
    pub async fn at(url: &str, access: &Access) -> anyhow::Result<Self> {
        let address = CoordinatorAddress::parse(url, access)?;
        if address.is_plain_text() {
            cli_support::output::say(&plain_text_warning(&address));
        }
        let mut client = Self { waits: true, ..Self::new(address) };
        client.wait_for_owner().await?;
        Ok(client)
    }

    /// Waits while none of several addresses can be connected to, which is so while another coordinator takes over.
    async fn wait_for_owner(&mut self) -> anyhow::Result<()> {
        let (begun, mut said) = (Instant::now(), false);
        while self.address.has_several()
            && let Err(error) = self.list().await
        {
            // Any other error is that of the command itself, too.
            let Some(Lost::Everywhere(unreachable)) = error.downcast_ref() else { return Ok(()) };
            if unreachable.is_final() || begun.elapsed() > TAKE_OVER {
                return Err(error);
            }
            if !std::mem::replace(&mut said, true) {
                let seconds = TAKE_OVER.as_secs();
                cli_support::output::say(&format!(
                    "no coordinator answers; waiting {seconds} s for one to take over"
                ));
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
        Ok(())
    }

    /// Sends the corpus that `read` produces. Returns the run's status, whether the run existed, and the result of `read`.
    pub async fn submit<S: Send + 'static>(
        &mut self,
        request: Request,
        read: Reader<S>,
    ) -> anyhow::Result<(RunStatus, bool, S)> {
        let (messages, queue) = mpsc::channel(QUEUE);
        let header = v1::SubmitHeader {
            run_id: request.run_id.to_string(),
            config_json: config_to_wire(&request.config),
            source: request.source,
        };
        let reading = tokio::task::spawn_blocking(move || {
            let mut outbox = Outbox { messages, slice: Slice::default(), bytes: 0, records: 0 };
            outbox.send(Message::Header(header))?;
            let summary = read(&mut |record, document| outbox.put(record, document))?;
            outbox.flush()?;
            outbox.send(Message::End(v1::SubmitEnd { records: outbox.records }))?;
            anyhow::Ok(summary)
        });
        let answer = self.runs.submit(ReceiverStream::new(queue)).await;
        let read = reading.await.context("the corpus's reader ended early")?;
        // Where the reader failed because the coordinator closed the stream, report the coordinator's reason.
        let answer = match (answer, read) {
            (Ok(answer), Ok(summary)) => (answer.into_inner(), summary),
            (_, Err(error)) if !error.is::<StreamClosed>() => {
                return Err(error.context("cannot read the corpus"));
            }
            (Err(status), _) => return Err(self.failed(&status)),
            (Ok(_), Err(error)) => return Err(error),
        };
        let (answer, summary) = answer;
        let status = RunStatus::try_from(answer.status.unwrap_or_default())?;
        Ok((status, answer.existed, summary))
    }

    /// Status of a run.
    pub async fn status(&mut self, run_id: &RunId) -> anyhow::Result<RunStatus> {
        let answer = self.runs.get(v1::GetRequest { run_id: run_id.to_string() }).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    /// Every run, oldest first.
    pub async fn list(&mut self) -> anyhow::Result<Vec<RunStatus>> {
        let answer = self.runs.list(v1::ListRequest {}).await.map_err(|status| self.failed(&status))?;
        answer.into_inner().runs.into_iter().map(|status| Ok(status.try_into()?)).collect()
    }

    /// Stops a run.
    pub async fn cancel(&mut self, run_id: &RunId) -> anyhow::Result<RunStatus> {
        let answer = self.runs.cancel(v1::CancelRequest { run_id: run_id.to_string() }).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    /// The connected workers.
    pub async fn workers(&mut self) -> anyhow::Result<Vec<WorkerStatus>> {
        let answer = self.runs.list_workers(v1::ListWorkersRequest {}).await;
        let workers = answer.map_err(|status| self.failed(&status))?.into_inner().workers;
        workers.into_iter().map(|worker| Ok(worker.try_into()?)).collect()
    }

    /// Drains a worker: it finishes its work and ends.
    pub async fn drain_worker(&mut self, worker: &WorkerName) -> anyhow::Result<WorkerStatus> {
        let answer = self.runs.drain_worker(v1::DrainWorkerRequest { worker: worker.to_string() }).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    /// Every run with its size on disk, oldest first.
    pub async fn inventory(&mut self) -> anyhow::Result<Vec<StoredRun>> {
        let answer = self.runs.inventory(v1::InventoryRequest {}).await;
        let runs = answer.map_err(|status| self.failed(&status))?.into_inner().runs;
        runs.into_iter().map(|run| Ok(run.try_into()?)).collect()
    }

    /// Removes a run that has ended.
    pub async fn remove(&mut self, run_id: &RunId) -> anyhow::Result<()> {
        let answer = self.runs.remove(v1::RemoveRequest { run_id: run_id.to_string() }).await;
        answer.map(drop).map_err(|status| self.failed(&status))
    }

    /// Follows a run to its end; calls `each` with every status on the way. A coordinator at a URL that was reached before is
    /// waited for when it is away.
    pub async fn follow(
        &mut self,
        run_id: &RunId,
        mut each: impl FnMut(&RunStatus),
    ) -> anyhow::Result<RunStatus> {
        let mut patience = Patience::default();
        loop {
            let watched = self.watch(run_id).await;
            let Some(mut states) = (if self.waits { patience.take(watched).await? } else { Some(watched?) })
            else {
                continue;
            };
            loop {
                let next = match states.next().await {
                    Some(Ok(state)) => Ok(RunStatus::try_from(state)?),
                    Some(Err(refusal)) => Err(self.failed(&refusal)),
                    None => Err(anyhow::Error::from(Lost::At(self.address.to_string()))
                        .context(format!("the coordinator ended before run {run_id} did"))),
                };
                let next = if self.waits { patience.take(next).await? } else { Some(next?) };
                let Some(run) = next else { break };
                each(&run);
                if run.state.has_ended() {
                    return Ok(run);
                }
            }
        }
    }

    async fn watch(&mut self, run_id: &RunId) -> anyhow::Result<Streaming<v1::RunStatus>> {
        let answer = self.runs.watch(v1::WatchRequest { run_id: run_id.to_string() }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failed(&status))
    }

    fn failed(&self, status: &Status) -> anyhow::Error {
        let explained = || anyhow::anyhow!("{}", proto::status::explained(status));
        let lost = || Lost::At(self.address.to_string());
        match ErrorReason::of(status) {
            Some(ErrorReason::Draining) => return explained().context(lost()),
            Some(_) => return explained(),
            // Not an error of the coordinator: there is no connection, or it broke.
            None => {}
        }
        let unreachable = Unreachable::of(status);
        let (error, lost) = match unreachable.map(|unreachable| (unreachable, unreachable.only_cause())) {
            Some((_, Some(cause))) => (anyhow::anyhow!("{cause}"), lost()),
            Some((several, None)) => (anyhow::anyhow!("{several}"), Lost::Everywhere(several.clone())),
            None => (explained(), lost()),
        };
        let remedy = unreachable.map_or_else(|| LOST_HINT.to_owned(), |unreachable| unreachable.remedy(ROLE));
        let Err(error) = Err::<Infallible, _>(error).hint(remedy);
        // Outermost, where `Patience` looks for it.
        error.context(lost)
    }
}

/// The coordinator closed the stream; its reply holds the reason.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator closed the stream")]
struct StreamClosed;

/// Batches records into messages of about a MiB.
struct Outbox {
    messages: mpsc::Sender<v1::SubmitRequest>,
    slice: Slice,
    bytes: usize,
    records: u64,
}

impl Outbox {
    fn put(&mut self, record: Record, document: SourceDocument) -> anyhow::Result<()> {
        self.bytes += record.violation_text.len() + record.manifest_path.len() + 128;
        // Records of one document are usually adjacent: it is enough to compare with the last few documents.
        let known = self.slice.documents.iter().rev().take(8).any(|known| known.hash == document.hash);
        if !known {
            self.bytes += document.text.len();
            self.slice.documents.push(document);
        }
        self.slice.records.push(record);
        self.records += 1;
        if self.bytes >= FRAME_BYTES || self.slice.records.len() >= FRAME_RECORDS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.bytes = 0;
        let slice = std::mem::take(&mut self.slice);
        for piece in frames(slice) {
            if !piece.records.is_empty() {
                self.send(Message::Slice(piece))?;
            }
        }
        Ok(())
    }

    fn send(&self, message: Message) -> anyhow::Result<()> {
        Ok(self
            .messages
            .blocking_send(v1::SubmitRequest { message: Some(message) })
            .map_err(|_| StreamClosed)?)
    }
}
