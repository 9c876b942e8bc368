//! The task with a store that panics, that is full, and that holds what runs of the past have spent.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use results::store::Store;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::*;
use crate::ledger::{Ledger as _, MemoryLedger, suite};
use crate::llm_gateway::batcher::FULL;
use crate::llm_gateway::response_cache::{Answers, CacheError, FailureCounts, ResponseCache};
use crate::llm_gateway::task::{GatewayHandle, ShutdownHandle};
use crate::llm_gateway::{PermitKey, WorkerStream};
use crate::run::{Coordinator, OwnerDeadline, Parts, Recovery, Standstill};

/// A store with troubles.
#[derive(Debug)]
struct Frail {
    store: ResponseCache,
    /// How many looks, how many times of keeping results and of recording calls end in a panic.
    panics: [AtomicU32; 3],
    full: AtomicBool,
}

impl Frail {
    fn with_panics(panics: [u32; 3]) -> Arc<Self> {
        let panics = panics.map(AtomicU32::new);
        Arc::new(Self { store: ResponseCache::in_memory().unwrap(), panics, full: AtomicBool::new(false) })
    }

    fn perhaps_panic(&self, which: usize) {
        let left =
            self.panics[which].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "broken on purpose");
    }
}

impl Answers for Frail {
    fn failures_of(&self, run_id: &RunId) -> Result<FailureCounts, CacheError> {
        self.store.failures_of(run_id)
    }

    fn spent_of(&self, runs: &[RunId]) -> Result<Vec<(RunId, LlmUsage)>, CacheError> {
        self.store.spent_of(runs)
    }

    fn look_up(&self, keys: &[AnswerKey]) -> Result<Vec<(AnswerKey, Option<CachedResponse>)>, CacheError> {
        self.perhaps_panic(0);
        self.store.look_up(keys)
    }

    fn take_up_calls(&self, runs: &[RunId]) -> Result<Vec<OrphanedCall>, CacheError> {
        self.store.take_up_calls(runs)
    }

    fn apply(&self, batch: &[&StoreWrite]) -> Result<Vec<Counted>, CacheError> {
        let records = batch.iter().any(|write| matches!(write, StoreWrite::Begin(_)));
        self.perhaps_panic(if records { 2 } else { 1 });
        if self.full.load(Ordering::SeqCst) {
            let (place, reason) = ("here".to_owned(), "the disk is full".to_owned());
            return Err(CacheError::Unavailable { place, reason });
        }
        self.store.apply(batch)
    }

    fn permit_key(&self) -> Result<PermitKey, CacheError> {
        self.store.permit_key()
    }
}

struct Scene {
    runs: Arc<Coordinator>,
    desk: GatewayHandle,
    _closing: ShutdownHandle,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// A coordinator with one run, `r`.
    async fn set(store: &Arc<Frail>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = MemoryLedger::default();
        let mut entry = suite::run("r");
        entry.plan.config.proposer.mode = ProposerMode::Grok;
        entry.plan.config.limits.requests_per_minute = Limit::at(600_000);
        ledger.create_run(entry).await.unwrap();
        let parts = Parts {
            ledger: Arc::new(ledger),
            store: Store::local(folder.path()).unwrap(),
            scratch: folder.path().to_owned(),
            recovery: Recovery::Grace,
            owner: OwnerDeadline::unlimited(),
        };
        let runs = Coordinator::open(parts).await.unwrap();
        let store: Arc<dyn Answers> = store.clone();
        let (desk, closing) = GatewayHandle::open(
            Arc::clone(&runs.llm),
            Arc::clone(&runs.metrics),
            store,
            OwnerDeadline::unlimited(),
        )
        .await
        .unwrap();
        Self { runs, desk, _closing: closing, _folder: folder }
    }

    /// The stream of a worker, after its first reply.
    async fn connect(&self) -> (WorkerStream, mpsc::Receiver<(u64, Reply)>) {
        let (inbox, mut replies) = self.desk.connect(worker(), None).await.unwrap();
        assert!(matches!(next(&mut replies).await, (0, Reply::Opened(_))));
        (inbox, replies)
    }
}

/// The result with the ticket that an earlier process gave for it.
fn with_ticket(store: &Frail, result: CallResult) -> CallResult {
    let (run_id, key, number) = (result.run_id.clone(), result.key, result.number);
    let id = CallId::new(1 << 40 | number);
    let ticket = store.permit_key().unwrap().of_call(&run_id, &key, number, id);
    let call = RecordedCall {
        id,
        key,
        run_id,
        worker: worker(),
        tokens: 1000,
        estimated_cost: Usd::ZERO,
        started_at_ms: 0,
        deadline_ms: 0,
    };
    store.store.apply(&[&StoreWrite::Begin(call)]).unwrap();
    CallResult { ticket: Some(ticket), ..result }
}

