//! Tests of the ledger in PostgreSQL, on a real server that they also kill.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::super::faulty::FaultyLedger;
use super::super::suite::{leased, ledger_suite, part, run};
use super::connector::LAYOUT;
use super::*;
use crate::database::postgres::testing::{TestServer, is_here, new_schema, shared};
use crate::database::postgres::{EngineAddress, Trust};

async fn open(engine: Engine) -> PostgresLedger {
    PostgresLedger::open(Arc::new(engine)).await.unwrap()
}

async fn empty() -> Option<(PostgresLedger, ())> {
    Some((open(shared()?).await, ()))
}

ledger_suite!(where_there_is empty());

mod under_the_faulty_wrapper {
    use super::*;

    async fn wrapped() -> Option<(FaultyLedger<PostgresLedger>, ())> {
        Some((FaultyLedger::of(open(shared()?).await), ()))
    }

    ledger_suite!(where_there_is wrapped());
}

/// Functions of the suite whose calls come one after the other, with a crash of the server before every fifth call: a step that
/// was not sent yet is not lost.
mod while_the_server_crashes {
    use super::*;

    async fn crashing() -> Option<(FaultyLedger<PostgresLedger>, ())> {
        if !is_here() {
            return None;
        }
        let server = TestServer::start(&[]);
        let ledger = open(server.engine("ledger")).await;
        let calls = AtomicU32::new(0);
        let crash = move || {
            if calls.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
                server.crash();
                server.restart();
            }
        };
        Some((FaultyLedger::of(ledger).before_each_call(crash), ()))
    }

    ledger_suite!(@tests crashing();
        runs_are_created_once
        leases_are_compare_and_set
        only_the_newest_token_commits
        a_damaged_part_is_taken_back_by_its_hash
    );
}

