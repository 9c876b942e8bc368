//! Conformance suite of the ledger's contract. `ledger_suite!` makes a test of each function for one implementation.

use domain::config::RunConfig;
use domain::ids::{CorpusHash, FencingToken, PartHash, RunFileHash, RunId, ShardIndex, WorkerName};
use domain::run::{RunPlan, RunState, Shard};
use domain::tally::Tally;

use super::contract::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, RunEntry, RunResources,
    ShardEntry, Swap, Totals,
};

/// The tests of the suite; the argument is a future of an empty ledger and a guard that must live as long as it. After
/// `where_there_is` the future may give none: then the test is left out.
macro_rules! ledger_suite {
    (where_there_is $make:expr) => {
        $crate::ledger::suite::ledger_suite!(@tests $make;
            runs_are_created_once
            a_state_changes_only_from_the_expected_state
            a_configuration_changes_only_in_keys_without_effect_on_outcomes
            leases_are_compare_and_set
            a_shard_is_split_by_a_lease_and_never_grows
            a_step_whose_reply_was_lost_can_be_repeated
            only_the_newest_token_commits
            a_commit_is_final
            runs_are_independent
            shards_come_in_pages
            exactly_one_of_many_concurrent_steps_wins
            only_a_run_in_state_removing_is_deleted
            totals_are_stored_when_a_run_ends
            a_failed_run_says_why_until_it_goes_on
            a_damaged_part_is_taken_back_by_its_hash
            recorded_resources_never_shrink
        );
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            let Some((ledger, _guard)) = $make.await else { return };
            $crate::ledger::suite::$name(ledger).await;
        })*
    };
    ($make:expr) => {
        $crate::ledger::suite::ledger_suite!(where_there_is async { Some($make.await) });
    };
}
pub(crate) use ledger_suite;

pub(crate) fn run(id: &str) -> RunEntry {
    let config = RunConfig::default();
    RunEntry {
        plan: RunPlan {
            run_id: RunId::new(id).unwrap(),
            corpus_hash: CorpusHash::of(b"corpus"),
            config_hash: config.hash(),
            config,
            records: 10,
            shard_size: 3,
            version: "0.1.0".to_owned(),
            former_endpoint: None,
        },
        state: RunState::Running,
        source: "detections.json".to_owned(),
        created_at_ms: 1_700_000_000_000,
        fingerprint: None,
        run_file: None,
        totals: None,
        resources: RunResources::ZERO,
        failure: None,
    }
}

pub(crate) fn leased(shard: u32, previous: u64) -> Leased {
    Leased {
        shard: Shard { index: ShardIndex(shard), len: 3 },
        previous: FencingToken(previous),
        token: FencingToken(previous + 1),
        attempt: u32::try_from(previous).unwrap() + 1,
        lost: 0,
        worker: WorkerName::new(format!("w{previous}")).unwrap(),
    }
}

pub(crate) fn part(name: &str) -> CommittedPart {
    CommittedPart {
        key: format!("parts/{name}"),
        bytes: 9,
        hash: PartHash::of(name.as_bytes()),
        tally: Tally { records: 3, accepted: 2, rejected: 1, ..Tally::default() },
    }
}

async fn with_run(ledger: &impl Ledger, id: &str) -> RunId {
    assert_eq!(ledger.create_run(run(id)).await.unwrap(), Created::New);
    RunId::new(id).unwrap()
}

pub(crate) async fn runs_are_created_once(ledger: impl Ledger) {
    assert_eq!(ledger.runs().await.unwrap(), []);
    let id = with_run(&ledger, "zz").await;
    with_run(&ledger, "aa").await;
    let mut other = run("zz");
    other.source = "elsewhere".to_owned();
    assert_eq!(ledger.create_run(other).await.unwrap(), Created::Existed(Box::new(run("zz"))));
    assert_eq!(ledger.run(&id).await.unwrap(), Some(run("zz")));
    assert_eq!(ledger.run(&RunId::new("none").unwrap()).await.unwrap(), None);
    assert_eq!(ledger.runs().await.unwrap(), [run("zz"), run("aa")], "oldest first");
}

