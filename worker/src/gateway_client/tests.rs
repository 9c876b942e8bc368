//! The gateway client against a fake coordinator and the simulated provider, over real connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::answer::{Answer, Finish, Message, Question, Role, Sampling};
use domain::budget::{Charge, Usage};
use domain::config::{AnswerFormat, Guardrails, ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId, WorkerName};
use futures::Stream;
use llm::providers::Providers;
use mock_llm::{Allowed, BatchSettings, Cached, HeaderStyle, Provider, Settings};
use proto::channel::{Access, Connection, CoordinatorAddress, OPEN_QUESTIONS, connect};
use proto::convert::AcquireCall;
use proto::v1;
use proto::v1::call_result::Outcome;
use proto::v1::fleet_server::{Fleet, FleetServer};
use proto::v1::llm_calls_request::Message as Ask;
use proto::v1::llm_calls_response::Message as Reply;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::pending::GatewayEvent;
use super::{Completion, GatewayClient, LlmClient};
use crate::remote::Identity;

/// Behaviour of the fake coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Permits every call and persists its result.
    Permits,
    /// Has every response cached.
    Cached,
    /// Reports that the run has stopped.
    Stops,
    /// Permits calls, and breaks the first stream after the first permit.
    Breaks,
    /// Sends nothing.
    Silent,
}

#[derive(Debug, Default)]
struct Seen {
    streams: usize,
    requests: usize,
    under_way: usize,
    cancelled: usize,
    /// Results by number, each once.
    results: BTreeMap<u64, Outcome>,
    persisted: usize,
}

#[derive(Debug, Clone)]
struct FakeCoordinator {
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
}

impl FakeCoordinator {
    fn see<R>(&self, read: impl FnOnce(&mut Seen) -> R) -> R {
        read(&mut self.seen.lock().unwrap())
    }

