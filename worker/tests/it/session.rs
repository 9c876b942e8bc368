//! A worker's session against a fake coordinator.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::config::RunConfig;
use domain::ids::{FencingToken, RunId, ShardIndex, WorkerName};
use domain::record::Slice;
use domain::run::{Lease, Shard};
use futures::Stream;
use proto::channel::{Access, CoordinatorAddress};
use proto::convert::{LeaseKey, PartHeader, config_to_wire, frames};
use proto::status::{ApiError, ErrorReason};
use proto::v1;
use proto::v1::fleet_server::{Fleet, FleetServer};
use proto::v1::work_request::Message as Ask;
use proto::v1::work_response::Message as Answer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use worker::session::{self, Options, SessionError, Stage, Summary};

/// Time limit of a step, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Behaviour of the fake coordinator.
#[derive(Debug, Clone, Copy)]
struct Script {
    /// Whether it grants leases.
    grants: bool,
    /// Time to live of its leases.
    ttl_ms: u64,
    /// Whether it answers heartbeats.
    renews: bool,
    /// How many streams break in the middle of a slice.
    breaks: u64,
    /// For how long commits are refused.
    refuses: Duration,
    /// Whether it admits this worker.
    admits: bool,
    /// Protocol version that it announces.
    version: u32,
}

/// What it received.
#[derive(Debug, Default)]
struct Seen {
    joins: u64,
    heartbeats: u64,
    commits: Vec<(PartHeader, Instant)>,
    /// The sessions that commits carried.
    sessions: Vec<Vec<u8>>,
    deregistered: bool,
    granted: Option<Instant>,
}

#[derive(Clone)]
struct FakeCoordinator {
    script: Script,
    seen: Arc<Mutex<Seen>>,
}

/// The secrets that the fake coordinator sends.
const LEASE_SECRET: [u8; 16] = [1; 16];
const SESSION: [u8; 16] = [2; 16];