pub(crate) async fn a_state_changes_only_from_the_expected_state(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let (running, finishing, finished) = (RunState::Running, RunState::Finishing, RunState::Finished);
    assert_eq!(ledger.advance(&id, finishing, finished, None).await.unwrap(), Swap::Differs(running));
    assert_eq!(ledger.advance(&id, running, finishing, None).await.unwrap(), Swap::Done);
    assert_eq!(
        ledger.advance(&id, running, RunState::Cancelled, None).await.unwrap(),
        Swap::Differs(finishing)
    );
    let run_file = RunFileHash::of(b"run.json");
    let results = FinishedRun { fingerprint: "f1".to_owned(), run_file };
    assert_eq!(ledger.advance(&id, finishing, finished, Some(results)).await.unwrap(), Swap::Done);
    let entry = ledger.run(&id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.fingerprint.as_deref()), (finished, Some("f1")));
    assert_eq!(entry.run_file, Some(run_file));
    assert_eq!(ledger.advance(&id, finished, running, None).await.unwrap(), Swap::Done);
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().run_file, Some(run_file));
    let unknown = RunId::new("none").unwrap();
    assert_eq!(
        ledger.advance(&unknown, running, finished, None).await,
        Err(LedgerError::UnknownRun(unknown.clone()))
    );
}

pub(crate) async fn a_configuration_changes_only_in_keys_without_effect_on_outcomes(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let mut config = RunConfig::default();
    config.spend.max_requests = 7;
    assert_eq!(ledger.reconfigure(&id, config.clone()).await.unwrap(), Swap::Done);
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().plan.config, config);
    let other = RunConfig { seed: 7, ..config.clone() };
    let known = Swap::Differs(config.hash());
    assert_eq!(ledger.reconfigure(&id, other).await.unwrap(), known);
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().plan.config, config);
    let unknown = RunId::new("none").unwrap();
    assert!(ledger.reconfigure(&unknown, config).await.is_err());
}

pub(crate) async fn leases_are_compare_and_set(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    assert_eq!(ledger.lease(&id, leased(1, 0)).await.unwrap(), Swap::Done);
    let entry = ShardEntry {
        shard: Shard { index: ShardIndex(1), len: 3 },
        token: FencingToken(1),
        attempt: 1,
        lost: 0,
        worker: WorkerName::new("w0").unwrap(),
        part: None,
    };
    assert_eq!(ledger.lease(&id, leased(1, 0)).await.unwrap(), Swap::Differs(Some(entry.clone())));
    assert_eq!(ledger.lease(&id, leased(1, 7)).await.unwrap(), Swap::Differs(Some(entry.clone())));
    assert_eq!(ledger.lease(&id, leased(2, 7)).await.unwrap(), Swap::Differs(None));
    // A token that does not grow is refused even where the previous one is as expected.
    let backwards = Leased { token: FencingToken(1), ..leased(1, 1) };
    assert_eq!(ledger.lease(&id, backwards).await.unwrap(), Swap::Differs(Some(entry)));
    assert_eq!(ledger.lease(&id, leased(1, 1)).await.unwrap(), Swap::Done);
    let shards = ledger.shards(&id, ShardIndex(0), 10).await.unwrap();
    assert_eq!(shards.len(), 1);
    assert_eq!((shards[0].token, shards[0].attempt, shards[0].worker.as_str()), (FencingToken(2), 2, "w1"));
    let unknown = RunId::new("none").unwrap();
    assert_eq!(ledger.lease(&unknown, leased(0, 0)).await, Err(LedgerError::UnknownRun(unknown.clone())));
}

pub(crate) async fn a_shard_is_split_by_a_lease_and_never_grows(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let cut = |len, lost, leased: Leased| Leased { shard: Shard { len, ..leased.shard }, lost, ..leased };
    assert_eq!(ledger.lease(&id, leased(0, 0)).await.unwrap(), Swap::Done);
    assert_eq!(ledger.lease(&id, cut(2, 3, leased(0, 1))).await.unwrap(), Swap::Done);
    let entry = ledger.shards(&id, ShardIndex(0), 1).await.unwrap().remove(0);
    assert_eq!((entry.shard.len, entry.lost, entry.token), (2, 3, FencingToken(2)));
    let longer = ledger.lease(&id, cut(3, 3, leased(0, 2))).await.unwrap();
    assert_eq!(longer, Swap::Differs(Some(entry)), "it never grows, whatever the token");
    // The rest is a shard of its own, leased like any other.
    assert_eq!(ledger.lease(&id, cut(1, 0, leased(2, 0))).await.unwrap(), Swap::Done);
    let stale = CommitVerdict::Stale { current: FencingToken(2) };
    assert_eq!(ledger.commit(&id, ShardIndex(0), FencingToken(1), part("whole")).await.unwrap(), stale);
    let half = ledger.commit(&id, ShardIndex(0), FencingToken(2), part("half")).await.unwrap();
    assert_eq!(half, CommitVerdict::Committed);
    let split = ledger.lease(&id, cut(1, 0, leased(0, 2))).await.unwrap();
    assert!(matches!(split, Swap::Differs(Some(_))), "a committed shard is not split: {split:?}");
    let shards = ledger.shards(&id, ShardIndex(0), 9).await.unwrap();
    let lens: Vec<_> = shards.iter().map(|entry| (entry.shard.index.0, entry.shard.len)).collect();
    assert_eq!(lens, [(0, 2), (2, 1)]);
}