fn worker() -> WorkerName {
    WorkerName::new("w").unwrap()
}

async fn next(replies: &mut mpsc::Receiver<(u64, Reply)>) -> (u64, Reply) {
    let reply = timeout(Duration::from_secs(60), replies.recv()).await;
    reply.expect("a reply comes").expect("the stream goes on")
}

fn whole(text: &str) -> CallOutcome {
    CallOutcome::Answered(answer(text))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_once_keeps_nobody_waiting_and_loses_nothing() {
    let scene = Scene::set(&Frail::with_panics([1, 1, 1])).await;
    let (inbox, mut replies) = scene.connect().await;
    inbox.acquire(acquire("r", 1, key(1))).await.unwrap();
    assert!(matches!(next(&mut replies).await, (1, Reply::CallPermit { .. })));
    inbox.complete(complete("r", 1, key(1), whole("the answer"))).await.unwrap();
    assert_eq!(next(&mut replies).await, (1, Reply::ResultPersisted));
    inbox.acquire(acquire("r", 2, key(1))).await.unwrap();
    assert_eq!(next(&mut replies).await, (2, Reply::CachedResponse(Arc::new(answer("the answer")))));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_cannot_take_stops_its_run_with_the_reason() {
    let scene = Scene::set(&Frail::with_panics([0, u32::MAX, 0])).await;
    let (inbox, mut replies) = scene.connect().await;
    for number in [1, 2] {
        inbox.acquire(acquire("r", number, key(1))).await.unwrap();
    }
    assert!(matches!(next(&mut replies).await, (1, Reply::CallPermit { .. })));
    inbox.complete(complete("r", 1, key(1), whole("the answer"))).await.unwrap();
    let stopped = |(number, reply): (u64, Reply)| match reply {
        Reply::Stopped(reason) if reason.contains("cannot be used") => number,
        other => panic!("{other:?}"),
    };
    let numbers = [stopped(next(&mut replies).await), stopped(next(&mut replies).await)];
    assert_eq!(numbers, [1, 2]);
    loop {
        match scene.runs.wait_for_standstill(&id("r")).await {
            Standstill::Halted(reason) => return assert!(reason.contains("cannot be used"), "{reason}"),
            Standstill::Stalled(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_holds_workers_up_and_every_result_is_kept_in_the_end() {
    let store = Frail::with_panics([0; 3]);
    let scene = Scene::set(&store).await;
    let (inbox, mut replies) = scene.connect().await;
    store.full.store(true, Ordering::SeqCst);
    let result = |number: u64| with_ticket(&store, complete("r", number, key(number), whole("{}")));
    let (mut taken, most) = (0, FULL as u64 + 3000);
    while taken <= most && timeout(Duration::from_secs(5), inbox.complete(result(taken))).await.is_ok() {
        taken += 1;
    }
    assert!(taken <= most, "the queue has no bound");
    assert!(replies.try_recv().is_err(), "nothing is durable");
    store.full.store(false, Ordering::SeqCst);
    inbox.complete(result(taken)).await.unwrap();
    for number in 0..=taken {
        assert_eq!(next(&mut replies).await, (number, Reply::ResultPersisted));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_runs_that_ended_is_dropped_and_read_when_somebody_asks() {
    let store = Frail::with_panics([0; 3]);
    let spent = LlmUsage { calls: 7, cost: domain::budget::Usd::from_f64(0.5), ..LlmUsage::default() };
    for number in 0..100 {
        let run_id = id(&format!("old{number}"));
        let write = CacheWrite { run_id, spent, entry: None, failure: None, call: None };
        store.apply(&[&StoreWrite::End(write)]).unwrap();
    }
    let scene = Scene::set(&store).await;
    let llm_status = &scene.runs.llm.status;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(llm_status.of(&id("old1")), None, "it has ended");
    assert_eq!(llm_status.total(&id("old1")).await.map(|status| status.calls), Some(7));
    assert_eq!(llm_status.total(&id("never")).await, None);

    let (inbox, mut replies) = scene.connect().await;
    // A result that comes after the end of its run counts.
    for (number, run) in [(1, "old1"), (2, "r")] {
        let late = with_ticket(&store, complete(run, number, key(number), whole("late")));
        inbox.complete(late).await.unwrap();
        assert_eq!(next(&mut replies).await, (number, Reply::ResultPersisted));
    }
    assert_eq!(llm_status.of(&id("r")).map(|status| status.calls), Some(1));
    let series = || scene.runs.metrics.text(crate::metrics::Depths::default()).contains("run=\"r\"");
    assert!(series());
    scene.runs.end(&id("r"));
    sleep(Duration::from_secs(2)).await;
    for (run, calls) in [("r", 1), ("old1", 8)] {
        assert_eq!(llm_status.of(&id(run)), None);
        assert_eq!(llm_status.total(&id(run)).await.map(|status| status.calls), Some(calls), "{run}");
    }
    assert!(!series(), "its series goes with it");
}

#[tokio::test(start_paused = true)]
async fn only_the_ticket_of_a_permit_makes_a_result_count() {
    let store = Frail::with_panics([0; 3]);
    let scene = Scene::set(&store).await;
    let (inbox, mut replies) = scene.connect().await;
    let refused = |(number, reply): (u64, Reply)| match reply {
        Reply::Stopped(reason) if reason == NO_PERMIT => number,
        other => panic!("{other:?}"),
    };
    // Without a ticket, with the ticket of another call, and for a run that does not exist.
    inbox.complete(complete("r", 1, key(1), whole("forged"))).await.unwrap();
    assert_eq!(refused(next(&mut replies).await), 1);
    let other = with_ticket(&store, complete("r", 9, key(2), whole("forged")));
    inbox.complete(CallResult { key: key(1), ..other }).await.unwrap();
    assert_eq!(refused(next(&mut replies).await), 9);
    inbox.complete(complete("never", 2, key(2), whole("forged"))).await.unwrap();
    assert_eq!(refused(next(&mut replies).await), 2);
    let claimed = AcquireCall { under_way: true, ..acquire("r", 3, key(3)) };
    inbox.acquire(claimed).await.unwrap();
    assert_eq!(refused(next(&mut replies).await), 3);
    // The permit's ticket is right, also for another stream.
    inbox.acquire(acquire("r", 4, key(4))).await.unwrap();
    let (4, Reply::CallPermit { ticket: Some(ticket), .. }) = next(&mut replies).await else { panic!() };
    let (second, mut answers) = scene.connect().await;
    let end = CallResult { ticket: Some(ticket), ..complete("r", 4, key(4), whole("paid")) };
    second.complete(end).await.unwrap();
    assert_eq!(next(&mut answers).await, (4, Reply::ResultPersisted));
    let found = store.look_up(&[key(1), key(2), key(4)]).unwrap();
    let kept: Vec<bool> = found.into_iter().map(|(_, answer)| answer.is_some()).collect();
    assert_eq!(kept, [false, false, true]);
    assert_eq!(store.spent_of(&[id("never")]).unwrap()[0].1, LlmUsage::default());
    assert_eq!(store.spent_of(&[id("r")]).unwrap()[0].1.calls, 1);
    let text = scene.runs.metrics.text(crate::metrics::Depths::default());
    assert!(text.contains("questions_total{outcome=\"refused\"} 4"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn without_a_record_there_is_no_permit_until_the_store_works_again() {
    let store = Frail::with_panics([0; 3]);
    let scene = Scene::set(&store).await;
    let (inbox, mut replies) = scene.connect().await;
    store.full.store(true, Ordering::SeqCst);
    for number in 1..=3 {
        inbox.acquire(acquire("r", number, key(number))).await.unwrap();
    }
    assert!(
        timeout(Duration::from_secs(5), replies.recv()).await.is_err(),
        "not recorded, and so not permitted"
    );
    let Standstill::Stalled(reason) = scene.runs.wait_for_standstill(&id("r")).await else { panic!() };
    assert!(reason.contains("the disk is full"), "{reason}");
    // A worker that leaves meanwhile has not called.
    inbox.cancel(3).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    store.full.store(false, Ordering::SeqCst);
    for number in [1, 2] {
        let (permitted, reply) = next(&mut replies).await;
        assert!(permitted == number && matches!(reply, Reply::CallPermit { .. }), "{permitted} {reply:?}");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(store.store.calls_by_run().unwrap()[0].calls, 2);
    for number in [1, 2] {
        inbox.complete(complete("r", number, key(number), whole("{}"))).await.unwrap();
        assert_eq!(next(&mut replies).await, (number, Reply::ResultPersisted));
    }
    assert_eq!(store.store.calls_by_run().unwrap(), []);
    assert_eq!(store.spent_of(&[id("r")]).unwrap()[0].1.calls, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_recorded_stops_its_run_with_the_reason() {
    let scene = Scene::set(&Frail::with_panics([0, 0, u32::MAX])).await;
    let (inbox, mut replies) = scene.connect().await;
    for number in [1, 2] {
        inbox.acquire(acquire("r", number, key(1))).await.unwrap();
    }
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, Reply::Stopped(reason)) = next(&mut replies).await else { panic!() };
        assert!(reason.contains("cannot be used"), "{reason}");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}
