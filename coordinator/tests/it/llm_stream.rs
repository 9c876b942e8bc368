//! The stream `LlmCalls` from the side of a worker: the test is the worker, and no model is called.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, reader};
use domain::answer::{Answer, CallOutcome, Finish};
use domain::budget::{Charge, Limit, Price, Usage};
use domain::config::{Guardrails, ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId};
use futures::StreamExt as _;
use proto::channel::fleet_client;
use proto::convert::{AcquireCall, CallResult, RunStatus, Ticket};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::llm_calls_request::Message as ToGateway;
use proto::v1::llm_calls_response::Message as FromGateway;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::process::PATIENCE;
use crate::support::{Served, address, connection, detections};

/// A worker's LLM stream, driven by the test.
pub(crate) struct TestStream {
    requests: mpsc::Sender<v1::LlmCallsRequest>,
    responses: Streaming<v1::LlmCallsResponse>,
    /// Tickets of permits, by number.
    tickets: BTreeMap<u64, Vec<u8>>,
    /// How the next stream of the worker is opened: its name, session, and the ticket of this stream.
    open: v1::LlmCallsOpen,
}

/// Joins as a worker; returns the name and the session that the coordinator assigned.
async fn join(url: &str, worker: &str) -> (String, Vec<u8>) {
    let join = v1::JoinRequest {
        protocol_version: proto::PROTOCOL_VERSION,
        version: String::new(),
        worker: worker.to_owned(),
        slots: 1,
    };
    let joined = fleet_client(connection(url)).join(join).await.unwrap().into_inner();
    (joined.worker, joined.session)
}

impl TestStream {
    pub(crate) async fn open(url: &str, worker: &str) -> Self {
        let (worker, session) = join(url, worker).await;
        Self::connect(url, v1::LlmCallsOpen { worker, session, resume: Vec::new() }, BTreeMap::new()).await
    }

    /// Joins the next coordinator and opens the next stream there.
    pub(crate) async fn rejoin(url: &str, last: Self) -> Self {
        let (worker, session) = join(url, &last.open.worker).await;
        Self::connect(url, v1::LlmCallsOpen { worker, session, ..last.open }, last.tickets).await
    }

    /// Opens the next stream of a worker, which remembers the last one.
    pub(crate) async fn reopen(url: &str, last: Self) -> Self {
        Self::connect(url, last.open, last.tickets).await
    }

    async fn connect(url: &str, open: v1::LlmCallsOpen, tickets: BTreeMap<u64, Vec<u8>>) -> Self {
        let (requests, outbox) = mpsc::channel(4096);
        let responses =
            fleet_client(connection(url)).llm_calls(ReceiverStream::new(outbox)).await.unwrap().into_inner();
        let stream = Self { requests, responses, tickets, open: open.clone() };
        stream.send(ToGateway::Open(open)).await;
        stream
    }

    fn ticket(&self, number: u64) -> Option<Ticket> {
        let ticket = self.tickets.get(&number)?;
        Some(Ticket::from_bytes(ticket.as_slice().try_into().unwrap()))
    }