pub(crate) async fn a_step_whose_reply_was_lost_can_be_repeated(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    // After a dropped future the caller does not know whether the step took effect.
    drop(ledger.lease(&id, leased(0, 0)));
    match ledger.lease(&id, leased(0, 0)).await.unwrap() {
        Swap::Done => {}
        Swap::Differs(Some(entry)) => assert_eq!((entry.token, entry.attempt), (FencingToken(1), 1)),
        other @ Swap::Differs(None) => panic!("{other:?}"),
    }
    drop(ledger.commit(&id, ShardIndex(0), FencingToken(1), part("a")));
    let again = ledger.commit(&id, ShardIndex(0), FencingToken(1), part("a")).await.unwrap();
    assert!(matches!(again, CommitVerdict::Committed | CommitVerdict::Already), "{again:?}");
    let shards = ledger.shards(&id, ShardIndex(0), 9).await.unwrap();
    assert_eq!(shards.iter().map(|entry| entry.part.clone()).collect::<Vec<_>>(), [Some(part("a"))]);
    // The same for a step on the run.
    drop(ledger.advance(&id, RunState::Running, RunState::Finishing, None));
    let state = ledger.advance(&id, RunState::Running, RunState::Finishing, None).await.unwrap();
    assert!(matches!(state, Swap::Done | Swap::Differs(RunState::Finishing)), "{state:?}");
}

pub(crate) async fn only_the_newest_token_commits(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let shard = ShardIndex(0);
    let stale = |token| CommitVerdict::Stale { current: FencingToken(token) };
    assert_eq!(ledger.commit(&id, shard, FencingToken(0), part("a")).await.unwrap(), stale(0));
    assert_eq!(ledger.commit(&id, shard, FencingToken(1), part("a")).await.unwrap(), stale(0));
    ledger.lease(&id, leased(0, 0)).await.unwrap();
    ledger.lease(&id, leased(0, 1)).await.unwrap();
    assert_eq!(ledger.commit(&id, shard, FencingToken(1), part("old")).await.unwrap(), stale(2));
    assert_eq!(ledger.commit(&id, shard, FencingToken(3), part("new")).await.unwrap(), stale(2));
    assert_eq!(
        ledger.commit(&id, shard, FencingToken(2), part("b")).await.unwrap(),
        CommitVerdict::Committed
    );
    assert_eq!(ledger.commit(&id, shard, FencingToken(1), part("old")).await.unwrap(), stale(2));
}

pub(crate) async fn a_commit_is_final(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    ledger.lease(&id, leased(0, 0)).await.unwrap();
    let commit = |name| ledger.commit(&id, ShardIndex(0), FencingToken(1), part(name));
    assert_eq!(commit("a").await.unwrap(), CommitVerdict::Committed);
    assert_eq!(commit("b").await.unwrap(), CommitVerdict::Already);
    let again = ledger.lease(&id, leased(0, 1)).await.unwrap();
    assert!(matches!(again, Swap::Differs(Some(ShardEntry { part: Some(_), .. }))), "{again:?}");
    let shards = ledger.shards(&id, ShardIndex(0), 10).await.unwrap();
    assert_eq!(shards[0].part, Some(part("a")), "the first one stays");
}

