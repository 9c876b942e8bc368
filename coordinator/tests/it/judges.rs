//! Runs whose schema gate asks an API server: who is leased their shards, what is asked once, what a dead server does.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, JudgeServer, Machine, ServerJudge, Unreachable, Workers, reader};
use coordinator::llm_gateway::response_cache::ResponseCache;
use domain::api_server::SchemaDepth;
use domain::api_server::{ServerCause, ServerClass, ServerIdentity, ServerVerdict};
use domain::config::RunConfig;
use domain::ids::{DocumentHash, RunId};
use domain::run::RunState;
use futures::future::BoxFuture;
use proto::channel::fleet_client;
use proto::convert::{RunStatus, verdict_from_wire, verdict_to_wire};
use proto::status::ErrorReason;
use proto::v1;
use results::run_file::RunFile;
use results::store::Store;

use crate::fleet::{Held, TestWorker};
use crate::process::PATIENCE;
use crate::support::{Served, address, coordinator, detections};

/// An API server that refuses Pods without a privileged container, with causes in an order that changes.
#[derive(Clone)]
struct FakeServer {
    identity: ServerIdentity,
    asked: Arc<AtomicU64>,
    /// It dies at this question, until it is revived.
    dies_at: u64,
    dead: Arc<AtomicBool>,
}

impl FakeServer {
    fn new(version: &str) -> Self {
        let identity = ServerIdentity::new(version, "").unwrap();
        Self { identity, asked: Arc::default(), dies_at: u64::MAX, dead: Arc::default() }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// A worker's view of it, without memory.
    fn judge(&self) -> Arc<ServerJudge> {
        Arc::new(ServerJudge::new(self.clone()))
    }
}

impl JudgeServer for FakeServer {
    fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    fn judge<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ServerVerdict, Unreachable>> {
        Box::pin(async move {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            if number == self.dies_at {
                self.dead.store(true, Ordering::SeqCst);
            }
            if self.dead.load(Ordering::SeqCst) {
                return Err(Unreachable("connection refused".to_owned()));
            }
            let refused = text.contains("kind: Pod") && !text.contains("privileged: true");
            let cause = |field: &str| ServerCause {
                field: field.to_owned(),
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value".to_owned(),
            };
            let mut causes = vec![cause("spec.a"), cause("spec.b"), cause("spec.c")];
            causes.rotate_left(usize::try_from(number % 3).unwrap());
            Ok(ServerVerdict {
                class: if refused { ServerClass::Invalid } else { ServerClass::Accepted },
                code: if refused { 422 } else { 201 },
                causes: if refused { causes } else { Vec::new() },
                message: None,
                warnings: Vec::new(),
            })
        })
    }
}

/// Submits a corpus as a run of this depth.
async fn submit(served: &Served, corpus: &Path, run: &str, depth: SchemaDepth) -> Client {
    let mut config = RunConfig::default();
    config.verifier.depth = depth;
    config.fleet.shard_size = 10;
    let corpus = CorpusArgs { corpus: corpus.to_owned(), manifests: None };
    let mut client = Client::new(address(&served.url));
    let request = Request { run_id: RunId::new(run).unwrap(), config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, &config)).await.unwrap();
    client
}

/// Runs a corpus with so many workers that ask `server`.
async fn run(served: &Served, corpus: &Path, run: &str, workers: usize, fake: &FakeServer) -> RunStatus {
    let mut client = submit(served, corpus, run, SchemaDepth::Server).await;
    let count = NonZeroUsize::new(workers).unwrap();
    let machine = Machine { server: Some(fake.judge()), ..Machine::default() };
    let mut workers = Workers::none();
    workers.start(&address(&served.url), count, &machine).unwrap();
    let status = finished(&mut client, run).await;
    workers.drain().await;
    status
}

async fn finished(client: &mut Client, run: &str) -> RunStatus {
    let run_id = RunId::new(run).unwrap();
    let ended = tokio::time::timeout(3 * PATIENCE, client.follow(&run_id, |_| {})).await;
    let status = ended.expect("it ends").unwrap();
    assert_eq!(status.state, RunState::Finished, "{status:?}");
    status
}