    /// The reply, and whether to break the stream after it.
    fn on_request(&self, ask: Ask) -> (Option<Reply>, bool) {
        match ask {
            Ask::Open(open) => {
                assert_eq!(open.worker, "w");
                (None, false)
            }
            Ask::AcquireCall(request) if request.under_way => {
                self.see(|seen| seen.under_way += 1);
                (None, false)
            }
            Ask::AcquireCall(v1::AcquireCall { number, .. }) => match self.behaviour {
                Behaviour::Silent => {
                    self.see(|seen| seen.requests += 1);
                    (None, false)
                }
                Behaviour::Stops => {
                    (Some(Reply::Stopped(v1::Stopped { number, reason: "spent".to_owned() })), false)
                }
                Behaviour::Cached => {
                    let answer = Answer {
                        content: "cached".to_owned(),
                        finish: Finish::Stop,
                        usage: Usage::default(),
                        charge: Charge::default(),
                        model: String::new(),
                    };
                    (
                        Some(Reply::CachedResponse(v1::CachedResponse {
                            number,
                            answer: Some(answer.into()),
                        })),
                        false,
                    )
                }
                Behaviour::Permits | Behaviour::Breaks => {
                    let first = self.see(|seen| seen.streams == 1);
                    let permit =
                        Reply::CallPermit(v1::CallPermit { number, valid_ms: 5000, ticket: Vec::new() });
                    (Some(permit), self.behaviour == Behaviour::Breaks && first)
                }
            },
            Ask::CallResult(result) => {
                self.see(|seen| {
                    seen.results.insert(result.number, result.outcome.unwrap());
                    seen.persisted += 1;
                });
                (
                    Some(Reply::ResultPersisted(v1::ResultPersisted {
                        number: result.number,
                        ask_again: false,
                    })),
                    false,
                )
            }
            Ask::CancelCall(_) => {
                self.see(|seen| seen.cancelled += 1);
                (None, false)
            }
        }
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Fleet for FakeCoordinator {
    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WorkStream = Out<v1::WorkResponse>;

    async fn work(
        &self,
        _: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn commit_shard(
        &self,
        _: Request<Streaming<v1::CommitShardRequest>>,
    ) -> Result<Response<v1::CommitShardResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type LlmCallsStream = Out<v1::LlmCallsResponse>;

    async fn llm_calls(
        &self,
        request: Request<Streaming<v1::LlmCallsRequest>>,
    ) -> Result<Response<Self::LlmCallsStream>, Status> {
        self.see(|seen| seen.streams += 1);
        let (replies, outbox) = mpsc::channel(64);
        let (fake, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let (reply, breaks) = fake.on_request(request.message.unwrap());
                if let Some(message) = reply {
                    let _ = replies.send(Ok(v1::LlmCallsResponse { message: Some(message) })).await;
                }
                if breaks {
                    let _ = replies.send(Err(Status::unavailable("the stream broke"))).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbox))))
    }

    async fn get_verdicts(
        &self,
        _request: Request<v1::GetVerdictsRequest>,
    ) -> Result<Response<v1::GetVerdictsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn put_verdicts(
        &self,
        _request: Request<v1::PutVerdictsRequest>,
    ) -> Result<Response<v1::PutVerdictsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

/// A fake coordinator in a runtime of its own, so that it can be killed with all its connections.
struct Killable {
    coordinator: FakeCoordinator,
    runtime: tokio::runtime::Runtime,
}

impl Killable {
    fn start(behaviour: Behaviour, address: SocketAddr) -> Self {
        let coordinator = FakeCoordinator { behaviour, seen: Arc::default() };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = FleetServer::new(coordinator.clone());
        runtime.spawn(async move {
            // The previous coordinator may still hold the address.
            let socket = loop {
                match TcpListener::bind(address).await {
                    Ok(socket) => break socket,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(socket)).await
        });
        Self { coordinator, runtime }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A fake coordinator, the simulated provider, and a client of both.
pub(crate) struct Scene {
    coordinator: FakeCoordinator,
    provider: Provider,
    pub(crate) gateway: GatewayClient,
    /// URL of the provider.
    pub(crate) endpoint: String,
    llm_client: LlmClient,
}

impl Scene {
    pub(crate) async fn start(behaviour: Behaviour, faults: &str, latency: &str) -> Self {
        let provider = Provider::new(Settings {
            allowed: Allowed::default(),
            latency: latency.parse().unwrap(),
            faults: faults.parse().unwrap(),
            answers: Arc::new(|prompt| Some(format!("answer to {prompt}"))),
            manner: mock_llm::Manner::default(),
            speed: 1.0,
            seed: 1,
            style: HeaderStyle::default(),
            cached: Cached::default(),
            batches: BatchSettings::default(),
        })
        .unwrap();
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", socket.local_addr().unwrap());
        tokio::spawn(mock_llm::serve(socket, provider.clone(), std::future::pending()));
        let coordinator = FakeCoordinator { behaviour, seen: Arc::default() };
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(FleetServer::new(coordinator.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
        let (joined, identity) = watch::channel(None);
        let (gateway, _) = GatewayClient::start(connection(&url), identity);
        joined.send_replace(Some(identity_of("w")));
        let llm_client = llm_client(&gateway, &endpoint, |_| None);
        Self { coordinator, provider, gateway, endpoint, llm_client }
    }
}

/// Providers of which `vllm` is called at this address.
pub(crate) fn called_at(endpoint: &str) -> Providers {
    let mut providers = Providers::default();
    providers.vllm.endpoint = endpoint.to_owned();
    providers
}

/// Plain text to a fake coordinator, which proves nothing.
fn connection(url: &str) -> Connection {
    let access = Access { insecure: true, ..Access::default() };
    connect(&CoordinatorAddress::parse(url, &access).unwrap())
}

fn identity_of(worker: &str) -> Identity {
    Identity::of(WorkerName::new(worker).unwrap())
}

fn llm_client(gateway: &GatewayClient, endpoint: &str, env: impl Fn(&str) -> Option<String>) -> LlmClient {
    let mut config = RunConfig { guardrails: Guardrails::None, ..RunConfig::default() };
    config.proposer.mode = ProposerMode::Vllm;
    config.proposer.retries = 20;
    config.vllm.model = "m".to_owned();
    let mut providers = called_at(endpoint);
    if env("KEY").is_some() {
        providers.vllm.api_key_env = "MISSING".to_owned();
    }
    let (run_id, worker) = (RunId::new("r").unwrap(), WorkerName::new("w").unwrap());
    LlmClient::new(gateway.clone(), run_id, &config, &providers, &worker, |_| None).unwrap()
}

fn question(scene: &Scene, text: &str) -> Arc<Question> {
    Arc::new(Question {
        endpoint: scene.llm_client.destination().endpoint.clone(),
        model: "m".to_owned(),
        messages: vec![Message::new(Role::User, text)],
        sampling: Sampling::default(),
        sample: 0,
    })
}

/// Time limit of a step, long enough for a busy machine.
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
async fn a_response_is_persisted_before_it_is_used() {
    let scene = Scene::start(Behaviour::Permits, "", "0.01").await;
    assert_eq!(
        text(scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text).await),
        "answer to a"
    );
    scene.coordinator.see(|seen| assert!(matches!(seen.results.values().next(), Some(Outcome::Answer(_)))));
    assert_eq!(scene.provider.report().accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_response_needs_no_call() {
    let scene = Scene::start(Behaviour::Cached, "", "0.01").await;
    assert_eq!(text(scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text).await), "cached");
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_permit_no_call_is_made() {
    let scene = Scene::start(Behaviour::Silent, "", "0.01").await;
    let waiting = scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text);
    assert!(tokio::time::timeout(Duration::from_millis(500), waiting).await.is_err());
    until("the cancellation", || scene.coordinator.see(|seen| seen.cancelled == 1)).await;
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_its_stream_and_is_made_once() {
    let scene = Scene::start(Behaviour::Breaks, "", "0.5").await;
    assert_eq!(
        text(scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text).await),
        "answer to a"
    );
    assert_eq!(scene.provider.report().accepted, 1);
    scene
        .coordinator
        .see(|seen| assert!(seen.streams == 2 && seen.under_way <= 1 && seen.persisted == 1, "{seen:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_result_of_an_abandoned_call_is_persisted() {
    let scene = Scene::start(Behaviour::Permits, "", "0.3").await;
    let waiting = scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text);
    assert!(tokio::time::timeout(Duration::from_millis(150), waiting).await.is_err());
    scene.gateway.close("ending").await;
    scene.gateway.wait_for_calls().await;
    scene
        .coordinator
        .see(|seen| assert!(matches!(seen.results.values().next(), Some(Outcome::Answer(_))), "{seen:?}"));
    assert_eq!(
        scene.llm_client.complete(question(&scene, "b"), AnswerFormat::Text).await,
        Completion::Stopped
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_calls_are_retried_until_there_is_a_response() {
    let faults = "429=0.2,500=0.2,reset=0.1,garbage=0.1,truncated=0.1";
    let scene = Scene::start(Behaviour::Permits, faults, "0.001").await;
    let questions: Vec<_> = (0..8).map(|number| question(&scene, &number.to_string())).collect();
    let complete = |question| scene.llm_client.complete(question, AnswerFormat::Text);
    let completion = futures::future::join_all(questions.into_iter().map(complete));
    for (number, completion) in completion.await.into_iter().enumerate() {
        assert_eq!(text(completion), format!("answer to {number}"));
    }
    scene.coordinator.see(|seen| {
        let answers = seen.results.values().filter(|outcome| matches!(outcome, Outcome::Answer(_))).count();
        assert!(answers == 8 && seen.results.len() > 8, "{seen:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_has_stopped_makes_no_call() {
    let scene = Scene::start(Behaviour::Stops, "", "0.01").await;
    assert_eq!(
        scene.llm_client.complete(question(&scene, "a"), AnswerFormat::Text).await,
        Completion::Stopped
    );
    assert_eq!(scene.provider.report().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_stops_the_run_and_names_its_variable() {
    let scene = Scene::start(Behaviour::Permits, "", "0.01").await;
    let keyless = llm_client(&scene.gateway, "http://127.0.0.1:9", |_| Some(String::new()));
    // The fake coordinator persists it as any other failure; the flag stops the run.
    let _ = keyless.complete(question(&scene, "a"), AnswerFormat::Text).await;
    scene.coordinator.see(|seen| {
        let Some(Outcome::Failed(failed)) = seen.results.values().next() else { panic!("{seen:?}") };
        assert!(failed.stop, "{failed:?}");
        for needed in ["worker w", "MISSING", "vllm.api_key_env", "submit the run again"] {
            assert!(failed.reason.contains(needed), "{failed:?}");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_a_stream_takes_outlive_a_killed_coordinator() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let first = Killable::start(Behaviour::Silent, address);
    let (_joined, identity) = watch::channel(Some(identity_of("w")));
    let (gateway, _) = GatewayClient::start(connection(&format!("http://{address}")), identity);
    let mut open = Vec::new();
    for _ in 0..OPEN_QUESTIONS + 5000 {
        let request = |number: u64| AcquireCall {
            number,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(&number.to_le_bytes()),
            tokens: 1000,
            under_way: false,
            ticket: None,
        };
        open.push(gateway.acquire(request).await);
    }
    until("the requests", || first.coordinator.see(|seen| seen.requests >= OPEN_QUESTIONS)).await;
    let seen = Arc::clone(&first.coordinator.seen);
    first.kill();
    let second = Killable::start(Behaviour::Cached, address);
    let answers = async {
        for open in &mut open {
            assert!(matches!(open.next_event().await, GatewayEvent::CachedResponse(_)));
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.expect("every request is answered");
    assert_eq!(seen.lock().unwrap().requests, OPEN_QUESTIONS, "the others are queued in the worker");
    second.kill();
}
