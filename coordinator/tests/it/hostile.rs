//! A client that speaks the protocol and lies: what it sends is refused with a reason, and honest workers go on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coordinator::client::Client;
use coordinator::server::stream_limits::StreamLimits;
use domain::answer::{CallOutcome, FailureKind};
use domain::budget::Usage;
use domain::ids::{DocumentHash, PartHash, RecordId, RunId, WorkerName};
use domain::outcome::Outcome;
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::llm_calls_request::Message as ToGateway;
use proto::v1::llm_calls_response::Message as FromGateway;
use proto::v1::work_response::Message as FromCoordinator;
use results::part::write_part;
use tonic::{Code, Status};

use crate::fleet::{TestWorker, header, serve_a_run, serve_a_run_with};
use crate::llm_stream::{TestStream, answered, config, key, status, submit};
use crate::process::PATIENCE;
use crate::support::{Served, address, coordinator, detections, run};

fn assert_refused(refused: &Status, needed: &str) {
    assert_eq!(
        (refused.code(), ErrorReason::of(refused)),
        (Code::InvalidArgument, Some(ErrorReason::PartRefused)),
        "{refused}"
    );
    assert!(refused.message().contains(needed), "{needed:?} is not in {refused}");
    assert!(!proto::status::is_transient(refused), "it is not sent again");
}