async fn status(client: &mut Client, run: &str) -> RunStatus {
    client.status(&RunId::new(run).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_asks_nothing_and_has_the_same_fingerprint_with_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 120);
    let served = Served::start(&out, "first").await;
    let fake = FakeServer::new("v1.37.2");
    let first = run(&served, &corpus, "first", 1, &fake).await;
    let asked = fake.asked();
    assert!(asked > 30, "{asked}");
    assert!(first.tally.rejected > 0 && first.tally.errors > 0, "{first:?}");
    let judge = first.judge.clone().unwrap();
    assert_eq!(judge.depth, SchemaDepth::Server);
    assert_eq!(judge.server.unwrap().version(), "v1.37.2");
    let second = run(&served, &corpus, "second", 3, &fake).await;
    assert_eq!(fake.asked(), asked, "every verdict was known");
    assert_eq!(second.fingerprint, first.fingerprint);
    let run_file = RunFile::load(&Store::local(&out.join("second")).unwrap()).await.unwrap();
    assert_eq!(run_file.judged_by, Some(ServerIdentity::new("v1.37.2", "").unwrap()));
    served.stop().await;

    // Elsewhere, without the verdicts: its causes come in another order.
    let elsewhere = folder.path().join("elsewhere");
    let served = Served::start(&elsewhere, "third").await;
    let other = FakeServer { asked: Arc::new(AtomicU64::new(1)), ..FakeServer::new("v1.37.2") };
    let third = run(&served, &corpus, "third", 2, &other).await;
    assert!(other.asked() > asked);
    assert_eq!(third.fingerprint, first.fingerprint);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judged_run_is_replayed_without_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let served = Served::start(&out, "judged").await;
    run(&served, &corpus, "judged", 2, &FakeServer::new("v1.37.2")).await;
    served.stop().await;
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bundle = |answers: &str, to: &str| {
        let output = coordinator(&["bundle", &at("out/judged"), "--answers", answers, "--out", to]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = bundle(&at("out/judged/.coordinator/answers.sqlite"), &at("whole.tar.gz"));
    assert_eq!((code, said.starts_with("same fingerprint: ")), (Some(0), true), "{said}");
    let output = coordinator(&["replay", &at("whole.tar.gz")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    drop(ResponseCache::open(&folder.path().join("empty.sqlite")).unwrap());
    let (code, said) = bundle(&at("empty.sqlite"), &at("without.tar.gz"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("without a recorded verdict of the API server"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_pauses_the_run_and_fails_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 120);
    let served = Served::start(&out, "whole").await;
    let whole = run(&served, &corpus, "whole", 2, &FakeServer::new("v1.37.2")).await;
    served.stop().await;

    let elsewhere = folder.path().join("elsewhere");
    let served = Served::start(&elsewhere, "paused").await;
    let fake = FakeServer { dies_at: 20, ..FakeServer::new("v1.37.2") };
    let mut client = submit(&served, &corpus, "paused", SchemaDepth::Server).await;
    let two = NonZeroUsize::new(2).unwrap();
    let start = || {
        let machine = Machine { server: Some(fake.judge()), ..Machine::default() };
        let mut workers = Workers::none();
        workers.start(&address(&served.url), two, &machine).unwrap();
        workers
    };
    let workers = start();
    let begun = std::time::Instant::now();
    let waits_for = loop {
        let judge = status(&mut client, "paused").await.judge.unwrap();
        if let Some(waits_for) = judge.waits_for.filter(|_| fake.dead.load(Ordering::SeqCst)) {
            break waits_for;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "it does not say that it waits");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(waits_for, "the API server v1.37.2 cannot be reached");
    // The workers end and hand their shards back; others go on when the server lives again.
    workers.drain().await;
    let paused = status(&mut client, "paused").await;
    assert_eq!((paused.state, paused.leased), (RunState::Running, 0), "{paused:?}");
    fake.dead.store(false, Ordering::SeqCst);
    let workers = start();
    let resumed = finished(&mut client, "paused").await;
    workers.drain().await;
    assert_eq!(resumed.fingerprint, whole.fingerprint);
    served.stop().await;
}

/// Requests a shard; whether one is leased soon.
async fn is_leased(worker: &mut TestWorker) -> Option<Held> {
    tokio::time::timeout(Duration::from_millis(500), worker.lease()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_needs_a_server_is_leased_to_workers_of_one_server_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let served = Served::start(&out, "r").await;
    let mut client = submit(&served, &corpus, "r", SchemaDepth::Both).await;
    let mut without = TestWorker::join(&served.url, "without").await;
    assert!(is_leased(&mut without).await.is_none());
    let judge = status(&mut client, "r").await.judge.unwrap();
    assert_eq!((judge.depth, &judge.server), (SchemaDepth::Both, &None));
    let waits_for = judge.waits_for.unwrap();
    assert!(waits_for.starts_with("no worker can ask an API server: start a worker with"), "{waits_for}");

    let api_server =
        |version: &str| Some(v1::ApiServer { version: version.to_owned(), flags: "a=b".to_owned() });
    let mut with = TestWorker::join_with(&served.url, "with", api_server("v1.37.2")).await;
    let held = is_leased(&mut with).await.expect("it can ask a server");
    let mut other = TestWorker::join_with(&served.url, "other", api_server("v1.36.0")).await;
    assert!(is_leased(&mut other).await.is_none(), "one server judges a run");
    let mut same = TestWorker::join_with(&served.url, "same", api_server("v1.37.2")).await;
    assert!(is_leased(&mut same).await.is_some());
    let judge = status(&mut client, "r").await.judge.unwrap();
    assert_eq!(judge.server, Some(ServerIdentity::new("v1.37.2", "a=b").unwrap()));
    assert_eq!(judge.waits_for, None);

    // Also after a restart of the coordinator.
    with.commit(&held).await.unwrap();
    drop((without, with, other, same));
    served.stop().await;
    let served = Served::start(&out, "r").await;
    let mut client = Client::new(address(&served.url));
    let judge = status(&mut client, "r").await.judge.unwrap();
    assert!(judge.waits_for.unwrap().contains("no worker can ask API server v1.37.2 with flags a=b"));
    let mut other = TestWorker::join_with(&served.url, "other", api_server("v1.36.0")).await;
    assert!(is_leased(&mut other).await.is_none());
    let embedded = submit(&served, &corpus, "embedded", SchemaDepth::Embedded).await;
    drop(embedded);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_are_of_holders_of_leases_alone_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let served = Served::start(&out, "r").await;
    submit(&served, &corpus, "r", SchemaDepth::Server).await;
    let api_server = Some(v1::ApiServer { version: "v1.37.2".to_owned(), flags: String::new() });
    let mut worker = TestWorker::join_with(&served.url, "w", api_server).await;
    let held = worker.lease().await;
    let holder = v1::LeaseHolder {
        key: Some(held.key.clone().into()),
        worker: worker.name.clone(),
        session: worker.session.clone(),
    };
    let text = DocumentHash::of(b"kind: Pod");
    let verdict = ServerVerdict {
        class: ServerClass::Accepted,
        code: 201,
        causes: Vec::new(),
        message: None,
        warnings: Vec::new(),
    };
    let put = |holder: &v1::LeaseHolder, count: usize| v1::PutVerdictsRequest {
        holder: Some(holder.clone()),
        verdicts: vec![verdict_to_wire(&text, &verdict); count],
    };
    let get = |holder: &v1::LeaseHolder, documents: Vec<Vec<u8>>| v1::GetVerdictsRequest {
        holder: Some(holder.clone()),
        documents,
    };
    let mut client = fleet_client(worker.connection.clone());
    let asked = vec![text.as_bytes().to_vec(), vec![7; 32]];
    let none = client.get_verdicts(get(&holder, asked.clone())).await.unwrap().into_inner();
    assert_eq!(none.verdicts, []);
    client.put_verdicts(put(&holder, 1)).await.unwrap();
    let found = client.get_verdicts(get(&holder, asked)).await.unwrap().into_inner().verdicts;
    assert_eq!(found.len(), 1);
    assert_eq!(verdict_from_wire(&found[0]).unwrap(), (text, verdict.clone()));

    let key = |change: fn(&mut v1::LeaseKey)| {
        let mut holder = holder.clone();
        change(holder.key.as_mut().unwrap());
        holder
    };
    let refusals = [
        (key(|key| key.secret = vec![0; 16]), ErrorReason::PermissionDenied),
        (key(|key| key.token += 1), ErrorReason::PermissionDenied),
        (v1::LeaseHolder { session: vec![1; 16], ..holder.clone() }, ErrorReason::UnknownSession),
    ];
    for (other, reason) in refusals {
        let refused = client.put_verdicts(put(&other, 1)).await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(reason), "{refused}");
        let refused = client.get_verdicts(get(&other, vec![])).await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(reason), "{refused}");
    }
    let refused = client.put_verdicts(put(&holder, 257)).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::TooLarge));
    let refused = client.get_verdicts(get(&holder, vec![vec![1; 31]])).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::BadMessage));
    // A lease that was given back.
    let leases = vec![held.key.clone().into()];
    worker.send(v1::work_request::Message::ReleaseLeases(v1::ReleaseLeases { leases, failed: false })).await;
    let begun = std::time::Instant::now();
    while client.put_verdicts(put(&holder, 1)).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the lease has ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.stop().await;
}
