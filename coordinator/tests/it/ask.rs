//! Questions to a model as a worker of any make asks them: the test is the worker, and no model is called.

use std::path::Path;
use std::time::{Duration, Instant};

use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, reader};
use domain::answer::{Answer, CallOutcome, Finish};
use domain::budget::{Limit, Usage};
use domain::config::{Guardrails, ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId};
use futures::StreamExt as _;
use proto::channel::{endpoint, fleet_client};
use proto::convert::{AcquireCall, CallResult, RunStatus};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::llm_calls_request::Message as Say;
use proto::v1::llm_calls_response::Message as Hear;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::process::PATIENCE;
use crate::support::{Served, detections};

/// A worker's stream, driven by hand.
pub(crate) struct Hand {
    said: mpsc::Sender<v1::LlmCallsRequest>,
    heard: Streaming<v1::LlmCallsResponse>,
}

impl Hand {
    pub(crate) async fn open(url: &str, worker: &str) -> Self {
        let mut client = fleet_client(endpoint(url).unwrap().connect_lazy());
        let (said, outbox) = mpsc::channel(4096);
        let heard = client.llm_calls(ReceiverStream::new(outbox)).await.unwrap().into_inner();
        let hand = Self { said, heard };
        hand.say(Say::Open(v1::LlmCallsOpen { worker: worker.to_owned() })).await;
        hand
    }

