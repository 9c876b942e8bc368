//! Tests of the ownership, on a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::ids::RunId;
use tokio::time::Instant;

use super::claim::holder;
use super::*;
use crate::database::postgres::testing::{TestServer, is_here, shared};
use crate::database::postgres::{Engine, is_deposed};
use crate::ledger::{Created, Ledger as _, LedgerError, PostgresLedger};

const SHORT: LeaseTimes = LeaseTimes {
    ttl: Duration::from_millis(1200),
    margin: Duration::from_millis(400),
    renew: Duration::from_millis(200),
    poll: Duration::from_millis(50),
};

fn candidate(name: &str) -> Candidate {
    Candidate {
        identity: name.to_owned(),
        name: name.to_owned(),
        place: format!("https://{name}:7070"),
        times: SHORT,
    }
}

async fn prepared() -> Option<Arc<Engine>> {
    let engine = Arc::new(shared()?);
    prepare(&engine).await.unwrap();
    Some(engine)
}

async fn acquired(engine: &Arc<Engine>, name: &str) -> OwnerLease {
    acquire(engine, &candidate(name), |_| {}).await.unwrap()
}

#[tokio::test]
async fn one_of_many_is_the_owner_and_the_next_follows_when_it_gives_the_lease_back() {
    let Some(engine) = prepared().await else { return };
    let owners = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..5 {
        let (engine, owners) = (Arc::clone(&engine), Arc::clone(&owners));
        tasks.spawn(async move {
            let lease = acquired(&engine, &format!("c{number}")).await;
            assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0, "another one is the owner");
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(lease.deadline().is_ahead());
            owners.fetch_sub(1, Ordering::SeqCst);
            let epoch = lease.epoch();
            lease.release(Duration::from_secs(5)).await;
            epoch
        });
    }
    let begun = Instant::now();
    let mut epochs = tasks.join_all().await;
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=5).map(Epoch).collect::<Vec<_>>());
    assert!(begun.elapsed() < Duration::from_secs(4), "they waited for the leases to run out");
}

#[tokio::test]
async fn a_standby_names_the_owner_and_takes_over_when_that_does_not_renew_any_more() {
    let Some(engine) = prepared().await else { return };
    assert_eq!(owner(&engine).await.unwrap(), None);
    let first = acquired(&engine, "first").await;
    let deadline = first.deadline();
    let standby = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move {
            let mut seen = Vec::new();
            let lease = acquire(&engine, &candidate("second"), |holder| seen.push(holder.clone())).await;
            (lease.unwrap(), seen)
        }
    });
    tokio::time::sleep(SHORT.ttl * 2).await;
    assert!(!standby.is_finished() && deadline.is_ahead(), "it is renewed");
    let stopped = Instant::now();
    drop(first);
    assert!(!deadline.is_ahead());
    let (second, seen) = standby.await.unwrap();
    assert!(stopped.elapsed() >= SHORT.ttl.saturating_sub(SHORT.renew * 2), "{:?}", stopped.elapsed());
    assert_eq!(second.epoch(), Epoch(2));
    let names: Vec<&str> = seen.iter().map(|holder| holder.name.as_str()).collect();
    assert_eq!(names, ["first"]);
    assert_eq!(seen[0].place, "https://first:7070");
    let session = engine.open(Instant::now()).await.unwrap();
    assert_eq!(holder(&session.client).await.unwrap().unwrap().name, "second");
}

/// An owner whose deadline has passed without its knowing: what it does after the take-over has no effect.
#[tokio::test]
async fn no_transaction_of_an_earlier_owner_takes_effect() {
    let Some(engine) = prepared().await else { return };
    let first = acquired(&engine, "first").await;
    let old = PostgresLedger::open(first.fenced_engine()).await.unwrap();
    let run = |name: &str| crate::ledger::suite::run(name);
    assert_eq!(old.create_run(run("a")).await.unwrap(), Created::New);
    // One that is open when the other takes over: the take-over waits for it.
    let session = first.fenced_engine().open(Instant::now()).await.unwrap();
    session.begin().await.unwrap();
    let engine_of_second = Arc::clone(&engine);
    first.stop_renewals();
    let second = tokio::spawn(async move { acquired(&engine_of_second, "second").await });
    tokio::time::sleep(SHORT.ttl * 2).await;
    assert!(!second.is_finished(), "a transaction of the first owner is open");
    session.commit().await.unwrap();
    let second = second.await.unwrap();

    let refused = old.create_run(run("b")).await.unwrap_err();
    assert!(
        matches!(&refused, LedgerError::Unusable { reason, .. } if reason.contains("another coordinator has taken over")),
        "{refused}"
    );
    let error = session.begin().await.unwrap_err();
    assert!(is_deposed(&error), "{error}");
    let new = PostgresLedger::open(second.fenced_engine()).await.unwrap();
    assert!(new.run(&RunId::new("b").unwrap()).await.unwrap().is_none());
    assert_eq!(new.create_run(run("b")).await.unwrap(), Created::New);
}

#[tokio::test]
async fn a_deposed_owner_is_told() {
    let Some(engine) = prepared().await else { return };
    let first = acquired(&engine, "first").await;
    let session = engine.open(Instant::now()).await.unwrap();
    session.client.batch_execute("UPDATE owner_lease SET until = '-infinity'").await.unwrap();
    // Renewals follow one another faster than this.
    let taken = "UPDATE owner_lease SET epoch = epoch + 1; UPDATE ownership SET epoch = epoch + 1";
    session.client.batch_execute(taken).await.unwrap();
    tokio::time::timeout(SHORT.ttl, first.deposed()).await.unwrap();
    assert!(!first.deadline().is_ahead());
}

/// Without its server an owner may not act after its deadline; when the server is back and nobody took over, it may again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_goes_on_when_its_server_is_back() {
    if !is_here() {
        return;
    }
    let server = TestServer::start(&[]);
    let engine = Arc::new(server.engine("ledger"));
    prepare(&engine).await.unwrap();
    let lease = acquired(&engine, "first").await;
    server.crash();
    tokio::time::sleep(SHORT.ttl).await;
    assert!(!lease.deadline().is_ahead());
    server.restart();
    tokio::time::sleep(SHORT.ttl).await;
    assert!(lease.deadline().is_ahead());
    assert_eq!(acquire_at_most(&engine, SHORT.ttl).await, None, "nobody took over");
}

async fn acquire_at_most(engine: &Arc<Engine>, limit: Duration) -> Option<Epoch> {
    let acquired = tokio::time::timeout(limit, acquired(engine, "other")).await;
    acquired.ok().map(|lease| lease.epoch())
}

/// Who has the lock of its state folder knows that the one before it has ended.
#[tokio::test]
async fn a_coordinator_that_is_started_again_does_not_wait_for_its_own_lease() {
    let Some(engine) = prepared().await else { return };
    let first = acquired(&engine, "one").await;
    first.stop_renewals();
    assert_eq!(owner(&engine).await.unwrap().map(|owner| owner.name), Some("one".to_owned()));
    let begun = Instant::now();
    assert_eq!(acquired(&engine, "one").await.epoch(), Epoch(2));
    assert!(begun.elapsed() < SHORT.ttl / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_shared_value_is_made_once() {
    let Some(engine) = prepared().await else { return };
    let made = futures::future::join_all((0_u8..6).map(|number| {
        let engine = Arc::clone(&engine);
        async move { shared_value(&engine, "key", &[number]).await.unwrap() }
    }));
    let made = made.await;
    assert!(made.iter().all(|value| *value == made[0]), "{made:?}");
}