    pub(crate) async fn send(&self, message: ToGateway) {
        self.requests.send(v1::LlmCallsRequest { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn acquire(&self, run: &str, number: u64, key: AnswerKey) {
        let run_id = RunId::new(run).unwrap();
        let request = AcquireCall { number, run_id, key, tokens: 1000, under_way: false, ticket: None };
        self.send(ToGateway::AcquireCall((&request).into())).await;
    }

    pub(crate) async fn complete(&self, run: &str, number: u64, key: AnswerKey, outcome: CallOutcome) {
        let usage = match &outcome {
            CallOutcome::Answered(answer) => answer.usage,
            _ => Usage::default(),
        };
        let run_id = RunId::new(run).unwrap();
        let ended = CallResult {
            number,
            run_id,
            key,
            outcome,
            usage,
            charge: Charge::default(),
            advertised_requests: None,
            advertised_tokens: None,
            ticket: self.ticket(number),
            tries: 1,
            last: true,
        };
        self.send(ToGateway::CallResult((&ended).into())).await;
    }

    async fn next(&mut self) -> Option<Result<v1::LlmCallsResponse, Status>> {
        tokio::time::timeout(PATIENCE, self.next_reply()).await.unwrap()
    }

    /// The next message about a request.
    async fn next_reply(&mut self) -> Option<Result<v1::LlmCallsResponse, Status>> {
        loop {
            let next = self.responses.next().await?;
            match next.as_ref().ok().and_then(|response| response.message.as_ref()) {
                Some(FromGateway::Opened(opened)) => self.open.resume.clone_from(&opened.resume),
                Some(FromGateway::CallPermit(permit)) => {
                    self.tickets.insert(permit.number, permit.ticket.clone());
                    return Some(next);
                }
                _ => return Some(next),
            }
        }
    }

    pub(crate) async fn receive(&mut self) -> FromGateway {
        self.next().await.unwrap().unwrap().message.unwrap()
    }

    /// The next message, if one arrives soon.
    pub(crate) async fn soon(&mut self) -> Option<FromGateway> {
        let next = tokio::time::timeout(Duration::from_millis(300), self.next_reply()).await.ok()?;
        Some(next.unwrap().unwrap().message.unwrap())
    }

    pub(crate) async fn expect_permit(&mut self, number: u64) {
        let message = self.receive().await;
        assert!(
            matches!(&message, FromGateway::CallPermit(permit) if permit.number == number && permit.valid_ms > 0),
            "{message:?}"
        );
    }

    pub(crate) async fn expect_persisted(&mut self, number: u64) {
        assert_eq!(
            self.receive().await,
            FromGateway::ResultPersisted(v1::ResultPersisted { number, ask_again: false })
        );
    }

    pub(crate) async fn expect_cached(&mut self, number: u64, content: &str) {
        let message = self.receive().await;
        let FromGateway::CachedResponse(cached) = &message else { panic!("{message:?}") };
        assert_eq!((cached.number, cached.answer.as_ref().unwrap().content.as_str()), (number, content));
    }

    pub(crate) async fn expect_stopped(&mut self, number: u64) -> String {
        let message = self.receive().await;
        let FromGateway::Stopped(stopped) = message else { panic!("{message:?}") };
        assert_eq!(stopped.number, number);
        stopped.reason
    }
}

pub(crate) fn key(number: u64) -> AnswerKey {
    AnswerKey::of(&number.to_le_bytes())
}

pub(crate) fn answered(content: &str) -> CallOutcome {
    CallOutcome::Answered(Answer {
        content: content.to_owned(),
        finish: Finish::Stop,
        usage: Usage { prompt: 600, completion: 400, total: 1000, ..Usage::default() },
        charge: Charge::default(),
        model: String::new(),
    })
}

/// The configuration of a run with an LLM proposer whose model is never called.
pub(crate) fn config(change: impl FnOnce(&mut RunConfig)) -> RunConfig {
    let mut config = RunConfig::default();
    config.proposer.mode = ProposerMode::Grok;
    config.guardrails = Guardrails::Merge;
    config.grok.price = Price::flat(0.20, None, 0.50);
    config.limits.requests_per_minute = Limit::at(6_000_000);
    change(&mut config);
    config
}

pub(crate) async fn submit(url: &str, folder: &Path, run: &str, config: RunConfig) -> RunStatus {
    let path = folder.join("detections.json");
    detections(&path, 6);
    let mut client = Client::new(address(url));
    let corpus = CorpusArgs { corpus: path, manifests: None };
    let run_id = RunId::new(run).unwrap();
    let request = Request { run_id, config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, &config)).await.unwrap().0
}

pub(crate) async fn status(url: &str, run: &str) -> RunStatus {
    // The status is up to half a second old, or a little more on a busy machine.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    Client::new(address(url)).status(&RunId::new(run).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_paid_for_once_over_workers_runs_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let (mut one, mut two) =
        (TestStream::open(&served.url, "one").await, TestStream::open(&served.url, "two").await);
    one.acquire("r", 1, key(1)).await;
    one.expect_permit(1).await;
    two.acquire("r", 1, key(1)).await;
    assert_eq!(two.soon().await, None, "single flight");
    one.complete("r", 1, key(1), answered("the answer")).await;
    one.expect_persisted(1).await;
    two.expect_cached(1, "the answer").await;

    let model = status(&served.url, "r").await.model.unwrap();
    assert_eq!((model.calls, model.reused, model.under_way), (1, 1, 0));
    assert_eq!((model.usage.total, model.limit_per_min), (1000, Some(6_000_000.0)));
    let cost = (600.0 * 0.20 + 400.0 * 0.50) / 1e6;
    assert!((model.cost_usd - cost).abs() < 1e-12, "{}", model.cost_usd);
    drop((one, two));
    served.stop().await;

    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "later", config(|config| config.seed = 7)).await;
    let mut three = TestStream::open(&served.url, "three").await;
    three.acquire("later", 1, key(1)).await;
    three.expect_cached(1, "the answer").await;
    let model = status(&served.url, "r").await.model.unwrap();
    assert_eq!((model.calls, model.usage.total), (1, 1000), "the usage of a run is durable");
    drop(three);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_at_its_spend_limit_halts_and_goes_on_with_a_higher_one() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|config| config.spend.max_requests = 1)).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("r", 1, key(1)).await;
    stream.acquire("r", 2, key(2)).await;
    stream.expect_permit(1).await;
    stream.complete("r", 1, key(1), answered("a")).await;
    let mut received = vec![stream.receive().await, stream.receive().await];
    received.sort_by_key(|message| matches!(message, FromGateway::Stopped(_)));
    assert_eq!(
        received[0],
        FromGateway::ResultPersisted(v1::ResultPersisted { number: 1, ask_again: false })
    );
    let FromGateway::Stopped(stopped) = &received[1] else { panic!("{received:?}") };
    assert!(stopped.reason.contains("1 calls of 1 (spend.max_requests): raise it"), "{}", stopped.reason);
    let trouble = status(&served.url, "r").await.trouble.unwrap();
    assert_eq!(trouble, stopped.reason);
    stream.acquire("r", 3, key(3)).await;
    assert_eq!(stream.expect_stopped(3).await, trouble);

    let again = submit(&served.url, folder.path(), "r", config(|config| config.spend.max_requests = 5)).await;
    assert_eq!(again.trouble, None);
    stream.acquire("r", 4, key(2)).await;
    stream.expect_permit(4).await;
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_cancelled_or_unknown_run_get_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    let slow = |config: &mut RunConfig| config.limits.concurrency = Limit::at(1);
    submit(&served.url, folder.path(), "r", config(slow)).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("unknown", 1, key(1)).await;
    assert!(stream.expect_stopped(1).await.contains("unknown"));
    stream.acquire("r", 2, key(2)).await;
    stream.expect_permit(2).await;
    stream.acquire("r", 3, key(3)).await;
    assert_eq!(stream.soon().await, None);
    Client::new(address(&served.url)).cancel(&RunId::new("r").unwrap()).await.unwrap();
    assert!(stream.expect_stopped(3).await.contains("has ended"));
    // A result that was paid for is persisted nevertheless.
    stream.complete("r", 2, key(2), answered("late")).await;
    stream.expect_persisted(2).await;
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stream_loses_no_call_and_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("r", 1, key(1)).await;
    stream.expect_permit(1).await;
    let mut other = TestStream::open(&served.url, "other").await;
    other.acquire("r", 1, key(1)).await;
    assert_eq!(other.soon().await, None, "the call may be in flight");
    let mut stream = TestStream::reopen(&served.url, stream).await;
    let run_id = RunId::new("r").unwrap();
    let ticket = stream.ticket(1);
    let again = AcquireCall { number: 1, run_id, key: key(1), tokens: 1000, under_way: true, ticket };
    stream.send(ToGateway::AcquireCall((&again).into())).await;
    stream.complete("r", 1, key(1), answered("after all")).await;
    stream.expect_persisted(1).await;
    other.expect_cached(1, "after all").await;
    stream.complete("r", 1, key(1), answered("after all")).await;
    stream.expect_persisted(1).await;
    assert_eq!(status(&served.url, "r").await.model.unwrap().calls, 1, "sent twice, counted once");
    drop((stream, other));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_message_is_refused_with_a_reason_and_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    let open = || ToGateway::Open(v1::LlmCallsOpen { worker: "w".to_owned(), ..v1::LlmCallsOpen::default() });
    let short =
        v1::AcquireCall { number: 1, run_id: "r".to_owned(), key: vec![1; 31], ..v1::AcquireCall::default() };
    for (bad, field) in [(ToGateway::AcquireCall(short), "acquire_call.key"), (open(), "open")] {
        let mut stream = TestStream::open(&served.url, "w").await;
        stream.send(bad).await;
        let refused = stream.next().await.unwrap().unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::BadMessage));
        assert!(refused.message().contains(field), "{refused}");
        assert!(stream.next().await.is_none());
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_the_stream_with_a_reason_and_loses_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("r", 1, key(1)).await;
    stream.expect_permit(1).await;
    stream.complete("r", 1, key(1), answered("in the last moment")).await;
    stream.expect_persisted(1).await;
    served.stop().await;
    let refused = stream.next().await.unwrap().unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::Draining), "{refused}");

    let served = Served::start(&folder.path().join("out"), "r").await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("r", 2, key(1)).await;
    stream.expect_cached(2, "in the last moment").await;
    drop(stream);
    served.stop().await;
}

/// Also prints how many calls a second are admitted and persisted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_pass_one_stream() {
    const CALLS: u64 = 5000;
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    let begun = Instant::now();
    let (mut requested, mut persisted) = (0, 0);
    while persisted < CALLS {
        while requested < CALLS && requested - persisted < 500 {
            requested += 1;
            stream.acquire("r", requested, key(requested)).await;
        }
        match stream.receive().await {
            FromGateway::CallPermit(permit) => {
                stream.complete("r", permit.number, key(permit.number), answered(&"x".repeat(1500))).await;
            }
            FromGateway::ResultPersisted(_) => persisted += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{:.0} calls a second", CALLS as f64 / begun.elapsed().as_secs_f64());
    drop(stream);
    served.stop().await;
}