    pub(crate) async fn say(&self, message: Say) {
        self.said.send(v1::LlmCallsRequest { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn ask(&self, run: &str, number: u64, key: AnswerKey) {
        let run_id = RunId::new(run).unwrap();
        let asked = AcquireCall { number, run_id, key, tokens: 1000, under_way: false };
        self.say(Say::AcquireCall((&asked).into())).await;
    }

    pub(crate) async fn end(&self, run: &str, number: u64, key: AnswerKey, outcome: CallOutcome) {
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
            advertised_requests: None,
            advertised_tokens: None,
        };
        self.say(Say::CallResult((&ended).into())).await;
    }

    async fn next(&mut self) -> Option<Result<v1::LlmCallsResponse, Status>> {
        tokio::time::timeout(PATIENCE, self.heard.next()).await.unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Hear {
        self.next().await.unwrap().unwrap().message.unwrap()
    }

    /// The next message, if one comes soon.
    async fn soon(&mut self) -> Option<Hear> {
        let next = tokio::time::timeout(Duration::from_millis(300), self.heard.next()).await.ok()?;
        Some(next.unwrap().unwrap().message.unwrap())
    }

    pub(crate) async fn hear_go(&mut self, number: u64) {
        let heard = self.hear().await;
        assert!(
            matches!(&heard, Hear::CallPermit(go) if go.number == number && go.valid_ms > 0),
            "{heard:?}"
        );
    }

    pub(crate) async fn hear_kept(&mut self, number: u64) {
        assert_eq!(self.hear().await, Hear::ResultPersisted(v1::ResultPersisted { number }));
    }

    pub(crate) async fn hear_known(&mut self, number: u64, content: &str) {
        let heard = self.hear().await;
        let Hear::CachedResponse(known) = &heard else { panic!("{heard:?}") };
        assert_eq!((known.number, known.answer.as_ref().unwrap().content.as_str()), (number, content));
    }

    async fn hear_stopped(&mut self, number: u64) -> String {
        let heard = self.hear().await;
        let Hear::Stopped(stopped) = heard else { panic!("{heard:?}") };
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
        model: "mock".to_owned(),
    })
}

/// The configuration of a run that asks a model which nobody calls.
pub(crate) fn config(change: impl FnOnce(&mut RunConfig)) -> RunConfig {
    let mut config = RunConfig::default();
    config.proposer.mode = ProposerMode::Grok;
    config.guardrails = Guardrails::Merge;
    "http://127.0.0.1:9/v1/chat/completions".clone_into(&mut config.grok.endpoint);
    config.limits.requests_per_minute = Limit::at(6_000_000);
    change(&mut config);
    config
}

pub(crate) async fn submit(url: &str, folder: &Path, run: &str, config: RunConfig) -> RunStatus {
    let path = folder.join("detections.json");
    detections(&path, 6);
    let mut client = Client::new(url).unwrap();
    let corpus = CorpusArgs { corpus: path, manifests: None };
    let run_id = RunId::new(run).unwrap();
    let request = Request { run_id, config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, &config)).await.unwrap().0
}

pub(crate) async fn status(url: &str, run: &str) -> RunStatus {
    // What is shown of models is up to half a second old, or a little more on a busy machine.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    Client::new(url).unwrap().status(&RunId::new(run).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_paid_for_once_over_workers_runs_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let (mut one, mut two) = (Hand::open(&served.url, "one").await, Hand::open(&served.url, "two").await);
    one.ask("r", 1, key(1)).await;
    one.hear_go(1).await;
    two.ask("r", 1, key(1)).await;
    assert_eq!(two.soon().await, None, "one flight for a key");
    one.end("r", 1, key(1), answered("the answer")).await;
    one.hear_kept(1).await;
    two.hear_known(1, "the answer").await;

    let model = status(&served.url, "r").await.model.unwrap();
    assert_eq!((model.calls, model.reused, model.under_way), (1, 1, 0));
    assert_eq!((model.usage.total, model.limit_per_min), (1000, Some(6_000_000.0)));
    let cost = (600.0 * 0.20 + 400.0 * 0.50) / 1e6;
    assert!((model.cost_usd - cost).abs() < 1e-12, "{}", model.cost_usd);
    drop((one, two));
    served.stop().await;

    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "later", config(|config| config.seed = 7)).await;
    let mut three = Hand::open(&served.url, "three").await;
    three.ask("later", 1, key(1)).await;
    three.hear_known(1, "the answer").await;
    let model = status(&served.url, "r").await.model.unwrap();
    assert_eq!((model.calls, model.usage.total), (1, 1000), "what a run has spent outlives the process");
    drop(three);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_may_spend_no_more_stops_and_goes_on_when_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|config| config.spend.max_requests = 1)).await;
    let mut hand = Hand::open(&served.url, "w").await;
    hand.ask("r", 1, key(1)).await;
    hand.ask("r", 2, key(2)).await;
    hand.hear_go(1).await;
    hand.end("r", 1, key(1), answered("a")).await;
    let mut heard = vec![hand.hear().await, hand.hear().await];
    heard.sort_by_key(|heard| matches!(heard, Hear::Stopped(_)));
    assert_eq!(heard[0], Hear::ResultPersisted(v1::ResultPersisted { number: 1 }));
    let Hear::Stopped(stopped) = &heard[1] else { panic!("{heard:?}") };
    assert!(stopped.reason.contains("1 calls of 1 (spend.max_requests): raise it"), "{}", stopped.reason);
    let trouble = status(&served.url, "r").await.trouble.unwrap();
    assert_eq!(trouble, stopped.reason);
    hand.ask("r", 3, key(3)).await;
    assert_eq!(hand.hear_stopped(3).await, trouble);

    let again = submit(&served.url, folder.path(), "r", config(|config| config.spend.max_requests = 5)).await;
    assert_eq!(again.trouble, None);
    hand.ask("r", 4, key(2)).await;
    hand.hear_go(4).await;
    drop(hand);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_cancelled_or_never_was_gets_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    let slow = |config: &mut RunConfig| config.limits.concurrency = Limit::at(1);
    submit(&served.url, folder.path(), "r", config(slow)).await;
    let mut hand = Hand::open(&served.url, "w").await;
    hand.ask("nobody", 1, key(1)).await;
    assert!(hand.hear_stopped(1).await.contains("nobody"));
    hand.ask("r", 2, key(2)).await;
    hand.hear_go(2).await;
    hand.ask("r", 3, key(3)).await;
    assert_eq!(hand.soon().await, None);
    Client::new(&served.url).unwrap().cancel(&RunId::new("r").unwrap()).await.unwrap();
    assert!(hand.hear_stopped(3).await.contains("has ended"));
    // What was paid for is kept all the same.
    hand.end("r", 2, key(2), answered("late")).await;
    hand.hear_kept(2).await;
    drop(hand);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stream_loses_no_call_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut hand = Hand::open(&served.url, "w").await;
    hand.ask("r", 1, key(1)).await;
    hand.hear_go(1).await;
    drop(hand);
    let mut other = Hand::open(&served.url, "other").await;
    other.ask("r", 1, key(1)).await;
    assert_eq!(other.soon().await, None, "the call may be under way");
    let mut hand = Hand::open(&served.url, "w").await;
    let run_id = RunId::new("r").unwrap();
    let again = AcquireCall { number: 1, run_id, key: key(1), tokens: 1000, under_way: true };
    hand.say(Say::AcquireCall((&again).into())).await;
    hand.end("r", 1, key(1), answered("after all")).await;
    hand.hear_kept(1).await;
    other.hear_known(1, "after all").await;
    hand.end("r", 1, key(1), answered("after all")).await;
    hand.hear_kept(1).await;
    assert_eq!(status(&served.url, "r").await.model.unwrap().calls, 1, "said twice, counted once");
    drop((hand, other));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_with_a_reason_and_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    let open = || Say::Open(v1::LlmCallsOpen { worker: "w".to_owned() });
    let short =
        v1::AcquireCall { number: 1, run_id: "r".to_owned(), key: vec![1; 31], ..v1::AcquireCall::default() };
    for (bad, field) in [(Say::AcquireCall(short), "acquire_call.key"), (open(), "open")] {
        let mut hand = Hand::open(&served.url, "w").await;
        hand.say(bad).await;
        let refused = hand.next().await.unwrap().unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::BadMessage));
        assert!(refused.message().contains(field), "{refused}");
        assert!(hand.next().await.is_none());
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_ends_says_so_and_keeps_what_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut hand = Hand::open(&served.url, "w").await;
    hand.ask("r", 1, key(1)).await;
    hand.hear_go(1).await;
    hand.end("r", 1, key(1), answered("in the last moment")).await;
    hand.hear_kept(1).await;
    served.stop().await;
    let refused = hand.next().await.unwrap().unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::Draining), "{refused}");

    let served = Served::start(&folder.path().join("out"), "r").await;
    let mut hand = Hand::open(&served.url, "w").await;
    hand.ask("r", 2, key(1)).await;
    hand.hear_known(2, "in the last moment").await;
    drop(hand);
    served.stop().await;
}

/// Also prints how many answers a second are asked for, let through and kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_answers_pass_one_stream() {
    const CALLS: u64 = 5000;
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut hand = Hand::open(&served.url, "w").await;
    let begun = Instant::now();
    let (mut asked, mut kept) = (0, 0);
    while kept < CALLS {
        while asked < CALLS && asked - kept < 500 {
            asked += 1;
            hand.ask("r", asked, key(asked)).await;
        }
        match hand.hear().await {
            Hear::CallPermit(go) => {
                hand.end("r", go.number, key(go.number), answered(&"x".repeat(1500))).await
            }
            Hear::ResultPersisted(_) => kept += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{:.0} answers a second", CALLS as f64 / begun.elapsed().as_secs_f64());
    drop(hand);
    served.stop().await;
}
