//! Tests of the store in PostgreSQL, on a real server that they also kill.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::proxy::{Lose, Proxy};
use super::*;
use crate::database::postgres::Engine;
use crate::database::postgres::ownership::{Candidate, LeaseTimes, acquire, prepare};
use crate::database::postgres::testing::{TestServer, is_here, shared};

/// What drives the sessions of stores.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn open(runtime: &Runtime, engine: &Arc<Engine>) -> PostgresAnswers {
    runtime.block_on(PostgresAnswers::open(Arc::clone(engine))).unwrap()
}

#[track_caller]
fn empty() -> Option<(PostgresAnswers, Runtime)> {
    let (engine, runtime) = (Arc::new(shared()?), runtime());
    Some((open(&runtime, &engine), runtime))
}

/// Runs a statement in the schema of the store.
fn run(runtime: &Runtime, engine: &Engine, statement: &str) {
    runtime.block_on(async {
        let session = engine.open(tokio::time::Instant::now()).await.unwrap();
        session.client.batch_execute(statement).await.unwrap();
    });
}

/// The one number that a query gives.
fn number(runtime: &Runtime, engine: &Engine, query: &str) -> i64 {
    runtime.block_on(async {
        let session = engine.open(tokio::time::Instant::now()).await.unwrap();
        session.client.query_one(query, &[]).await.unwrap().get(0)
    })
}

suite::answers_suite!(empty());

#[test]
fn what_is_stored_stays() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    suite::what_is_stored_stays(|| open(&runtime, &engine));
}

#[test]
fn concurrent_results_of_a_call_count_once() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    suite::concurrent_results_of_a_call_count_once(|| open(&runtime, &engine));
}

#[test]
fn a_damaged_answer_is_missing_and_is_replaced() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    let damages: [&str; 4] = [
        "UPDATE answers SET content = substr(content, 1, length(content) - 3)",
        "UPDATE answers SET content = '\\x0000'",
        "UPDATE answers SET finish = 'stop'",
        "UPDATE answers SET total_tokens = 1",
    ];
    let store = open(&runtime, &engine);
    suite::a_damaged_answer_is_missing_and_is_replaced(&store, &damages, |statement| {
        run(&runtime, &engine, statement);
    });
}

#[test]
fn a_damaged_verdict_is_missing() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    let store = open(&runtime, &engine);
    suite::a_damaged_verdict_is_missing(&store, || {
        run(&runtime, &engine, "UPDATE verdicts SET verdict = '{'");
    });
}

#[test]
fn the_next_coordinator_takes_up_the_calls_of_the_one_before() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    let (first, second) = (open(&runtime, &engine), open(&runtime, &engine));
    apply(&first, &[call(1), call(2), call(3)].map(StoreWrite::Begin));
    apply(&first, &[suite::end(2, "two")]);
    run(&runtime, &engine, "UPDATE calls SET key = '\\x00' WHERE call = 3");
    let orphan = OrphanedCall { call: call(1), may_return: true };
    assert_eq!(second.take_up_calls(&[]).unwrap(), std::slice::from_ref(&orphan));
    assert_eq!(second.take_up_calls(&[run_id()]).unwrap(), [], "once");
    assert_eq!(number(&runtime, &engine, "SELECT count(*) FROM calls"), 1, "a damaged row is deleted");
    assert_eq!(number(&runtime, &engine, "SELECT count(*) FROM processes"), 1);
    apply(&second, &[StoreWrite::Begin(call(4))]);
    assert_eq!(second.take_up_calls(&[]).unwrap(), [], "its own");
    assert_eq!(apply(&second, &[suite::end(1, "one")]), [Counted::Whole]);
    drop((first, second));
    let third = open(&runtime, &engine);
    let left = OrphanedCall { call: call(4), may_return: true };
    assert_eq!(third.take_up_calls(&[]).unwrap(), [left]);
    assert_eq!(spent(&third).calls, 2);
}

#[test]
fn a_coordinator_that_was_replaced_writes_nothing_more() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    let owner = || {
        // Of one identity: the next need not wait for the end of the lease.
        let candidate = Candidate {
            identity: "c".to_owned(),
            name: "c".to_owned(),
            place: String::new(),
            times: LeaseTimes::default(),
        };
        let lease = runtime.block_on(acquire(&engine, &candidate, |_| {})).unwrap();
        let store = open(&runtime, &lease.fenced_engine());
        (lease, store)
    };
    runtime.block_on(prepare(&engine)).unwrap();
    let (_lease, first) = owner();
    apply(&first, &[StoreWrite::Begin(call(1))]);
    let (_next_lease, second) = owner();
    assert_eq!(second.take_up_calls(&[]).unwrap().len(), 1);
    let late = suite::end(1, "one");
    let refused = [
        first.apply(&[&late]).unwrap_err(),
        first.take_up_calls(&[]).unwrap_err(),
        first.put_verdicts(&suite::server("v1.37.2", ""), &[]).unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(&error, CacheError::Unusable { reason, .. } if reason.contains("taken over")),
            "{error}"
        );
    }
    assert_eq!(spent(&second), LlmUsage::default());
    assert_eq!(apply(&second, &[late]), [Counted::Whole]);
    assert_eq!(found(&first, key(1)).as_deref(), Some("one"), "it may read");
}