/// Leases and commits shards of a run until the server has crashed three times; a step that failed is repeated.
async fn lease_and_commit(ledger: Arc<PostgresLedger>, first: u32, stop: Arc<AtomicBool>) -> (Vec<u32>, u32) {
    let id = RunId::new("r").unwrap();
    let (mut acknowledged, mut failed, mut shard) = (Vec::new(), 0, first);
    while !stop.load(Ordering::Relaxed) {
        loop {
            match ledger.lease(&id, leased(shard, 0)).await {
                Ok(Swap::Done) => break,
                Ok(Swap::Differs(Some(known))) => {
                    assert_eq!(known.token, FencingToken(1), "its first try took effect");
                    break;
                }
                Ok(Swap::Differs(None)) => panic!("a lease was lost"),
                Err(_) => failed += 1,
            }
        }
        let name = shard.to_string();
        while ledger.commit(&id, ShardIndex(shard), FencingToken(1), part(&name)).await.is_err() {
            failed += 1;
        }
        acknowledged.push(shard);
        shard += 8;
    }
    (acknowledged, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_steps_survive_crashes_of_the_server() {
    if !is_here() {
        return;
    }
    let server = TestServer::start(&[]);
    let ledger = Arc::new(open(server.engine("ledger")).await);
    ledger.create_run(run("r")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = tokio::task::JoinSet::new();
    for first in 0..8 {
        work.spawn(lease_and_commit(Arc::clone(&ledger), first, Arc::clone(&stop)));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.crash();
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.store(true, Ordering::Relaxed);
    let results = work.join_all().await;
    drop(ledger);
    let failed: u32 = results.iter().map(|(_, failed)| failed).sum();
    let mut acknowledged: Vec<u32> = results.into_iter().flat_map(|(shards, _)| shards).collect();
    acknowledged.sort_unstable();
    assert!(acknowledged.len() > 100, "{} commits, {failed} failed calls", acknowledged.len());

    let ledger = open(server.engine("ledger")).await;
    let known = ledger.shards(&RunId::new("r").unwrap(), ShardIndex(0), usize::MAX).await.unwrap();
    for shard in acknowledged {
        let entry = known.iter().find(|entry| entry.shard.index.0 == shard).unwrap();
        assert_eq!(entry.part, Some(part(&shard.to_string())));
    }
}

#[tokio::test]
async fn a_reader_reads_beside_a_coordinator_and_writes_nothing() {
    let Some(engine) = shared() else { return };
    let engine = Arc::new(engine);
    let ledger = PostgresLedger::open(Arc::clone(&engine)).await.unwrap();
    ledger.create_run(run("r")).await.unwrap();
    let reader = PostgresLedger::open_read_only(engine).await.unwrap();
    assert_eq!(reader.runs().await.unwrap(), [run("r")]);
    assert!(reader.create_run(run("s")).await.is_err(), "it only reads");
}

#[tokio::test]
async fn tables_of_a_newer_program_are_refused() {
    let Some(engine) = shared() else { return };
    let engine = Arc::new(engine);
    drop(PostgresLedger::open(Arc::clone(&engine)).await.unwrap());
    let session = engine.open(tokio::time::Instant::now()).await.unwrap();
    session.client.execute("UPDATE layouts SET version = 99", &[]).await.unwrap();
    for opened in [
        PostgresLedger::open(Arc::clone(&engine)).await,
        PostgresLedger::open_read_only(Arc::clone(&engine)).await,
    ] {
        let error = opened.unwrap_err();
        assert!(matches!(error, LedgerError::Unusable { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("version 99") && error.contains("newer program"), "{error}");
    }
}

#[tokio::test]
async fn tables_that_are_not_there_are_not_made_by_a_reader() {
    let Some(engine) = shared() else { return };
    let error = PostgresLedger::open_read_only(Arc::new(engine)).await.unwrap_err().to_string();
    assert!(error.contains("layout version 0"), "{error}");
}

#[tokio::test]
async fn an_impossible_step_fails_alone() {
    let Some(engine) = shared() else { return };
    let ledger = open(engine).await;
    let impossible = RunEntry { source: "a\0b".to_owned(), ..run("bad") };
    let (bad, good) = tokio::join!(ledger.create_run(impossible), ledger.create_run(run("good")));
    assert!(matches!(bad, Err(LedgerError::Unusable { .. })), "{bad:?}");
    assert_eq!(good.unwrap(), Created::New);
    assert_eq!(ledger.runs().await.unwrap(), [run("good")]);
}

#[tokio::test]
async fn a_commit_whose_wait_for_a_standby_was_cancelled_is_unknown() {
    if !is_here() {
        return;
    }
    let server = TestServer::start(&[]);
    let ledger = Arc::new(open(server.engine("ledger")).await);
    let admin = server.engine("ledger").open(tokio::time::Instant::now()).await.unwrap();
    ledger.create_run(run("r")).await.unwrap();
    admin.client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'").await.unwrap();
    admin.client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The session takes the new configuration before its next transaction.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let step = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { ledger.lease(&RunId::new("r").unwrap(), leased(0, 0)).await }
    });
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while admin.client.query_one(cancel, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!step.is_finished(), "it did not wait for its standby");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = step.await.unwrap();
    assert!(
        matches!(&answer, Err(LedgerError::Unavailable { reason, .. }) if reason.contains("may have taken effect")),
        "{answer:?}"
    );
}

/// The primary dies, its synchronous standby takes over, and the primary comes back: nothing that was acknowledged is lost, and
/// the old primary is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_and_the_old_primary_is_refused() {
    if !is_here() {
        return;
    }
    let primary = TestServer::start(&[]);
    let standby = TestServer::standby(&primary);
    let admin = primary.engine("public").facts().await.unwrap();
    let lags = admin.dangers(None).iter().map(ToString::to_string).collect::<String>();
    assert!(lags.contains("1 standby servers and waits for none"), "{lags}");
    let refused = PostgresLedger::open(Arc::new(primary.engine("ledger"))).await.unwrap_err();
    assert!(refused.to_string().contains("synchronous_standby_names"), "{refused}");
    let session =
        Engine::new(primary.address(), Trust::in_memory(true)).open(tokio::time::Instant::now()).await;
    let session = session.unwrap();
    session.client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    session.client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(session);

    let both = format!("{}&host={}", primary.url(), standby.folder().display());
    let engine = || Engine::new(EngineAddress::of_url(&both, None).unwrap(), Trust::in_memory(false));
    let ledger = Arc::new(open(engine().with_schema("ledger")).await);
    ledger.create_run(run("r")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = tokio::task::JoinSet::new();
    for first in 0..8 {
        work.spawn(lease_and_commit(Arc::clone(&ledger), first, Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    primary.crash();
    standby.promote();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // It does not know that it was replaced, and is the only one that answers for a while.
    primary.restart();
    standby.crash();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    standby.restart();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<u32> = work.join_all().await.into_iter().flat_map(|(shards, _)| shards).collect();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());

    let id = RunId::new("r").unwrap();
    let known = ledger.shards(&id, ShardIndex(0), usize::MAX).await.unwrap();
    for shard in &acknowledged {
        let entry = known.iter().find(|entry| entry.shard.index.0 == *shard);
        assert_eq!(
            entry.and_then(|entry| entry.part.clone()),
            Some(part(&shard.to_string())),
            "shard {shard}"
        );
    }
    let seen = standby.engine("ledger").facts().await.unwrap();
    let old = primary.engine("ledger").facts().await.unwrap();
    let dangers = old.dangers(seen.record.as_ref());
    assert!(
        dangers.iter().any(|danger| danger.to_string().contains("another server has taken over")),
        "{dangers:?}"
    );
}

#[tokio::test]
async fn a_server_that_may_forget_is_refused() {
    if !is_here() {
        return;
    }
    let server = TestServer::start(&["fsync=off", "synchronous_commit=off"]);
    let refused = PostgresLedger::open(Arc::new(server.engine("ledger"))).await.unwrap_err();
    let LedgerError::Unusable { reason, .. } = refused else { panic!("{refused}") };
    for part in ["fsync is off", "synchronous_commit is off", "--engine-may-forget"] {
        assert!(reason.contains(part), "{reason}");
    }
    let facts = server.engine("ledger").facts().await.unwrap();
    assert!(!facts.fsync && facts.record.as_ref().is_some_and(|record| record.timeline == 1), "{facts:?}");
}

/// Many programs at the same empty server: each table is made once.
#[tokio::test]
async fn migrations_at_the_same_time_do_not_disturb_each_other() {
    if shared().is_none() {
        return;
    }
    let schema = new_schema();
    let errors = Mutex::new(Vec::new());
    let migrate = |_| async {
        let engine = shared().unwrap().with_schema(&schema);
        let mut session = engine.open(tokio::time::Instant::now()).await.unwrap();
        if let Err(error) = LAYOUT.migrate(&mut session.client, &schema).await {
            errors.lock().unwrap().push(error);
        }
        LAYOUT.check(&session.client, &schema).await.unwrap();
    };
    futures::future::join_all((0..6).map(migrate)).await;
    assert_eq!(errors.into_inner().unwrap(), []);
}
