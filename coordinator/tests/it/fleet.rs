//! The gRPC services from the side of a worker: the test is the worker.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, reader};
use coordinator::server::connections::Limits;
use domain::config::RunConfig;
use domain::ids::{FencingToken, PartHash, RunId, WorkerName};
use domain::outcome::Outcome;
use domain::record::Record;
use domain::run::Lease;
use domain::tally::Tally;
use futures::StreamExt as _;
use proto::channel::{Connection, fleet_client};
use proto::convert::{Assembly, LeaseKey, PartHeader};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::work_request::Message as ToCoordinator;
use proto::v1::work_response::Message as FromCoordinator;
use results::part::write_part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::process::PATIENCE;
use crate::support::{Served, address, connection, detections};

/// A lease as it came, with its secret and the session of the worker that it was granted to.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) key: LeaseKey,
    pub(crate) session: Vec<u8>,
}

impl std::ops::Deref for Held {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

/// A worker driven by the test.
pub(crate) struct TestWorker {
    pub(crate) connection: Connection,
    pub(crate) session: Vec<u8>,
    /// The name that the coordinator assigned.
    pub(crate) name: String,
    requests: mpsc::Sender<v1::WorkRequest>,
    responses: Streaming<v1::WorkResponse>,
    /// The records of each lease.
    slices: BTreeMap<(RunId, FencingToken), Vec<Record>>,
}

impl TestWorker {
    pub(crate) async fn join(url: &str, name: &str) -> Self {
        Self::join_with(url, name, None).await
    }

    /// As [`Self::join`], with an API server that it can ask.
    pub(crate) async fn join_with(url: &str, name: &str, api_server: Option<v1::ApiServer>) -> Self {
        Self::join_as(url, name, api_server, Vec::new()).await
    }

    /// As [`Self::join_with`], with scanners that it can start.
    pub(crate) async fn join_as(
        url: &str,
        name: &str,
        api_server: Option<v1::ApiServer>,
        scanners: Vec<v1::ScannerVersion>,
    ) -> Self {
        let connection = connection(url);
        let mut client = fleet_client(connection.clone());
        let joined = client.join(join(name, proto::PROTOCOL_VERSION)).await.unwrap().into_inner();
        let (requests, outbox) = mpsc::channel(16);
        let (session, name) = (joined.session, joined.worker.clone());
        let open = v1::Open {
            worker: joined.worker,
            slots: 1,
            session: session.clone(),
            api_server,
            scanners,
            ..v1::Open::default()
        };
        let open = ToCoordinator::Open(open);
        requests.send(v1::WorkRequest { message: Some(open) }).await.unwrap();
        let responses = client.work(ReceiverStream::new(outbox)).await.unwrap().into_inner();
        Self { connection, session, name, requests, responses, slices: BTreeMap::new() }
    }

    pub(crate) async fn send(&self, message: ToCoordinator) {
        self.requests.send(v1::WorkRequest { message: Some(message) }).await.unwrap();
    }

    /// The error that ends the stream.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.responses.next());
            if let Err(status) = next.await.unwrap().unwrap() {
                return status;
            }
        }
    }

    pub(crate) async fn receive(&mut self) -> FromCoordinator {
        let next = tokio::time::timeout(PATIENCE, self.responses.next());
        next.await.unwrap().unwrap().unwrap().message.unwrap()
    }

    /// Requests a shard and receives it.
    pub(crate) async fn lease(&mut self) -> Held {
        self.send(ToCoordinator::RequestShards(v1::RequestShards { shards: 1 })).await;
        let (mut lease, mut slice) = (None, Assembly::default());
        loop {
            match self.receive().await {
                FromCoordinator::Grant(granted) => {
                    let key = LeaseKey::try_from(granted.key.clone().unwrap()).unwrap();
                    let (granted, session) = (Lease::try_from(granted).unwrap(), self.session.clone());
                    lease = Some(Held { lease: granted, key, session });
                }
                FromCoordinator::Slice(piece) => {
                    slice.push(piece.slice.unwrap_or_default()).unwrap();
                    if piece.last {
                        let lease = lease.unwrap();
                        self.slices.insert((lease.run_id.clone(), lease.token), slice.finish().records);
                        return lease;
                    }
                }
                _ => {}
            }
        }
    }

    /// Outcomes of the records of a lease.
    pub(crate) fn outcomes(&self, lease: &Lease) -> Vec<Outcome> {
        let records = &self.slices[&(lease.run_id.clone(), lease.token)];
        records.iter().map(|record| domain::testing::outcome(record, lease.shard.index)).collect()
    }

    /// The part of a lease.
    pub(crate) fn part(&self, lease: &Lease) -> Bytes {
        write_part(&lease.run_id, &self.outcomes(lease)).unwrap()
    }

    /// Commits the part of a lease.
    pub(crate) async fn commit(&self, lease: &Held) -> Result<bool, Status> {
        self.commit_bytes(lease, self.part(lease)).await
    }

    /// Commits some bytes under a lease, with the header that belongs to them.
    pub(crate) async fn commit_bytes(&self, lease: &Held, bytes: Bytes) -> Result<bool, Status> {
        self.upload(header(lease, bytes.len() as u64, PartHash::of(&bytes)), bytes).await
    }

    pub(crate) async fn renew(&mut self, lease: &Held) -> v1::Renewed {
        let leases = vec![lease.key.clone().into()];
        self.send(ToCoordinator::Heartbeat(v1::Heartbeat {
            sequence: 7,
            leases,
            ..v1::Heartbeat::default()
        }))
        .await;
        loop {
            if let FromCoordinator::Renewed(renewed) = self.receive().await {
                return renewed;
            }
        }
    }

    pub(crate) async fn upload(
        &self,
        header: v1::commit_shard_request::Message,
        bytes: Bytes,
    ) -> Result<bool, Status> {
        let messages = [header, v1::commit_shard_request::Message::Chunk(bytes)];
        let messages = messages.map(|message| v1::CommitShardRequest { message: Some(message) });
        let answer = fleet_client(self.connection.clone()).commit_shard(tokio_stream::iter(messages)).await?;
        Ok(answer.into_inner().already)
    }
}