pub(crate) async fn runs_are_independent(ledger: impl Ledger) {
    let (one, two) = (with_run(&ledger, "one").await, with_run(&ledger, "two").await);
    ledger.lease(&one, leased(0, 0)).await.unwrap();
    let stale = CommitVerdict::Stale { current: FencingToken(0) };
    assert_eq!(ledger.commit(&two, ShardIndex(0), FencingToken(1), part("a")).await.unwrap(), stale);
    assert_eq!(ledger.shards(&two, ShardIndex(0), 10).await.unwrap(), []);
    assert_eq!(ledger.lease(&two, leased(0, 0)).await.unwrap(), Swap::Done);
    ledger.advance(&one, RunState::Running, RunState::Cancelled, None).await.unwrap();
    assert_eq!(ledger.run(&two).await.unwrap().unwrap().state, RunState::Running);
}

pub(crate) async fn shards_come_in_pages(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    for shard in [4, 0, 2, 9] {
        ledger.lease(&id, leased(shard, 0)).await.unwrap();
    }
    let page = |first, limit| ledger.shards(&id, ShardIndex(first), limit);
    let indices =
        |shards: Vec<ShardEntry>| shards.iter().map(|entry| entry.shard.index.0).collect::<Vec<_>>();
    assert_eq!(indices(page(0, 3).await.unwrap()), [0, 2, 4]);
    assert_eq!(indices(page(5, 3).await.unwrap()), [9]);
    assert_eq!(indices(page(10, 3).await.unwrap()), [0u32; 0]);
}

pub(crate) async fn exactly_one_of_many_concurrent_steps_wins(ledger: impl Ledger) {
    let ledger = std::sync::Arc::new(ledger);
    let id = with_run(ledger.as_ref(), "r").await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (ledger, id) = (std::sync::Arc::clone(&ledger), id.clone());
        tries.spawn(async move {
            let mut won = 0;
            for shard in 0..20 {
                won += u32::from(ledger.lease(&id, leased(shard, 0)).await.unwrap() == Swap::Done);
                let commit = ledger.commit(&id, ShardIndex(shard), FencingToken(1), part("x"));
                won += 100 * u32::from(commit.await.unwrap() == CommitVerdict::Committed);
            }
            won
        });
    }
    let won: u32 = tries.join_all().await.into_iter().sum();
    assert_eq!(won, 20 * 101);
}

pub(crate) async fn only_a_run_in_state_removing_is_deleted(ledger: impl Ledger) {
    let (id, other) = (with_run(&ledger, "r").await, with_run(&ledger, "other").await);
    for run_id in [&id, &other] {
        ledger.lease(run_id, leased(0, 0)).await.unwrap();
    }
    let (running, removing) = (RunState::Running, RunState::Removing);
    assert_eq!(ledger.remove_run(&id).await.unwrap(), Swap::Differs(running));
    assert_eq!(ledger.run(&id).await.unwrap(), Some(run("r")));
    ledger.advance(&id, running, removing, None).await.unwrap();
    assert_eq!(ledger.remove_run(&id).await.unwrap(), Swap::Done);
    assert_eq!(ledger.remove_run(&id).await.unwrap(), Swap::Done, "it can be repeated");
    assert_eq!(ledger.runs().await.unwrap(), [run("other")]);
    assert_eq!(ledger.shards(&other, ShardIndex(0), 9).await.unwrap().len(), 1);
    with_run(&ledger, "r").await;
    assert_eq!(
        ledger.shards(&id, ShardIndex(0), 9).await.unwrap(),
        [],
        "a new run of that name has no shards"
    );
}

pub(crate) async fn totals_are_stored_when_a_run_ends(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let other = with_run(&ledger, "other").await;
    let totals = |records| Totals {
        tally: Tally { records, accepted: records, ..Tally::default() },
        committed: u32::try_from(records).unwrap(),
    };
    let (running, finishing) = (RunState::Running, RunState::Finishing);
    assert_eq!(ledger.record_totals(&id, totals(1)).await.unwrap(), Swap::Differs(running));
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().totals, None, "an active run has none");
    ledger.advance(&id, running, finishing, None).await.unwrap();
    assert_eq!(ledger.record_totals(&id, totals(2)).await.unwrap(), Swap::Done);
    ledger.advance(&id, finishing, RunState::Finished, None).await.unwrap();
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().totals, Some(totals(2)));
    assert_eq!(ledger.record_totals(&id, totals(3)).await.unwrap(), Swap::Done, "the last ones stay");
    let seen: Vec<_> = ledger.runs().await.unwrap().into_iter().map(|run| run.totals).collect();
    assert_eq!(seen, [Some(totals(3)), None]);
    ledger.advance(&other, running, RunState::Cancelled, None).await.unwrap();
    assert_eq!(ledger.record_totals(&other, totals(0)).await.unwrap(), Swap::Done);
    let unknown = RunId::new("none").unwrap();
    assert_eq!(
        ledger.record_totals(&unknown, totals(1)).await,
        Err(LedgerError::UnknownRun(unknown.clone()))
    );
}