impl FakeCoordinator {
    /// Serves on the runtime of the caller; returns its address.
    async fn start(script: Script) -> (Self, String) {
        let coordinator = Self { script, seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(FleetServer::new(coordinator.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (coordinator, url)
    }

    fn see<T>(&self, read: impl FnOnce(&mut Seen) -> T) -> T {
        read(&mut self.seen.lock().unwrap())
    }

    /// Grants one shard of one record per stream; its token is the number of the stream.
    async fn grant(&self, stream: u64, answers: &mpsc::Sender<Result<v1::WorkResponse, Status>>) {
        let run_id = RunId::new("r").unwrap();
        let config_json = config_to_wire(&RunConfig::default());
        let lease = Lease {
            run_id: run_id.clone(),
            shard: Shard { index: ShardIndex(0), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(stream),
            ttl_ms: self.script.ttl_ms,
            attempt: 1,
        };
        let mut grant = v1::Lease::from(lease);
        if let Some(key) = &mut grant.key {
            key.secret = LEASE_SECRET.to_vec();
        }
        let (record, document) = domain::testing::record(0, "latest-tag", "kind: Pod");
        let mut pieces = frames(Slice { records: vec![record], documents: vec![document] });
        let piece = v1::SlicePiece { slice: Some(pieces.remove(0)), last: stream > self.script.breaks };
        self.see(|seen| seen.granted = Some(Instant::now()));
        for message in [
            Answer::Run(v1::RunConfig { run_id: run_id.to_string(), config_json }),
            Answer::Grant(grant),
            Answer::Slice(piece),
        ] {
            answers.send(Ok(v1::WorkResponse { message: Some(message) })).await.unwrap();
        }
        if stream <= self.script.breaks {
            answers.send(Err(Status::unavailable("the stream broke"))).await.unwrap();
        }
    }
}

#[tonic::async_trait]
impl Fleet for FakeCoordinator {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        self.see(|seen| seen.joins += 1);
        if !self.script.admits {
            return Err(
                ApiError::new(ErrorReason::VersionMismatch, "install the same release on both").into()
            );
        }
        let worker = request.into_inner().worker;
        Ok(Response::new(v1::JoinResponse {
            worker,
            protocol_version: self.script.version,
            version: "7.7.7".to_owned(),
            session: SESSION.to_vec(),
        }))
    }

    type LlmCallsStream = Pin<Box<dyn Stream<Item = Result<v1::LlmCallsResponse, Status>> + Send>>;

    async fn llm_calls(
        &self,
        _request: Request<Streaming<v1::LlmCallsRequest>>,
    ) -> Result<Response<Self::LlmCallsStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::WorkResponse, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let (answers, outbox) = mpsc::channel(16);
        let (coordinator, mut asks) = (self.clone(), request.into_inner());
        let stream = self.see(|seen| seen.joins);
        tokio::spawn(async move {
            let mut granted = false;
            while let Ok(Some(ask)) = asks.message().await {
                match ask.message {
                    Some(Ask::RequestShards(request)) if coordinator.script.grants && !granted => {
                        let expected = if stream == 1 { 1 } else { 2 };
                        assert_eq!(
                            request.shards, expected,
                            "one until the kind of the run is known, then one for the slot and one ahead"
                        );
                        granted = true;
                        coordinator.grant(stream, &answers).await;
                    }
                    Some(Ask::Heartbeat(heartbeat)) => {
                        coordinator.see(|seen| seen.heartbeats += 1);
                        if coordinator.script.renews {
                            let (sequence, renewed) = (heartbeat.sequence, heartbeat.leases);
                            let renewed = Answer::Renewed(v1::Renewed { sequence, renewed, lost: vec![] });
                            let _ = answers.send(Ok(v1::WorkResponse { message: Some(renewed) })).await;
                        }
                    }
                    Some(Ask::Deregister(_)) => coordinator.see(|seen| seen.deregistered = true),
                    _ => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbox))))
    }

    async fn commit_shard(
        &self,
        request: Request<Streaming<v1::CommitShardRequest>>,
    ) -> Result<Response<v1::CommitShardResponse>, Status> {
        let mut stream = request.into_inner();
        let Some(v1::commit_shard_request::Message::Header(header)) =
            stream.message().await?.unwrap().message
        else {
            panic!("the header comes first");
        };
        self.see(|seen| seen.sessions.push(header.session.clone()));
        let header = PartHeader::try_from(header).unwrap();
        let mut bytes = 0;
        while let Some(message) = stream.message().await? {
            let Some(v1::commit_shard_request::Message::Chunk(chunk)) = message.message else {
                panic!("a chunk")
            };
            bytes += chunk.len() as u64;
        }
        assert_eq!(bytes, header.bytes);
        let granted = self.see(|seen| {
            seen.commits.push((header, Instant::now()));
            seen.granted.unwrap_or_else(Instant::now)
        });
        if granted.elapsed() < self.script.refuses {
            return Err(Status::unavailable("not now"));
        }
        Ok(Response::new(v1::CommitShardResponse { already: false }))
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

struct Session {
    coordinator: FakeCoordinator,
    stage: watch::Sender<Stage>,
    worker: JoinHandle<Result<Summary, SessionError>>,
}

impl Session {
    async fn start(script: Script) -> Self {
        let (coordinator, url) = FakeCoordinator::start(script).await;
        Self::join(coordinator, &url)
    }

    /// A worker of the coordinators at these addresses.
    fn join(coordinator: FakeCoordinator, url: &str) -> Self {
        let (stage, stages) = watch::channel(Stage::Work);
        // The fake coordinator proves nothing.
        let access = Access { insecure: true, ..Access::default() };
        let options = Options {
            coordinator: CoordinatorAddress::parse(url, &access).unwrap(),
            name: WorkerName::new("w").unwrap(),
            slots: NonZeroUsize::MIN,
            questions: session::QUESTIONS,
            providers: llm::providers::Providers::default(),
            programs: Arc::default(),
            server: None,
            scanners: Vec::new(),
        };
        Self { coordinator, stage, worker: tokio::spawn(session::serve(options, stages)) }
    }

    async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let begun = Instant::now();
        while !self.coordinator.see(|seen| done(seen)) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {:?}", self.coordinator.seen);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn drained(self) -> (Summary, FakeCoordinator) {
        self.stage.send_replace(Stage::Drain);
        (self.worker.await.unwrap().unwrap(), self.coordinator)
    }
}

const CALM: Script = Script {
    grants: true,
    ttl_ms: 60_000,
    renews: true,
    breaks: 0,
    refuses: Duration::ZERO,
    admits: true,
    version: proto::PROTOCOL_VERSION,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_is_reopened_and_a_partial_slice_is_dropped() {
    let session = Session::start(Script { breaks: 2, ..CALM }).await;
    session.until("the commit", |seen| !seen.commits.is_empty()).await;
    let (summary, coordinator) = session.drained().await;
    coordinator.see(|seen| {
        assert_eq!(seen.joins, 3);
        let (header, _) = &seen.commits[0];
        let key = LeaseKey::new(RunId::new("r").unwrap(), ShardIndex(0), FencingToken(3));
        assert_eq!((&header.key, header.tally.records), (&key, 1));
        assert_eq!(header.key.secret.expose(), &LEASE_SECRET, "the lease's secret comes back");
        assert!(seen.sessions.iter().all(|session| session == &SESSION), "and the session's");
        assert!(seen.deregistered);
    });
    assert_eq!(summary, Summary { committed: 1, ..Summary::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_lease_outlives_its_ttl_while_the_commit_is_retried() {
    let session = Session::start(Script { ttl_ms: 2500, refuses: REFUSES, ..CALM }).await;
    let taken =
        |seen: &Seen| seen.commits.last().is_some_and(|(_, at)| *at > seen.granted.unwrap() + REFUSES);
    session.until("the accepted commit", taken).await;
    let (summary, coordinator) = session.drained().await;
    assert_eq!(summary.committed, 1);
    coordinator.see(|seen| {
        assert!(seen.heartbeats > 0);
        assert!(seen.commits.len() > 1);
        assert!(
            seen.commits.iter().all(|(header, _)| header == &seen.commits[0].0),
            "the same part every time"
        );
    });
}

/// Twice the time to live of the lease, which is renewed meanwhile.
const REFUSES: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_deadline_nothing_is_sent() {
    let session = Session::start(Script { ttl_ms: 700, renews: false, refuses: Duration::MAX, ..CALM }).await;
    session.until("a first try", |seen| !seen.commits.is_empty()).await;
    // Well after the deadline, however long the grant was on its way.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let tries = session.coordinator.see(|seen| seen.commits.len());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(session.coordinator.see(|seen| seen.commits.len()), tries, "sent after the deadline");
    let (summary, _) = session.drained().await;
    assert_eq!(summary, Summary { lost: 1, ..Summary::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_committed_where_the_worker_joined_last() {
    // Its connections end with its runtime, as with a process that is killed.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let refuses = Script { refuses: Duration::MAX, ..CALM };
    let (first, first_url) = runtime.spawn(FakeCoordinator::start(refuses)).await.unwrap();
    let (second, second_url) = FakeCoordinator::start(Script { grants: false, ..CALM }).await;
    let session = Session::join(first.clone(), &format!("{first_url},{second_url}"));
    session.until("a try at the first", |seen| !seen.commits.is_empty()).await;
    assert_eq!(second.see(|seen| seen.joins), 0, "the first answers");
    runtime.shutdown_background();

    let session = Session { coordinator: second, ..session };
    // Its part may be there before it has joined: the two go over one connection.
    session.until("a commit at the second", |seen| !seen.commits.is_empty() && seen.joins > 0).await;
    let (summary, second) = session.drained().await;
    assert_eq!(summary, Summary { committed: 1, ..Summary::default() });
    second.see(|seen| {
        assert_eq!(seen.joins, 1);
        assert_eq!(Some(&seen.commits[0].0), first.see(|seen| Some(seen.commits[0].0.clone())).as_ref());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_another_version_gives_up() {
    let session = Session::start(Script { admits: false, ..CALM }).await;
    let ended = tokio::time::timeout(PATIENCE, session.worker).await.unwrap().unwrap();
    let error = ended.unwrap_err();
    assert!(matches!(error, SessionError::Refused(_)), "{error}");
    assert!(error.to_string().contains("same release"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_refuses_a_coordinator_of_another_version() {
    let session = Session::start(Script { version: proto::PROTOCOL_VERSION + 1, ..CALM }).await;
    let ended = tokio::time::timeout(PATIENCE, session.worker).await.unwrap().unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("the coordinator speaks") && error.contains("7.7.7"), "{error}");
    assert!(error.contains("same release"), "{error}");
}
