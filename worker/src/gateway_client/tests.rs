//! The line and the calls against a played coordinator and the simulated provider, over real connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::answer::{Answer, Finish, Message, Question, Role, Sampling};
use domain::budget::Usage;
use domain::config::{Guardrails, ModelConfig, ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId, WorkerName};
use futures::Stream;
use mock_llm::{Allowed, Provider, Settings};
use proto::channel::OPEN_QUESTIONS;
use proto::convert::AcquireCall;
use proto::v1;
use proto::v1::call_result::Outcome;
use proto::v1::fleet_server::{Fleet, FleetServer};
use proto::v1::llm_calls_request::Message as Ask;
use proto::v1::llm_calls_response::Message as GatewayEvent;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::pending::GatewayEvent as Heard;
use super::{Completion, GatewayClient, LlmClient};

/// What the played coordinator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    /// Lets every call start and keeps what it comes to.
    Allows,
    /// Knows every answer.
    Knows,
    /// Says that the run has stopped.
    Stops,
    /// Breaks the first stream once it let a call start.
    Breaks,
    /// Says nothing.
    Silent,
}

#[derive(Debug, Default)]
struct Seen {
    streams: usize,
    questions: usize,
    under_way: usize,
    withdrawn: usize,
    /// What calls came to, by number, each once.
    ended: BTreeMap<u64, Outcome>,
    kept: usize,
}

#[derive(Debug, Clone)]
struct Budget {
    play: Play,
    seen: Arc<Mutex<Seen>>,
}

impl Budget {
    fn see<R>(&self, look: impl FnOnce(&mut Seen) -> R) -> R {
        look(&mut self.seen.lock().unwrap())
    }

    /// What to say; the flag: break the stream then.
    fn hear(&self, ask: Ask) -> (Option<GatewayEvent>, bool) {
        match ask {
            Ask::Open(open) => {
                assert_eq!(open.worker, "w");
                (None, false)
            }
            Ask::AcquireCall(question) if question.under_way => {
                self.see(|seen| seen.under_way += 1);
                (None, false)
            }
            Ask::AcquireCall(v1::AcquireCall { number, .. }) => match self.play {
                Play::Silent => {
                    self.see(|seen| seen.questions += 1);
                    (None, false)
                }
                Play::Stops => {
                    (Some(GatewayEvent::Stopped(v1::Stopped { number, reason: "spent".to_owned() })), false)
                }
                Play::Knows => {
                    let answer = Answer {
                        content: "known".to_owned(),
                        finish: Finish::Stop,
                        usage: Usage::default(),
                        model: String::new(),
                    };
                    (
                        Some(GatewayEvent::CachedResponse(v1::CachedResponse {
                            number,
                            answer: Some(answer.into()),
                        })),
                        false,
                    )
                }
                Play::Allows | Play::Breaks => {
                    let first = self.see(|seen| seen.streams == 1);
                    let go = GatewayEvent::CallPermit(v1::CallPermit { number, valid_ms: 5000 });
                    (Some(go), self.play == Play::Breaks && first)
                }
            },
            Ask::CallResult(ended) => {
                self.see(|seen| {
                    seen.ended.insert(ended.number, ended.outcome.unwrap());
                    seen.kept += 1;
                });
                (Some(GatewayEvent::ResultPersisted(v1::ResultPersisted { number: ended.number })), false)
            }
            Ask::CancelCall(_) => {
                self.see(|seen| seen.withdrawn += 1);
                (None, false)
            }
        }
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Fleet for Budget {
    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Err(Status::unimplemented("not in this play"))
    }

    type WorkStream = Out<v1::WorkResponse>;

    async fn work(
        &self,
        _: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        Err(Status::unimplemented("not in this play"))
    }

    async fn commit_shard(
        &self,
        _: Request<Streaming<v1::CommitShardRequest>>,
    ) -> Result<Response<v1::CommitShardResponse>, Status> {
        Err(Status::unimplemented("not in this play"))
    }

    type LlmCallsStream = Out<v1::LlmCallsResponse>;

    async fn llm_calls(
        &self,
        request: Request<Streaming<v1::LlmCallsRequest>>,
    ) -> Result<Response<Self::LlmCallsStream>, Status> {
        self.see(|seen| seen.streams += 1);
        let (said, outbox) = mpsc::channel(64);
        let (budget, mut asks) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(ask)) = asks.message().await {
                let (answer, breaks) = budget.hear(ask.message.unwrap());
                if let Some(message) = answer {
                    let _ = said.send(Ok(v1::LlmCallsResponse { message: Some(message) })).await;
                }
                if breaks {
                    let _ = said.send(Err(Status::unavailable("the link broke"))).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbox))))
    }
}

