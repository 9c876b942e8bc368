//! Time limits of incoming streams: a stalled stream ends, and does not hold up others.

use std::time::Duration;

use coordinator::server::stream_limits::StreamLimits;
use domain::ids::PartHash;
use futures::{Stream, StreamExt as _, stream};
use proto::channel::{Connection, fleet_client, runs_client};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::commit_shard_request::Message as Commit;
use proto::v1::submit_request::Message as Submit;
use proto::v1::work_request::Message as ToCoordinator;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::fleet::{Held, TestWorker, header, serve_a_run_with};
use crate::support::{Served, connection};

/// Longer than any step here, and shorter than `upload_chunk`: a commit that waits for that limit fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A limit that is soon passed.
const SOON: Duration = Duration::from_millis(200);

/// An upload in the background, with the error that ends it.
struct Upload(JoinHandle<Status>);

impl Upload {
    fn begin(connection: &Connection, messages: impl Stream<Item = Commit> + Send + 'static) -> Self {
        let mut client = fleet_client(connection.clone());
        let messages = messages.map(|message| v1::CommitShardRequest { message: Some(message) });
        Self(tokio::spawn(async move { client.commit_shard(messages).await.unwrap_err() }))
    }

    /// Announces 256 MiB, sends 1,000 bytes, and then nothing.
    fn stalled(connection: &Connection, lease: &Held) -> Self {
        let messages =
            [header(lease, 256 << 20, PartHash::of(b"the part")), Commit::Chunk(vec![7; 1000].into())];
        Self::begin(connection, stream::iter(messages).chain(stream::pending()))
    }

    async fn refused(self) -> Status {
        tokio::time::timeout(PATIENCE, self.0).await.unwrap().unwrap()
    }
}

fn assert_timed_out(status: &Status, what: &str) {
    assert_eq!(
        (ErrorReason::of(status), status.code()),
        (Some(ErrorReason::TimedOut), Code::DeadlineExceeded),
        "{status}"
    );
    assert!(status.message().contains(what) && proto::status::is_transient(status), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_stops_no_other_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (served, mut client, run_id) = serve_a_run_with(folder.path(), StreamLimits::default()).await;
    let (mut stalls, mut works) =
        (TestWorker::join(&served.url, "stalls").await, TestWorker::join(&served.url, "works").await);
    let (first, second) = (stalls.lease().await, works.lease().await);
    let uploads: Vec<Upload> = (0..12).map(|_| Upload::stalled(&stalls.connection, &first)).collect();
    served.receives(uploads.len()).await;
    let committed = tokio::time::timeout(PATIENCE, works.commit(&second)).await;
    assert!(!committed.expect("other commits go on").unwrap());
    assert_eq!(client.status(&run_id).await.unwrap().committed, 1);
    for upload in &uploads {
        upload.0.abort();
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_ends_when_its_next_chunk_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { upload_chunk: SOON, ..StreamLimits::default() };
    let (served, _, _) = serve_a_run_with(folder.path(), limits).await;
    let mut worker = TestWorker::join(&served.url, "w").await;
    let lease = worker.lease().await;
    assert_timed_out(&Upload::stalled(&worker.connection, &lease).refused().await, "the next chunk");
    assert!(!worker.commit(&lease).await.unwrap(), "repeated, it is committed");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_ends_at_the_limit_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { upload: SOON, ..StreamLimits::default() };
    let (served, _, _) = serve_a_run_with(folder.path(), limits).await;
    let mut worker = TestWorker::join(&served.url, "w").await;
    let lease = worker.lease().await;
    let drops = stream::repeat(Commit::Chunk(vec![7].into())).then(async |drop| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop
    });
    let upload = Upload::begin(
        &worker.connection,
        stream::iter([header(&lease, 1 << 20, PartHash::of(b"the part"))]).chain(drops),
    );
    assert_timed_out(&upload.refused().await, "the whole part");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_ends_when_its_shard_is_leased_again() {
    let folder = tempfile::tempdir().unwrap();
    let (served, _, _) = serve_a_run_with(folder.path(), StreamLimits::default()).await;
    let mut worker = TestWorker::join(&served.url, "w").await;
    let old = worker.lease().await;
    let upload = Upload::stalled(&worker.connection, &old);
    served.receives(1).await;
    let leases = vec![old.key.clone().into()];
    worker.send(ToCoordinator::ReleaseLeases(v1::ReleaseLeases { leases, failed: false })).await;
    assert_eq!(worker.lease().await.shard, old.shard);
    assert_eq!(ErrorReason::of(&upload.refused().await), Some(ErrorReason::StaleToken));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_first_message_ends() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { first_message: SOON, ..StreamLimits::default() };
    let served = Served::start_with(folder.path(), "r", limits).await;
    let connection = connection(&served.url);
    let mut fleet = fleet_client(connection.clone());
    let ended = async {
        let mut work = fleet.work(stream::pending()).await.unwrap().into_inner();
        assert_timed_out(&work.message().await.unwrap_err(), "the first message");
        let mut llm_calls = fleet.llm_calls(stream::pending()).await.unwrap().into_inner();
        assert_timed_out(&llm_calls.message().await.unwrap_err(), "the first message");
        let upload = fleet.commit_shard(stream::pending()).await;
        assert_timed_out(&upload.unwrap_err(), "the header of the part");
        let submission = runs_client(connection).submit(stream::pending()).await;
        assert_timed_out(&submission.unwrap_err(), "the header of the run");
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_heartbeats_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { work_silence: SOON, ..StreamLimits::default() };
    let (served, mut client, _) = serve_a_run_with(folder.path(), limits).await;
    let mut worker = TestWorker::join(&served.url, "silent").await;
    assert_timed_out(&worker.end().await, "a heartbeat");
    assert!(client.workers().await.unwrap().is_empty());
    served.stop().await;
}

/// Submits `messages` after the header of run `r`; returns the error.
async fn submit(served: &Served, messages: impl Stream<Item = Submit> + Send + 'static) -> Status {
    let head = Submit::Header(v1::SubmitHeader {
        run_id: "r".to_owned(),
        config_json: proto::convert::config_to_wire(&domain::config::RunConfig::default()),
        source: String::new(),
    });
    let messages = stream::iter([head]).chain(messages);
    let messages = messages.map(|message| v1::SubmitRequest { message: Some(message) });
    let mut runs = runs_client(connection(&served.url));
    tokio::time::timeout(PATIENCE, runs.submit(messages)).await.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_ends_when_its_next_slice_is_late_and_its_name_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { submit_slice: SOON, ..StreamLimits::default() };
    let served = Served::start_with(folder.path(), "r", limits).await;
    for _ in 0..2 {
        assert_timed_out(&submit(&served, stream::pending()).await, "the next slice");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_submission_ends_at_the_limit_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StreamLimits { submit: SOON, ..StreamLimits::default() };
    let served = Served::start_with(folder.path(), "r", limits).await;
    let slices = stream::repeat(()).then(async |()| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Submit::Slice(v1::Slice::default())
    });
    assert_timed_out(&submit(&served, slices).await, "the whole corpus");
    served.stop().await;
}