/// The header of a part of `bytes` bytes.
pub(crate) fn header(lease: &Held, bytes: u64, hash: PartHash) -> v1::commit_shard_request::Message {
    let records = lease.shard.len.into();
    let header = PartHeader {
        key: lease.key.clone(),
        worker: lease.worker.clone(),
        bytes,
        hash,
        tally: Tally { records, errors: records, ..Tally::default() },
    };
    let mut header = v1::CommitHeader::from(&header);
    header.session.clone_from(&lease.session);
    v1::commit_shard_request::Message::Header(header)
}

fn join(name: &str, protocol_version: u32) -> v1::JoinRequest {
    v1::JoinRequest { protocol_version, version: "9.9.9".to_owned(), worker: name.to_owned(), slots: 1 }
}

/// Time to live of the leases in [`serve_a_run`] in seconds: longer than a busy machine takes between two steps of a test.
const LEASE_SECONDS: u32 = 3;

/// A coordinator with a run of two shards.
pub(crate) async fn serve_a_run(folder: &std::path::Path) -> (Served, Client, RunId) {
    serve_a_run_with(folder, Limits::default()).await
}

/// Like [`serve_a_run`], with other limits of incoming data.
pub(crate) async fn serve_a_run_with(
    folder: &std::path::Path,
    limits: impl Into<Limits>,
) -> (Served, Client, RunId) {
    serve_a_run_leased(folder, limits, LEASE_SECONDS).await
}