/// A played coordinator in a runtime of its own, so that it can be killed with all its connections.
struct Killable {
    budget: Budget,
    runtime: tokio::runtime::Runtime,
}

impl Killable {
    fn start(play: Play, address: SocketAddr) -> Self {
        let budget = Budget { play, seen: Arc::default() };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = FleetServer::new(budget.clone());
        runtime.spawn(async move {
            // The one before may not have let go of its address yet.
            let socket = loop {
                match TcpListener::bind(address).await {
                    Ok(socket) => break socket,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(socket)).await
        });
        Self { budget, runtime }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A played coordinator, the simulated provider, and what asks them.
pub(crate) struct Scene {
    budget: Budget,
    provider: Provider,
    pub(crate) gateway: GatewayClient,
    /// Where the provider listens.
    pub(crate) endpoint: String,
    llm_client: LlmClient,
}

impl Scene {
    pub(crate) async fn set(play: Play, faults: &str, latency: &str) -> Self {
        let provider = Provider::new(Settings {
            allowed: Allowed::default(),
            latency: latency.parse().unwrap(),
            faults: faults.parse().unwrap(),
            answers: Arc::new(|question| Some(format!("answer to {question}"))),
            speed: 1.0,
            seed: 1,
            silent: false,
        });
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", socket.local_addr().unwrap());
        tokio::spawn(mock_llm::serve(socket, provider.clone(), std::future::pending()));
        let budget = Budget { play, seen: Arc::default() };
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let coordinator = format!("http://{}", socket.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(FleetServer::new(budget.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
        let channel = proto::channel::endpoint(&coordinator).unwrap().connect_lazy();
        let (joined, name) = watch::channel(None);
        let (gateway, _) = GatewayClient::start(channel, name);
        joined.send_replace(Some(WorkerName::new("w").unwrap()));
        let llm_client = llm_client(&gateway, &endpoint, |_| None);
        Self { budget, provider, gateway, endpoint, llm_client }
    }
}

fn llm_client(gateway: &GatewayClient, endpoint: &str, env: impl Fn(&str) -> Option<String>) -> LlmClient {
    let mut config = RunConfig { guardrails: Guardrails::None, ..RunConfig::default() };
    config.proposer.mode = ProposerMode::Vllm;
    config.proposer.retries = 20;
    config.vllm = ModelConfig { endpoint: endpoint.to_owned(), model: "m".to_owned(), ..config.vllm };
    if env("KEY").is_some() {
        config.vllm.api_key_env = "MISSING".to_owned();
    }
    LlmClient::new(gateway.clone(), RunId::new("r").unwrap(), &config, |_| None).unwrap()
}

fn question(scene: &Scene, text: &str) -> Question {
    Question {
        endpoint: scene.llm_client.model().url(),
        model: "m".to_owned(),
        messages: vec![Message::new(Role::User, text)],
        sampling: Sampling::default(),
        sample: 0,
    }
}

/// Longest that anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

fn text(completion: Completion) -> String {
    match completion {
        Completion::Answered { answer, .. } => answer.content,
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_kept_before_it_is_used() {
    let scene = Scene::set(Play::Allows, "", "0.01").await;
    assert_eq!(text(scene.llm_client.complete(question(&scene, "a")).await), "answer to a");
    scene.budget.see(|seen| assert!(matches!(seen.ended.values().next(), Some(Outcome::Answer(_)))));
    assert_eq!(scene.provider.report().accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_asked() {
    let scene = Scene::set(Play::Knows, "", "0.01").await;
    assert_eq!(text(scene.llm_client.complete(question(&scene, "a")).await), "known");
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leave_nobody_calls() {
    let scene = Scene::set(Play::Silent, "", "0.01").await;
    let waiting = scene.llm_client.complete(question(&scene, "a"));
    assert!(tokio::time::timeout(Duration::from_millis(500), waiting).await.is_err());
    until("the withdrawal", || scene.budget.see(|seen| seen.withdrawn == 1)).await;
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_its_stream_and_is_made_once() {
    let scene = Scene::set(Play::Breaks, "", "0.5").await;
    assert_eq!(text(scene.llm_client.complete(question(&scene, "a")).await), "answer to a");
    assert_eq!(scene.provider.report().accepted, 1);
    scene.budget.see(|seen| assert!(seen.streams == 2 && seen.under_way <= 1 && seen.kept == 1, "{seen:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_kept_though_nobody_waits_for_it_any_more() {
    let scene = Scene::set(Play::Allows, "", "0.3").await;
    let waiting = scene.llm_client.complete(question(&scene, "a"));
    assert!(tokio::time::timeout(Duration::from_millis(150), waiting).await.is_err());
    scene.gateway.close("ending").await;
    scene.gateway.calls_end().await;
    scene
        .budget
        .see(|seen| assert!(matches!(seen.ended.values().next(), Some(Outcome::Answer(_))), "{seen:?}"));
    assert_eq!(scene.llm_client.complete(question(&scene, "b")).await, Completion::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_tried_again_until_there_is_an_answer() {
    let faults = "429=0.2,500=0.2,reset=0.1,garbage=0.1,truncated=0.1";
    let scene = Scene::set(Play::Allows, faults, "0.001").await;
    let questions: Vec<_> = (0..8).map(|number| question(&scene, &number.to_string())).collect();
    let completion =
        futures::future::join_all(questions.into_iter().map(|question| scene.llm_client.complete(question)));
    for (number, completion) in completion.await.into_iter().enumerate() {
        assert_eq!(text(completion), format!("answer to {number}"));
    }
    scene.budget.see(|seen| {
        let answers = seen.ended.values().filter(|outcome| matches!(outcome, Outcome::Answer(_))).count();
        assert!(answers == 8 && seen.ended.len() > 8, "{seen:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_has_stopped_asks_nobody() {
    let scene = Scene::set(Play::Stops, "", "0.01").await;
    assert_eq!(scene.llm_client.complete(question(&scene, "a")).await, Completion::Stopped);
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_stops_the_run_and_names_its_variable() {
    let scene = Scene::set(Play::Allows, "", "0.01").await;
    let keyless = llm_client(&scene.gateway, "http://127.0.0.1:9", |_| Some(String::new()));
    // The played coordinator keeps it as any other failure; what stops the run is the flag.
    let _ = keyless.complete(question(&scene, "a")).await;
    scene.budget.see(|seen| {
        let Some(Outcome::Failed(failed)) = seen.ended.values().next() else { panic!("{seen:?}") };
        assert!(failed.stop && failed.reason.contains("MISSING"), "{failed:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_questions_than_a_stream_takes_outlive_a_coordinator_that_is_killed() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let first = Killable::start(Play::Silent, address);
    let channel = proto::channel::endpoint(&format!("http://{address}")).unwrap().connect_lazy();
    let (_joined, name) = watch::channel(Some(WorkerName::new("w").unwrap()));
    let (gateway, _) = GatewayClient::start(channel, name);
    let mut open = Vec::new();
    for _ in 0..OPEN_QUESTIONS + 5000 {
        let asked = |number: u64| AcquireCall {
            number,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(&number.to_le_bytes()),
            tokens: 1000,
            under_way: false,
        };
        open.push(gateway.ask(asked).await);
    }
    until("the questions", || first.budget.see(|seen| seen.questions >= OPEN_QUESTIONS)).await;
    let seen = Arc::clone(&first.budget.seen);
    first.kill();
    let second = Killable::start(Play::Knows, address);
    let answers = async {
        for open in &mut open {
            assert!(matches!(open.next_event().await, Heard::CachedResponse(_)));
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.expect("every question is answered");
    assert_eq!(seen.lock().unwrap().questions, OPEN_QUESTIONS, "the others waited at the worker");
    second.kill();
}