#[test]
fn tables_of_a_newer_program_are_refused() {
    let Some(engine) = shared().map(Arc::new) else { return };
    let runtime = runtime();
    drop(open(&runtime, &engine));
    run(&runtime, &engine, "UPDATE layouts SET version = 99");
    let refused = runtime.block_on(PostgresAnswers::open(Arc::clone(&engine))).unwrap_err();
    assert!(matches!(&refused, CacheError::Unusable { reason, .. } if reason.contains("newer")), "{refused}");
}

/// A write without a call: its row is not there to tell whether it took effect.
fn refused() -> StoreWrite {
    let spent = LlmUsage { calls: 1, throttled: 1, ..LlmUsage::default() };
    StoreWrite::End(CacheWrite { run_id: run_id(), spent, entry: None, failure: None, call: None })
}

#[test]
fn a_batch_whose_commit_was_lost_can_be_repeated_and_counts_once() {
    if !is_here() {
        return;
    }
    let (server, runtime) = (TestServer::start(&[]), runtime());
    for (lose, schema) in [(Lose::Answer, "answer"), (Lose::Commit, "commit")] {
        let proxy = Proxy::of(server.folder());
        let store = open(&runtime, &Arc::new(proxy.engine(schema)));
        apply(&store, &[call(1), call(2)].map(StoreWrite::Begin));
        let first = [suite::end(1, "one"), refused(), refused()];
        for _ in 0..2 {
            proxy.lose(lose);
            let lost = store.apply(&first.iter().collect::<Vec<_>>()).unwrap_err();
            assert!(
                matches!(&lost, CacheError::Unavailable { reason, .. } if reason.contains("lost")),
                "{lost}"
            );
        }
        let again = [&first[0], &first[1], &first[2], &refused(), &suite::end(2, "two")];
        assert_eq!(store.apply(&again).unwrap(), [Counted::Whole; 5], "{lose:?}");
        assert_eq!((spent(&store).calls, spent(&store).throttled), (5, 3), "{lose:?}");
        // What was told is told once.
        assert_eq!(apply(&store, &[suite::end(1, "one"), refused()]), [Counted::Nothing, Counted::Whole]);
        assert_eq!(spent(&store).calls, 6, "{lose:?}");

        apply(&store, &[StoreWrite::Begin(call(3))]);
        let next = open(&runtime, &Arc::new(proxy.engine(schema)));
        proxy.lose(lose);
        next.take_up_calls(&[]).unwrap_err();
        assert_eq!(
            next.take_up_calls(&[]).unwrap(),
            [OrphanedCall { call: call(3), may_return: true }],
            "{lose:?}"
        );
        assert_eq!(next.take_up_calls(&[]).unwrap(), []);
    }
}

#[test]
fn crashes_of_the_server_lose_nothing_told_and_count_nothing_twice() {
    const BATCH: u64 = 20;
    if !is_here() {
        return;
    }
    let (server, runtime) = (TestServer::start(&[]), runtime());
    let store = open(&runtime, &Arc::new(server.engine("answers")));
    let (mut next, mut failed) = (0, 0);
    std::thread::scope(|threads| {
        let crashing = threads.spawn(|| {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(400));
                server.crash();
                server.restart();
            }
            std::thread::sleep(Duration::from_millis(300));
        });
        // Each batch ends the calls of the one before and begins the next ones.
        while !crashing.is_finished() {
            let begins = (next..next + BATCH).map(|number| StoreWrite::Begin(call(number)));
            let ends = (next.saturating_sub(BATCH)..next).map(|number| suite::end(number, "an answer"));
            let batch: Vec<StoreWrite> = ends.chain(begins).chain([refused()]).collect();
            loop {
                match store.apply(&batch.iter().collect::<Vec<_>>()) {
                    Ok(counted) => break assert!(counted.iter().all(|counted| *counted == Counted::Whole)),
                    Err(CacheError::Unavailable { .. }) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            next += BATCH;
        }
    });
    println!("{next} calls, {failed} failed batches");
    assert!(next > 10 * BATCH, "{next} calls");
    drop(store);
    let store = open(&runtime, &Arc::new(server.engine("answers")));
    let ended = next - BATCH;
    let spent = spent(&store);
    assert_eq!((spent.calls, spent.throttled), (ended + next / BATCH, next / BATCH));
    let keys: Vec<AnswerKey> = (0..ended).map(key).collect();
    assert!(store.look_up(&keys).unwrap().iter().all(|(_, found)| found.is_some()));
    assert_eq!(store.take_up_calls(&[]).unwrap().len() as u64, BATCH, "those of the last batch");
}

/// Pairs of begin and end a second, in batches of 100. `cargo test -p coordinator pairs_a_second -- --ignored --nocapture` prints
/// them.
#[test]
#[ignore = "measures"]
fn pairs_a_second() {
    const BATCH: u64 = 100;
    let Some((store, _runtime)) = empty() else { return };
    let text = |number: u64| (0..12).map(|part| key(number * 100 + part).to_string()).collect::<String>();
    let clock = std::time::Instant::now();
    for first in (0..20_000).step_by(100) {
        let begins = (first..first + BATCH).map(|number| StoreWrite::Begin(call(number)));
        let ends = (first.saturating_sub(BATCH)..first).map(|number| suite::end(number, &text(number)));
        apply(&store, &begins.chain(ends).collect::<Vec<_>>());
    }
    println!("{:.0} pairs a second", 20_000.0 / clock.elapsed().as_secs_f64());
}