/// Like [`serve_a_run_with`], with leases of so many seconds.
pub(crate) async fn serve_a_run_leased(
    folder: &std::path::Path,
    limits: impl Into<Limits>,
    lease_seconds: u32,
) -> (Served, Client, RunId) {
    let path = folder.join("detections.json");
    detections(&path, 6);
    let served = Served::start_with(&folder.join("out"), "r", limits).await;
    let mut config = RunConfig::default();
    config.fleet.shard_size = 3;
    config.fleet.lease_seconds = lease_seconds;
    let mut client = Client::new(address(&served.url));
    let run_id = RunId::new("r").unwrap();
    let corpus = CorpusArgs { corpus: path, manifests: None };
    let request = Request { run_id: run_id.clone(), config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, &config)).await.unwrap();
    (served, client, run_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_worker_is_fenced_off() {
    let folder = tempfile::tempdir().unwrap();
    let (served, mut client, run_id) = serve_a_run(folder.path()).await;
    let mut zombie = TestWorker::join(&served.url, "zombie").await;
    let old = zombie.lease().await;
    assert_eq!(old.worker, WorkerName::new("zombie").unwrap());
    assert_eq!(zombie.renew(&old).await.renewed.len(), 1);
    tokio::time::sleep(Duration::from_millis(200 + 1000 * u64::from(LEASE_SECONDS))).await;
    assert_eq!(zombie.renew(&old).await.lost.len(), 1);

    let mut living = TestWorker::join(&served.url, "living").await;
    let new = living.lease().await;
    assert_eq!((new.shard, new.attempt), (old.shard, 2), "expired shards go first");
    assert!(new.token > old.token);

    let refused = zombie.commit(&old).await.unwrap_err();
    assert_eq!((refused.code(), ErrorReason::of(&refused)), (Code::Aborted, Some(ErrorReason::StaleToken)));
    assert!(!living.commit(&new).await.unwrap());
    assert!(living.commit(&new).await.unwrap(), "the same commit again changes nothing");
    assert!(zombie.commit(&old).await.is_err());

    let status = client.status(&run_id).await.unwrap();
    assert_eq!((status.committed, status.tally.records), (1, 3));
    let parts = std::fs::read_dir(folder.path().join("out/r/parts")).unwrap().count();
    assert_eq!(parts, 1, "the zombie's part is deleted");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_does_not_match_its_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (served, mut client, run_id) = serve_a_run(folder.path()).await;
    let mut worker = TestWorker::join(&served.url, "w").await;
    let lease = worker.lease().await;
    let part = worker.part(&lease);
    let other = header(&lease, part.len() as u64, PartHash::of(b"another part"));
    let refused = worker.upload(other, part).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::DamagedPart), "{refused}");
    assert_eq!(client.status(&run_id).await.unwrap().committed, 0);
    assert!(!worker.commit(&lease).await.unwrap());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_shard_is_leased_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (served, mut client, run_id) = serve_a_run(folder.path()).await;
    let (mut one, mut two) =
        (TestWorker::join(&served.url, "w").await, TestWorker::join(&served.url, "w").await);
    let (first, second) = (one.lease().await, two.lease().await);
    assert_ne!(first.worker, second.worker, "names are made unique");
    let release = v1::ReleaseLeases { leases: vec![first.key.clone().into()], failed: false };
    one.send(ToCoordinator::ReleaseLeases(release)).await;
    let again = two.lease().await;
    assert_eq!((again.shard, again.attempt), (first.shard, 2));
    let status = client.status(&run_id).await.unwrap();
    assert_eq!((status.leased, status.workers), (2, 2));

    let cancelled = client.cancel(&run_id).await.unwrap();
    assert_eq!(cancelled.state.as_str(), "cancelled");
    assert_eq!(two.renew(&again).await.lost.len(), 1, "a cancelled run has no leases");
    assert!(two.commit(&again).await.is_err());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_version_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    let mut client = fleet_client(connection(&served.url));
    let refused = client.join(join("w", proto::PROTOCOL_VERSION + 1)).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::VersionMismatch));
    assert!(refused.message().contains("9.9.9") && refused.message().contains("same release"), "{refused}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_version_is_refused_with_a_remedy_and_one_without_a_version_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    // Without our stamp, as a general gRPC tool.
    let path = std::path::PathBuf::from(served.url.trim_start_matches("unix:"));
    let channel = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    let mut client = v1::runs_client::RunsClient::new(channel.connect_lazy());
    let mut request = tonic::Request::new(v1::ListRequest {});
    request.metadata_mut().insert(proto::channel::PROTOCOL_KEY, "99".parse().unwrap());
    let refused = client.list(request).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::VersionMismatch));
    let text = refused.message();
    assert!(text.contains("the client speaks protocol 99") && text.contains("same release"), "{text}");
    assert!(client.list(v1::ListRequest {}).await.is_ok());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_submission_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    let mut runs = proto::channel::runs_client(connection(&served.url));
    let header = v1::SubmitHeader {
        run_id: "r".to_owned(),
        config_json: proto::convert::config_to_wire(&RunConfig::default()),
        source: String::new(),
    };
    let message = v1::submit_request::Message::Header(header);
    let refused =
        runs.submit(tokio_stream::iter([v1::SubmitRequest { message: Some(message) }])).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::BadMessage), "{refused}");
    let listed = runs.list(v1::ListRequest {}).await.unwrap().into_inner();
    assert!(listed.runs.is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(connection(&served.url));
    let service = "k8s_auto_fix.v1.Fleet".to_owned();
    let answer = health.check(tonic_health::pb::HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    let mut reflection = ServerReflectionClient::new(connection(&served.url));
    let mut ask = async |message: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
        answers.into_inner().next().await.unwrap().unwrap().message_response.unwrap()
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for name in ["k8s_auto_fix.v1.Fleet", "k8s_auto_fix.v1.Runs", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let symbol = ask(MessageRequest::FileContainingSymbol("k8s_auto_fix.v1.Lease".to_owned())).await;
    let MessageResponse::FileDescriptorResponse(files) = symbol else { panic!("{symbol:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
    served.stop().await;
}