/// Changes right outcomes into a forged part.
type Forge = fn(&mut Vec<Outcome>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_part_is_refused_and_its_shard_leased_again() {
    let forgeries: [(Forge, &str); 5] = [
        (|rows| rows[1].record_id = RecordId::new("another").unwrap(), "its record_id"),
        (|rows| rows[1].document = Some(DocumentHash::of(b"another")), "its document_hash"),
        (|rows| drop(rows.pop()), "2 rows"),
        (|rows| rows[2] = rows[1].clone(), "its position"),
        (|rows| rows[0].timing.total_ms = Some(f64::NAN), "a time of"),
    ];
    for (forge, needed) in forgeries {
        let folder = tempfile::tempdir().unwrap();
        let (served, mut client, run_id) = serve_a_run(folder.path()).await;
        let mut liar = TestWorker::join(&served.url, "liar").await;
        let lease = liar.lease().await;
        let mut rows = liar.outcomes(&lease);
        forge(&mut rows);
        let part = write_part(&lease.run_id, &rows).unwrap();
        assert_refused(&liar.commit_bytes(&lease, part).await.unwrap_err(), needed);
        assert_eq!(client.workers().await.unwrap()[0].refused_parts, 1);

        let mut honest = TestWorker::join(&served.url, "honest").await;
        let again = honest.lease().await;
        assert_eq!((again.shard, again.attempt), (lease.shard, 2), "the lease ended with the refusal");
        assert!(!honest.commit(&again).await.unwrap());
        assert_eq!(client.status(&run_id).await.unwrap().tally.records, 3);
        let staged = std::fs::read_dir(folder.path().join("out/r/parts")).unwrap().count();
        assert_eq!(staged, 1, "nothing of the forged part is stored");
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_parts_are_refused_is_drained_and_the_run_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let (served, mut client, run_id) = serve_a_run(folder.path()).await;
    let mut liar = TestWorker::join(&served.url, "liar").await;
    let garbage: [&'static [u8]; 3] = [b"not parquet at all", b"", b"PAR1PAR1"];
    for bytes in garbage {
        let lease = liar.lease().await;
        let refused = liar.commit_bytes(&lease, Bytes::from_static(bytes)).await.unwrap_err();
        assert_refused(&refused, "cannot be read as Parquet");
    }
    let drained = loop {
        if let FromCoordinator::DrainWorker(drained) = liar.receive().await {
            break drained.reason;
        }
    };
    assert!(drained.contains("3 of its parts were refused"), "{drained}");
    let shown = client.workers().await.unwrap();
    assert!(shown[0].draining && shown[0].drained_because.as_ref() == Some(&drained), "{shown:?}");

    let mut honest = TestWorker::join(&served.url, "honest").await;
    let finishing = async {
        while client.status(&run_id).await.unwrap().committed < client.status(&run_id).await.unwrap().shards {
            let lease = honest.lease().await;
            assert!(!honest.commit(&lease).await.unwrap());
        }
        while client.status(&run_id).await.unwrap().fingerprint.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, finishing).await.expect("the run finishes");
    let finished = client.status(&run_id).await.unwrap();
    assert_eq!((finished.state.as_str(), finished.tally.records), ("finished", 6));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_hold_a_lease_takes_it_from_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (served, _, _) = serve_a_run_with(folder.path(), StreamLimits::default()).await;
    let mut honest = TestWorker::join(&served.url, "honest").await;
    let lease = honest.lease().await;
    let stranger = TestWorker::join(&served.url, "stranger").await;
    let mut stolen = lease.clone();
    stolen.lease.worker = WorkerName::new("stranger").unwrap();
    stolen.session.clone_from(&stranger.session);
    let bytes = Bytes::from_static(b"not parquet at all");
    let head = header(&stolen, bytes.len() as u64, PartHash::of(&bytes));
    assert_refused(&stranger.upload(head, bytes).await.unwrap_err(), "cannot be read as Parquet");
    assert!(!honest.commit(&lease).await.unwrap(), "its lease is as it was");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_without_a_permit_is_refused_and_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut liar = TestStream::open(&served.url, "liar").await;
    let wait = CallOutcome::Throttled {
        retry_after: Some(Duration::from_secs(1 << 40)),
        tokens: false,
        reason: String::new(),
    };
    let stop = CallOutcome::failed("the key is wrong", FailureKind::Account);
    let lies = [("none", answered("forged")), ("r", answered("forged")), ("r", wait), ("r", stop)];
    for (number, (run, outcome)) in (1..).zip(lies) {
        liar.complete(run, number, key(7), outcome).await;
        let reason = liar.expect_stopped(number).await;
        assert!(reason.contains("not permitted"), "{reason}");
    }
    let claimed = v1::AcquireCall {
        number: 9,
        run_id: "r".to_owned(),
        key: key(7).as_bytes().to_vec(),
        under_way: true,
        ticket: vec![0; 32],
        ..v1::AcquireCall::default()
    };
    liar.send(ToGateway::AcquireCall(claimed)).await;
    assert!(liar.expect_stopped(9).await.contains("not permitted"));

    // The key was not poisoned, the run was not halted, and the rate is as it was.
    let mut honest = TestStream::open(&served.url, "honest").await;
    honest.acquire("r", 1, key(7)).await;
    honest.expect_permit(1).await;
    honest.complete("r", 1, key(7), answered("paid")).await;
    honest.expect_persisted(1).await;
    let shown = status(&served.url, "r").await;
    assert_eq!(shown.trouble, None);
    let model = shown.model.unwrap();
    assert_eq!((model.calls, model.failed, model.throttled), (1, 0, 0));
    drop((liar, honest));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_usage_wedges_no_run_and_no_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut stream = TestStream::open(&served.url, "w").await;
    let absurd = [i64::MAX as u64, i64::MAX as u64, u64::MAX, 0];
    for (number, total) in (1..).zip(absurd) {
        stream.acquire("r", number, key(number)).await;
        stream.expect_permit(number).await;
        let usage =
            Usage { prompt: total, completion: 5, reasoning: total, cached: total, total, estimated: total };
        let CallOutcome::Answered(mut answer) = answered("a") else { unreachable!() };
        answer.usage = usage;
        stream.complete("r", number, key(number), CallOutcome::Answered(answer)).await;
        stream.expect_persisted(number).await;
    }
    drop(stream);
    served.stop().await;
    let served = Served::start(&folder.path().join("out"), "r").await;
    let mut stream = TestStream::open(&served.url, "w").await;
    stream.acquire("r", 10, key(10)).await;
    stream.expect_permit(10).await;
    stream.complete("r", 10, key(10), answered("honest")).await;
    stream.expect_persisted(10).await;
    let model = status(&served.url, "r").await.model.unwrap();
    assert_eq!((model.calls, model.usage.total), (5, 4 * 5 + 1000), "what nobody can have used is not known");
    assert!(model.cost_usd.is_finite() && model.cost_usd < 1.0, "{}", model.cost_usd);
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_under_the_name_of_a_worker_do_not_slow_it_down() {
    const CALLS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("out"), "r").await;
    submit(&served.url, folder.path(), "r", config(|_| ())).await;
    let mut victim = TestStream::open(&served.url, "victim").await;
    let mut strangers = Vec::new();
    for number in 1..=CALLS {
        victim.acquire("r", number, key(number)).await;
        if number % 10 == 0 {
            strangers.push(TestStream::open(&served.url, "victim").await);
        }
        match victim.receive().await {
            FromGateway::CallPermit(permit) => {
                victim.complete("r", permit.number, key(permit.number), answered("a")).await;
            }
            other => panic!("{other:?}"),
        }
        victim.expect_persisted(number).await;
    }
    assert_eq!(status(&served.url, "r").await.model.unwrap().calls, CALLS);
    drop((victim, strangers));
    served.stop().await;
}

/// The files below a folder, with their contents.
fn tree(folder: &std::path::Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_there_is_written_over_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 6);
    tokio::task::block_in_place(|| run(&corpus, &out, &["--run-id", "paper"]));
    let source = out.join("src");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("main.rs"), "fn main() {}").unwrap();
    let before = tree(&out);
    // The same folder of results, another ledger.
    let served = Served::start(&out, "served").await;
    let mut client = Client::new(address(&served.url));
    for (name, needed) in [("paper", "the results of a run"), ("src", "not of a run (main.rs)")] {
        let config = domain::config::RunConfig::default();
        let arguments = coordinator::embedded::CorpusArgs { corpus: corpus.clone(), manifests: None };
        let run_id = RunId::new(name).unwrap();
        let request = coordinator::client::Request {
            run_id: run_id.clone(),
            config: config.clone(),
            source: String::new(),
        };
        let refused = client.submit(request, coordinator::embedded::reader(&arguments, &config)).await;
        let Err(refused) = refused else { panic!("it is refused") };
        let refused = refused.to_string();
        assert!(refused.contains(needed) && refused.contains("another run id"), "{refused}");
        assert!(client.cancel(&run_id).await.is_err() && client.remove(&run_id).await.is_err());
    }
    served.stop().await;
    std::fs::remove_dir_all(out.join("served")).unwrap();
    assert_eq!(tree(&out), before);

    // `run` and `import` beside it, and a removal by hand.
    let (corpus, place) = (corpus.to_str().unwrap(), out.to_str().unwrap());
    for arguments in [
        &["run", "--corpus", corpus, "--out", place, "--run-id", "src"][..],
        &["import", "--detections", corpus, "--out", place, "--run-id", "src"],
        &["import", "--detections", corpus, "--out", place, "--run-id", "paper"],
    ] {
        let output = tokio::task::block_in_place(|| coordinator(arguments));
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && talk.contains("another run id"), "{arguments:?}: {talk}");
    }
    assert_eq!(tree(&out), before);
    std::fs::write(out.join("paper/notes.md"), "mine").unwrap();
    let prune = ["runs", "prune", place, "--keep", "0", "--yes"];
    let output = tokio::task::block_in_place(|| coordinator(&prune));
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(talk.contains("left in place"), "{talk}");
    let left: Vec<_> = tree(&out).into_keys().collect();
    assert_eq!(left, [out.join("paper/notes.md"), source.join("main.rs")]);
}
