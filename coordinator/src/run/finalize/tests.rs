use std::path::PathBuf;

use domain::config::RunConfig;
use domain::ids::{FencingToken, PartHash, WorkerName};
use domain::outcome::Outcome;
use domain::run::{Lease, Shard};
use proto::convert::{LeaseKey, PartHeader, frames};
use results::compact::CompactError;
use results::corpus_copy::{CorpusReader, CorpusWriter};
use results::layout::{CORPUS_FILE, staged_part};
use results::part::write_part;
use tokio::time::Instant;

use super::*;
use crate::ledger::faulty::FaultyLedger;
use crate::ledger::{CommittedPart, Leased, Ledger as _, suite};
use crate::run::commit::Sender;
use crate::run::{Granted, OwnerDeadline, Parts, Recovery};

/// A run of ten records whose four shards are all committed, without a coordinator.
struct Scene {
    folder: tempfile::TempDir,
    ledger: Arc<FaultyLedger>,
    run_id: RunId,
}

impl Scene {
    async fn committed() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            ledger: Arc::default(),
            run_id: RunId::new("r").unwrap(),
        };
        let results = Store::local(scene.folder.path()).unwrap().folder("r").unwrap();
        std::fs::create_dir(scene.folder.path().join("r")).unwrap();
        let mut corpus = CorpusWriter::create(&scene.corpus()).unwrap();
        for position in 0..10 {
            let (record, document) = domain::testing::record(position, "latest-tag", "kind: Pod");
            corpus.push(record, &document).unwrap();
        }
        let mut run = suite::run("r");
        run.plan.corpus_hash = corpus.finish().unwrap().corpus_hash;
        scene.ledger.create_run(run).await.unwrap();
        let (worker, token) = (WorkerName::new("w").unwrap(), FencingToken(1));
        for (index, len) in [(0, 3), (3, 3), (6, 3), (9, 1)] {
            let shard = Shard { index: ShardIndex(index), len };
            let lease = Lease {
                run_id: scene.run_id.clone(),
                shard,
                worker: worker.clone(),
                token,
                ttl_ms: 1,
                attempt: 1,
            };
            let rows: Vec<Outcome> = (index..index + len)
                .map(|position| {
                    let (record, _) = domain::testing::record(position.into(), "latest-tag", "kind: Pod");
                    crate::run::dead_letter_outcome(&record, &lease, &RunConfig::default())
                })
                .collect();
            let bytes = write_part(&scene.run_id, &rows).unwrap();
            let part = CommittedPart {
                key: format!("{STAGED}{index}.parquet"),
                bytes: bytes.len() as u64,
                hash: PartHash::of(&bytes),
                tally: Tally::of(&rows),
            };
            results.put(&part.key, bytes).await.unwrap();
            let leased = Leased {
                shard,
                previous: FencingToken(0),
                token,
                attempt: 1,
                lost: 0,
                worker: worker.clone(),
            };
            scene.ledger.lease(&scene.run_id, leased).await.unwrap();
            scene.ledger.commit(&scene.run_id, shard.index, token, part).await.unwrap();
        }
        scene
    }

    /// A coordinator that resumes the run, and so begins to finalize it.
    async fn take_up(&self) -> Arc<Coordinator> {
        Coordinator::open(Parts {
            ledger: Arc::clone(&self.ledger) as Arc<_>,
            store: Store::local(self.folder.path()).unwrap(),
            scratch: self.folder.path().to_owned(),
            recovery: Recovery::Grace,
            owner: OwnerDeadline::unlimited(),
        })
        .await
        .unwrap()
    }

    fn corpus(&self) -> PathBuf {
        self.folder.path().join("r").join(CORPUS_FILE)
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("r").join(STAGED).join("3.parquet")
    }

    async fn state(&self) -> RunState {
        self.ledger.inner.run(&self.run_id).await.unwrap().unwrap().state
    }

    async fn finished(&self) {
        self.reached(RunState::Finished).await;
    }

    async fn reached(&self, state: RunState) {
        for _ in 0..10_000 {
            if self.state().await == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the run is not {}, but {}", state.as_str(), self.state().await.as_str());
    }

    /// Leases the next shard and commits its part; returns the lease and the part's file.
    async fn work(&self, coordinator: &Arc<Coordinator>) -> (Lease, PathBuf) {
        let worker = Arc::new(WorkerName::new("w").unwrap());
        let Granted { lease, corpus, .. } = coordinator.lease(&worker).await.unwrap();
        let slice = corpus.slice(lease.shard.index.0.into(), lease.shard.len.into()).unwrap();
        let rows: Vec<Outcome> =
            slice.records.iter().map(|record| domain::testing::outcome(record, lease.shard.index)).collect();
        let bytes = write_part(&self.run_id, &rows).unwrap();
        let hash = PartHash::of(&bytes);
        let key = staged_part(lease.shard.index, lease.token, hash);
        let header = PartHeader {
            key: LeaseKey::from(&lease),
            worker: WorkerName::clone(&worker),
            bytes: bytes.len() as u64,
            hash,
            tally: Tally::of(&rows),
        };
        coordinator.commit(header, futures::stream::iter([Ok(bytes)]), Sender::Peer).await.unwrap();
        (lease, self.folder.path().join("r").join(key))
    }
}

