//! A rogue coordinator: what it sends makes a worker call no address and read no variable but those of its own settings.

use std::io::Read as _;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::ids::{FencingToken, RunId, ShardIndex, WorkerName};
use domain::record::Slice;
use domain::run::{Lease, Shard};
use futures::Stream;
use proto::convert::frames;
use proto::v1;
use proto::v1::fleet_server::{Fleet, FleetServer};
use proto::v1::llm_calls_request::Message as FromClient;
use proto::v1::llm_calls_response::Message as ToClient;
use proto::v1::work_request::Message as FromWorker;
use proto::v1::work_response::Message as ToWorker;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::cli::{run, worker};

/// The worker's key, and the environment variable that holds it.
const KEY: &str = "rogue-canary-key-4410";
const VARIABLE: &str = "ROGUE_TEST_KEY";

/// Time limit of a step, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the coordinator received.
#[derive(Debug, Default)]
struct Seen {
    released: usize,
    results: Vec<v1::CallResult>,
}

/// Grants one shard under a configuration of its own choice, and permits every call.
#[derive(Clone)]
struct Rogue {
    config_json: String,
    seen: Arc<Mutex<Seen>>,
}

#[tonic::async_trait]
impl Fleet for Rogue {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let worker = request.into_inner().worker;
        let (protocol_version, version) = (proto::PROTOCOL_VERSION, "1".to_owned());
        Ok(Response::new(v1::JoinResponse { worker, protocol_version, version, session: vec![7; 16] }))
    }

    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::WorkResponse, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let (answers, outbox) = mpsc::channel(16);
        let (rogue, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut granted = false;
            while let Ok(Some(request)) = requests.message().await {
                match request.message {
                    Some(FromWorker::RequestShards(_)) if !granted => {
                        granted = true;
                        for message in rogue.grant() {
                            let _ = answers.send(Ok(v1::WorkResponse { message: Some(message) })).await;
                        }
                    }
                    Some(FromWorker::Heartbeat(v1::Heartbeat { sequence, leases, .. })) => {
                        let renewed = v1::Renewed { sequence, renewed: leases, lost: vec![] };
                        let message = Some(ToWorker::Renewed(renewed));
                        let _ = answers.send(Ok(v1::WorkResponse { message })).await;
                    }
                    Some(FromWorker::ReleaseLeases(_)) => rogue.seen.lock().unwrap().released += 1,
                    _ => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbox))))
    }

    async fn commit_shard(
        &self,
        _request: Request<Streaming<v1::CommitShardRequest>>,
    ) -> Result<Response<v1::CommitShardResponse>, Status> {
        Ok(Response::new(v1::CommitShardResponse { already: false }))
    }

    type LlmCallsStream = Pin<Box<dyn Stream<Item = Result<v1::LlmCallsResponse, Status>> + Send>>;

    async fn llm_calls(
        &self,
        request: Request<Streaming<v1::LlmCallsRequest>>,
    ) -> Result<Response<Self::LlmCallsStream>, Status> {
        let (answers, outbox) = mpsc::channel(16);
        let (rogue, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let message = match request.message {
                    Some(FromClient::AcquireCall(call)) => ToClient::CallPermit(v1::CallPermit {
                        number: call.number,
                        valid_ms: 60_000,
                        ticket: vec![7; 32],
                    }),
                    Some(FromClient::CallResult(result)) => {
                        let number = result.number;
                        rogue.seen.lock().unwrap().results.push(result);
                        ToClient::ResultPersisted(v1::ResultPersisted { number, ask_again: false })
                    }
                    _ => continue,
                };
                let _ = answers.send(Ok(v1::LlmCallsResponse { message: Some(message) })).await;
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

impl Rogue {
    /// Serves in the background of the test; returns its address.
    async fn start(config: &Value) -> (Self, String) {
        let rogue = Self { config_json: config.to_string(), seen: Arc::default() };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(FleetServer::new(rogue.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (rogue, url)
    }

    /// The run, a lease on its only shard, and the records of the shard.
    fn grant(&self) -> [ToWorker; 3] {
        let run_id = RunId::new("r").unwrap();
        let lease = Lease {
            run_id: run_id.clone(),
            shard: Shard { index: ShardIndex(0), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(1),
            ttl_ms: 60_000,
            attempt: 1,
        };
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: 'b:1'\n    \
                   securityContext: {privileged: true}\n";
        let (record, document) = domain::testing::record(0, "privileged-container", pod);
        let mut pieces = frames(Slice { records: vec![record], documents: vec![document] });
        let piece = v1::SlicePiece { slice: Some(pieces.remove(0)), last: true };
        let run = v1::RunConfig { run_id: run_id.to_string(), config_json: self.config_json.clone() };
        [ToWorker::Run(run), ToWorker::Grant(lease.into()), ToWorker::Slice(piece)]
    }

    async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let begun = Instant::now();
        while !done(&self.seen.lock().unwrap()) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {:?}", self.seen);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A provider that records the requests it receives, and completes each with an empty patch.
async fn provider() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 1 << 16];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            seen.lock().unwrap().push(String::from_utf8_lossy(&bytes[..count]).into_owned());
            let choice = json!({"message": {"content": "{\"patch\": []}"}, "finish_reason": "stop"});
            let body = json!({"choices": [choice]}).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (url, requests)
}

/// A worker's process; killed with the test.
struct Worker(Child);

impl Worker {
    fn start(coordinator: &str, more: &[&str]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("worker"));
        command.args(["serve", "--slots", "1", "--insecure", "--coordinator", coordinator]).args(more);
        command.env_clear().env(VARIABLE, KEY).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Ends it; returns what it printed.
    fn end(mut self) -> String {
        let _ = self.0.kill();
        let mut talk = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        talk
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_and_a_variable_that_a_coordinator_names_are_not_used() {
    let (address, received) = provider().await;
    let (rogue, url) = Rogue::start(&json!({
        "proposer": {"mode": "vllm", "retries": 0}, "guardrails": "none", "max_attempts": 1,
        "vllm": {"endpoint": address, "model": "m", "api_key_env": VARIABLE, "auth_header": "x-stolen"},
    }))
    .await;
    let worker = Worker::start(&url, &[]);
    rogue.until("the lease back, or a call", |seen| seen.released > 0 || !seen.results.is_empty()).await;
    assert_eq!(*received.lock().unwrap(), Vec::<String>::new(), "the rogue's address was called");
    let talk = worker.end();
    assert!(talk.contains("unknown field `endpoint`"), "it says why it refuses the run: {talk}");
    assert!(!talk.contains(KEY), "{talk}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_names_a_provider_is_sent_to_the_one_of_the_worker() {
    let (address, received) = provider().await;
    let (rogue, url) = Rogue::start(&json!({
        "proposer": {"mode": "vllm", "retries": 0}, "guardrails": "none", "max_attempts": 1, "vllm": {"model": "m"},
    }))
    .await;
    let (endpoint, key) = (format!("vllm.endpoint={address}"), format!("vllm.api_key_env={VARIABLE}"));
    let worker = Worker::start(&url, &["--set", &endpoint, "--set", &key, "--set", "seed=7"]);
    rogue.until("a call", |seen| !seen.results.is_empty()).await;
    let received = received.lock().unwrap().clone();
    let head = received.first().map(|request| request.to_ascii_lowercase()).unwrap_or_default();
    assert!(head.contains(&format!("authorization: bearer {KEY}")), "{received:?}");
    let talk = worker.end();
    assert!(talk.contains("not used: seed. "), "a key of runs is not ignored in silence: {talk}");
}

#[test]
fn a_key_that_would_go_elsewhere_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.yaml");
    std::fs::write(&file, "vllm:\n  endpoint: http://models.example\n  api_key_env: VLLM_KEY\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, variable, needed) in [
        (vec!["--set", "grok.endpoint=https://models.example"], None, ["XAI_API_KEY", "api.x.ai"]),
        (vec!["--set", "vendor.endpoint=http://api.openai.com"], None, ["OPENAI_API_KEY", "plain text"]),
        (vec!["--config", file], None, ["VLLM_KEY", "https://"]),
        (vec![], Some("http://10.0.0.1"), ["XAI_API_KEY", "plain text"]),
        (vec!["--set", "grok.endpoint=https://user:hunter2@h"], None, ["grok.endpoint", "environment"]),
        (vec!["--set", "grok.endpiont=https://h"], None, ["grok.endpiont", "grok.endpoint"]),
    ] {
        let mut command = worker();
        command.args(["serve", "--coordinator", "http://127.0.0.1:9"]).args(&arguments);
        command.envs(variable.map(|url| ("K8S_AUTO_FIX_GROK__ENDPOINT", url))).env("XAI_API_KEY", KEY);
        let (code, _, talk) = run(command.timeout(PATIENCE));
        assert_eq!(code, 2, "{arguments:?}: {talk}");
        assert!(needed.iter().all(|word| talk.contains(word)), "{arguments:?}: {talk}");
        assert!(!talk.contains("hunter2") && !talk.contains(KEY), "{talk}");
    }
}