pub(crate) async fn recorded_resources_never_shrink(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let used = |wall_ms, cpu_ms| RunResources { wall_ms, cpu_ms, peak_rss_bytes: Some(1 << 33) };
    let known = async || ledger.run(&id).await.unwrap().unwrap().resources;
    assert_eq!(known().await, RunResources::ZERO);
    ledger.record_resources(&id, used(Some(20), Some(7))).await.unwrap();
    ledger.record_resources(&id, used(Some(10), Some(9))).await.unwrap();
    assert_eq!(known().await, used(Some(20), Some(9)), "a late record does not lower a figure");
    ledger.record_resources(&id, used(Some(30), None)).await.unwrap();
    ledger.record_resources(&id, used(Some(30), Some(50))).await.unwrap();
    assert_eq!(known().await, used(Some(30), None), "unknown stays unknown");
    let unknown = RunId::new("none").unwrap();
    assert_eq!(
        ledger.record_resources(&unknown, RunResources::ZERO).await,
        Err(LedgerError::UnknownRun(unknown.clone()))
    );
}

pub(crate) async fn a_failed_run_says_why_until_it_goes_on(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    let (running, failed) = (RunState::Running, RunState::Failed);
    let why = || "the disk is gone".to_owned();
    assert_eq!(ledger.fail(&id, RunState::Finishing, why()).await.unwrap(), Swap::Differs(running));
    assert_eq!(ledger.fail(&id, running, why()).await.unwrap(), Swap::Done);
    let entry = ledger.run(&id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.failure), (failed, Some(why())));
    let totals = Totals { tally: Tally::default(), committed: 0 };
    assert_eq!(ledger.record_totals(&id, totals).await.unwrap(), Swap::Done, "it has ended");
    assert_eq!(ledger.advance(&id, failed, running, None).await.unwrap(), Swap::Done);
    assert_eq!(ledger.run(&id).await.unwrap().unwrap().failure, None);
    let unknown = RunId::new("none").unwrap();
    assert_eq!(ledger.fail(&unknown, running, why()).await, Err(LedgerError::UnknownRun(unknown.clone())));
}

pub(crate) async fn a_damaged_part_is_taken_back_by_its_hash(ledger: impl Ledger) {
    let id = with_run(&ledger, "r").await;
    ledger.lease(&id, leased(0, 0)).await.unwrap();
    let reopen = |name| ledger.reopen(&id, ShardIndex(0), part(name).hash);
    assert!(matches!(reopen("a").await.unwrap(), Swap::Differs(Some(entry)) if entry.part.is_none()));
    ledger.commit(&id, ShardIndex(0), FencingToken(1), part("a")).await.unwrap();
    let entry = ledger.shards(&id, ShardIndex(0), 1).await.unwrap().remove(0);
    assert_eq!(reopen("b").await.unwrap(), Swap::Differs(Some(entry.clone())));
    assert_eq!(reopen("a").await.unwrap(), Swap::Done);
    let open = ShardEntry { part: None, ..entry };
    assert_eq!(reopen("a").await.unwrap(), Swap::Differs(Some(open)), "once");
    // Only a larger token commits it again: the old one is known to workers of the past.
    assert_eq!(ledger.lease(&id, leased(0, 1)).await.unwrap(), Swap::Done);
    let again = ledger.commit(&id, ShardIndex(0), FencingToken(1), part("a")).await.unwrap();
    assert_eq!(again, CommitVerdict::Stale { current: FencingToken(2) });
    let again = ledger.commit(&id, ShardIndex(0), FencingToken(2), part("a")).await.unwrap();
    assert_eq!(again, CommitVerdict::Committed);
    let none = ledger.reopen(&id, ShardIndex(3), part("a").hash).await.unwrap();
    assert_eq!(none, Swap::Differs(None));
}