async fn trouble(coordinator: &Coordinator, run_id: &RunId) -> String {
    for _ in 0..100_000 {
        if let Some(trouble) = coordinator.status(run_id).await.unwrap().trouble {
            return trouble;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the run reports no trouble");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_part_is_taken_back_and_its_shard_leased_again() {
    for damage in [Some(&b"rubbish"[..]), None] {
        let scene = Scene::committed().await;
        match damage {
            Some(rubbish) => std::fs::write(scene.part(), rubbish).unwrap(),
            None => std::fs::remove_file(scene.part()).unwrap(),
        }
        let coordinator = scene.take_up().await;
        let (lease, _) = scene.work(&coordinator).await;
        assert_eq!((lease.shard.index.0, lease.shard.len, lease.token), (3, 3, FencingToken(2)));
        scene.finished().await;
        let status = coordinator.status(&scene.run_id).await.unwrap();
        assert_eq!((status.tally.records, status.tally.errors, status.tally.not_applicable), (10, 7, 3));
        assert_eq!((status.committed, status.trouble), (4, None));
        let described = RunFile::load(&coordinator.folder(&scene.run_id).unwrap()).await.unwrap();
        assert_eq!(described.parts[0].rows, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_parts_are_damaged_again_and_again_fails() {
    let scene = Scene::committed().await;
    std::fs::write(scene.part(), b"rubbish").unwrap();
    let coordinator = scene.take_up().await;
    for _ in 0..3 {
        let (_, part) = scene.work(&coordinator).await;
        // Before the finalization gets to run.
        std::fs::write(part, b"rubbish").unwrap();
    }
    scene.reached(RunState::Failed).await;
    let status = coordinator.status(&scene.run_id).await.unwrap();
    let trouble = status.trouble.unwrap();
    assert!(
        trouble.contains("leased again for such damage") && trouble.contains("or remove it"),
        "{trouble}"
    );
    let described = RunFile::load(&coordinator.folder(&scene.run_id).unwrap()).await.unwrap();
    assert_eq!(described.state, RunState::Failed);
    // Another process does not resume it, and it can be removed.
    drop(coordinator);
    let coordinator = scene.take_up().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(coordinator.list().await.unwrap()[0].trouble, Some(trouble));
    coordinator.remove(&scene.run_id).await.unwrap();
    assert!(coordinator.list().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_goes_on_when_it_is_submitted_again() {
    let scene = Scene::committed().await;
    // Two parts that were committed for each other's shards, as a release without checks could do.
    let of = |name: &str| scene.part().with_file_name(name);
    let (first, third) = (std::fs::read(of("0.parquet")).unwrap(), std::fs::read(of("6.parquet")).unwrap());
    for (index, bytes) in [(0, &third), (6, &first)] {
        let (run_id, shard) = (&scene.run_id, ShardIndex(index));
        let entry = scene.ledger.inner.shards(run_id, shard, 1).await.unwrap().remove(0);
        let part = entry.part.unwrap();
        scene.ledger.inner.reopen(run_id, shard, part.hash).await.unwrap();
        let part = CommittedPart { bytes: bytes.len() as u64, hash: PartHash::of(bytes), ..part };
        scene.ledger.inner.commit(run_id, shard, FencingToken(1), part).await.unwrap();
    }
    std::fs::write(of("0.parquet"), &third).unwrap();
    std::fs::write(of("6.parquet"), &first).unwrap();
    let corpus = std::fs::read(scene.corpus()).unwrap();
    std::fs::remove_file(scene.corpus()).unwrap();
    let coordinator = scene.take_up().await;
    scene.reached(RunState::Failed).await;
    let trouble = trouble(&coordinator, &scene.run_id).await;
    assert!(trouble.contains("overlap") && trouble.contains("submit the run again"), "{trouble}");

    std::fs::write(scene.corpus(), corpus).unwrap();
    let slice = CorpusReader::open(&scene.corpus()).unwrap().slice(0, 10).unwrap();
    let config = suite::run("r").plan.config;
    let mut again = coordinator.submit(scene.run_id.clone(), config, String::new()).await.unwrap();
    for piece in frames(slice) {
        again.push(piece).await.unwrap();
    }
    let (status, existed) = again.finish(10).await.unwrap();
    assert!(existed && status.state != RunState::Failed, "{status:?}");
    let mut leased = [scene.work(&coordinator).await.0, scene.work(&coordinator).await.0];
    leased.sort_by_key(|lease| lease.shard);
    assert_eq!(leased.map(|lease| lease.shard.index.0), [0, 6], "the wrong parts alone");
    scene.finished().await;
    assert_eq!(coordinator.status(&scene.run_id).await.unwrap().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_finished_for_now_can_be_cancelled() {
    let scene = Scene::committed().await;
    scene.ledger.fail_to_finish(u32::MAX);
    let coordinator = scene.take_up().await;
    trouble(&coordinator, &scene.run_id).await;
    let status = coordinator.cancel(&scene.run_id).await.unwrap();
    assert_eq!((status.state, status.committed), (RunState::Cancelled, 4));
    let tried = scene.ledger.tried_to_finish().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((scene.ledger.tried_to_finish().len(), scene.state().await), (tried, RunState::Cancelled));
    let described = RunFile::load(&coordinator.folder(&scene.run_id).unwrap()).await.unwrap();
    assert_eq!((described.state, described.parts.len()), (RunState::Cancelled, 4));
    let listed = coordinator.folder(&scene.run_id).unwrap().list().await.unwrap();
    assert!(listed.iter().all(|object| !object.key.starts_with(FINAL)), "{listed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_with_backoff_without_merging_again() {
    let scene = Scene::committed().await;
    scene.ledger.fail_to_finish(8);
    let coordinator = scene.take_up().await;
    assert!(trouble(&coordinator, &scene.run_id).await.contains("it is locked"));
    scene.finished().await;
    let tried = scene.ledger.tried_to_finish();
    let waited: Vec<u64> = tried.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waited, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(scene.ledger.calls("shards"), 4, "two pages to resume the run, two to merge once");
    let described = RunFile::load(&coordinator.folder(&scene.run_id).unwrap()).await.unwrap();
    assert_eq!((described.records, described.parts.len(), described.parts[0].rows), (10, 1, 10));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_tries_is_bounded() {
    let scene = Scene::committed().await;
    scene.ledger.fail_to_finish(u32::MAX);
    let coordinator = scene.take_up().await;
    let begun = Instant::now();
    while !trouble(&coordinator, &scene.run_id).await.contains("submit the run again") {
        assert!(begun.elapsed() < Duration::from_secs(7200), "it is retried for ever");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(trouble(&coordinator, &scene.run_id).await.contains("after 64 tries"));
    assert!(begun.elapsed() > Duration::from_secs(1800), "transient failures get time to pass");
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(scene.ledger.tried_to_finish().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_finalization_keeps_no_coordinator_alive() {
    let scene = Scene::committed().await;
    scene.ledger.fail_to_finish(u32::MAX);
    let coordinator = scene.take_up().await;
    trouble(&coordinator, &scene.run_id).await;
    let weak = Arc::downgrade(&coordinator);
    drop(coordinator);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(weak.upgrade().is_none(), "the waiting task holds a strong reference to its owner");
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_ended_run_reads_no_shards() {
    let scene = Scene::committed().await;
    let coordinator = scene.take_up().await;
    scene.finished().await;
    while coordinator.is_active(&scene.run_id) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = scene.ledger.calls("shards");
    for _ in 0..3 {
        let list = coordinator.list().await.unwrap();
        assert_eq!((list[0].tally.records, list[0].tally.errors, list[0].committed), (10, 10, 4));
        assert_eq!(coordinator.status(&scene.run_id).await.unwrap(), list[0]);
    }
    assert_eq!(scene.ledger.calls("shards"), before);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_without_totals_is_counted_once() {
    let scene = Scene::committed().await;
    // As in a ledger of an older layout, or after a process that was killed right after this step.
    for (from, to) in [(RunState::Running, RunState::Finishing), (RunState::Finishing, RunState::Finished)] {
        scene.ledger.advance(&scene.run_id, from, to, None).await.unwrap();
    }
    let coordinator = scene.take_up().await;
    for _ in 0..3 {
        assert_eq!(coordinator.list().await.unwrap()[0].committed, 4);
    }
    assert_eq!(scene.ledger.calls("shards"), 2, "a page of shards and the empty one after it");
    assert_eq!(
        scene.ledger.inner.run(&scene.run_id).await.unwrap().unwrap().totals.unwrap().tally.records,
        10
    );
}

#[test]
fn transient_errors_are_distinguished_from_permanent_ones() {
    let place = || "x".to_owned();
    let locked = LedgerError::Unavailable { place: place(), reason: place() };
    let damaged = LedgerError::Unusable { place: place(), reason: place() };
    let missing = StoreError::Missing { location: place(), key: place() };
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let order = CompactError::Order { part: place(), position: 1, last: 1 };
    let is_transient = |error: FinalizeError| matches!(error, FinalizeError::Unavailable(_));
    assert!(is_transient(locked.into()) && !is_transient(damaged.into()));
    assert!(!is_transient(missing.into()) && !is_transient(order.into()));
    assert!(is_transient(CompactError::from(full).into()));
    let unreadable = |kind: std::io::ErrorKind| results::scan::ScanError {
        part: place(),
        problem: results::scan::Problem::Open(kind.into()),
    };
    assert!(is_transient(CompactError::from(unreadable(std::io::ErrorKind::ResourceBusy)).into()));
    assert!(!is_transient(CompactError::from(unreadable(std::io::ErrorKind::NotFound)).into()));
}
