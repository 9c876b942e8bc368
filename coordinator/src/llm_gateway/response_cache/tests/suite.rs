//! Conformance suite of [`Answers`] and [`Verdicts`]. `answers_suite!` makes a test of each function for one implementation.

use std::sync::Arc;

use domain::api_server::{ServerClass, ServerIdentity, ServerVerdict};
use domain::ids::{DocumentHash, WorkerName};
use domain::scanner::{Scanner, ScannerVersions};

use super::*;

/// The tests of the suite; the argument makes an empty store, or none: then the test is left out.
macro_rules! answers_suite {
    ($make:expr) => {
        $crate::llm_gateway::response_cache::tests::suite::answers_suite!(@tests $make;
            what_a_batch_writes_is_there_and_counts
            the_first_answer_stays_unless_a_younger_one_is_wanted
            a_call_counts_once_however_often_its_result_comes
            a_call_that_was_not_made_counts_nothing
            an_answer_after_its_call_was_given_up_counts_what_it_used
            a_record_can_be_repeated
            a_batch_takes_effect_in_its_order
            a_key_that_is_twice_in_a_batch_keeps_its_first_answer
            reasons_of_failures_are_counted_up_to_a_bound
            every_text_can_be_stored
            the_calls_of_a_process_that_lives_are_its_own
            no_usage_of_a_call_wedges_the_store
            the_key_of_tickets_stays
            a_verdict_is_found_again_for_the_same_server_and_flags_alone
            a_run_keeps_the_versions_of_its_first_scanners
            a_run_keeps_its_first_server
            a_run_settles_one_server_of_many_at_the_same_time
        );
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            let Some((store, _guard)) = $make else { return };
            $crate::llm_gateway::response_cache::tests::suite::$name(&store);
        })*
    };
}
pub(super) use answers_suite;

/// A call that is about to be permitted.
pub(super) fn call(number: u64) -> RecordedCall {
    RecordedCall {
        id: CallId::new(number),
        key: key(number),
        run_id: run_id(),
        worker: WorkerName::new("w").unwrap(),
        tokens: 1000,
        estimated_cost: Usd::from_ticks(12_345),
        started_at_ms: 1_700_000_000_000 + number,
        deadline_ms: 1_700_000_130_000,
    }
}

/// Applies writes in one batch.
pub(super) fn apply(store: &impl Answers, writes: &[StoreWrite]) -> Vec<Counted> {
    store.apply(&writes.iter().collect::<Vec<_>>()).unwrap()
}

/// The result of a call.
pub(super) fn end(number: u64, text: &str) -> StoreWrite {
    let call = Some(CallId::new(number));
    StoreWrite::End(CacheWrite { call, ..insert(key(number), entry(text, 10)) })
}

fn failed(number: u64) -> StoreWrite {
    let usage = Usage { total: 5, ..Usage::default() };
    let spent = LlmUsage { calls: 1, failed: 1, usage, ..LlmUsage::default() };
    let (call, failure) = (Some(CallId::new(number)), Some("it failed".to_owned()));
    StoreWrite::End(CacheWrite { run_id: run_id(), spent, entry: None, failure, call })
}

fn failures(store: &impl Answers) -> u64 {
    store.failures_of(&run_id()).unwrap().listed().iter().map(|(_, calls)| calls).sum()
}

pub(super) fn what_a_batch_writes_is_there_and_counts(store: &impl Answers) {
    let refused = LlmUsage { calls: 1, throttled: 1, ..LlmUsage::default() };
    let refused = CacheWrite { run_id: run_id(), spent: refused, entry: None, failure: None, call: None };
    let writes = [StoreWrite::End(insert(key(1), entry("one", 10))), StoreWrite::End(refused)];
    let counted = store.apply(&writes.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(counted, [Counted::Whole, Counted::Whole]);
    let found = store.look_up(&[key(2), key(1)]).unwrap();
    let one = CachedResponse { answer: entry("one", 10).answer, created_at_ms: 10 };
    assert_eq!(found, [(key(2), None), (key(1), Some(one))]);
    let spent = spent(store);
    assert_eq!((spent.calls, spent.throttled, spent.usage.total), (2, 1, 95));
    assert_eq!(spent.cost, Usd::from_f64(0.5));
}

pub(super) fn the_first_answer_stays_unless_a_younger_one_is_wanted(store: &impl Answers) {
    let put = |entry| {
        let counted = apply(store, &[StoreWrite::End(insert(key(1), entry))]);
        assert_eq!(counted, [Counted::Whole], "it was paid for");
        found(store, key(1)).unwrap()
    };
    let fresh =
        |text, created_at_ms| CacheEntry { replaces_before_ms: Some(15), ..entry(text, created_at_ms) };
    assert_eq!(put(entry("first", 10)), "first");
    assert_eq!(put(entry("second", 20)), "first");
    assert_eq!(put(fresh("third", 30)), "third");
    assert_eq!(put(fresh("fourth", 40)), "third", "it is young enough");
}

pub(super) fn a_call_counts_once_however_often_its_result_comes(store: &impl Answers) {
    apply(store, &[StoreWrite::Begin(call(1)), StoreWrite::Begin(call(2))]);
    assert_eq!(spent(store), LlmUsage::default(), "nothing is spent yet");
    assert_eq!(apply(store, &[end(1, "one"), failed(2)]), [Counted::Whole, Counted::Whole]);
    let once = (spent(store), failures(store));
    assert_eq!((once.0.calls, once.0.failed, once.1), (2, 1, 1));
    assert_eq!(apply(store, &[end(1, "one"), failed(2)]), [Counted::Nothing, Counted::Nothing]);
    assert_eq!((spent(store), failures(store)), once);
    assert_eq!(found(store, key(1)).as_deref(), Some("one"));
}

pub(super) fn a_call_that_was_not_made_counts_nothing(store: &impl Answers) {
    apply(store, &[StoreWrite::Begin(call(1))]);
    let unused = StoreWrite::Unused { call: CallId::new(1), run_id: run_id() };
    apply(store, std::slice::from_ref(&unused));
    apply(store, &[unused]);
    assert_eq!(spent(store), LlmUsage::default());
    assert_eq!(apply(store, &[failed(1)]), [Counted::Nothing]);
}

pub(super) fn an_answer_after_its_call_was_given_up_counts_what_it_used(store: &impl Answers) {
    apply(store, &[StoreWrite::Begin(call(1))]);
    assert_eq!(apply(store, &[failed(1)]), [Counted::Whole]);
    assert_eq!(apply(store, &[end(1, "late")]), [Counted::Usage]);
    let spent_once = spent(store);
    assert_eq!((spent_once.calls, spent_once.failed, spent_once.usage.total), (1, 1, 100));
    assert_eq!(spent_once.cost, Usd::from_f64(0.5));
    assert_eq!(apply(store, &[end(1, "late")]), [Counted::Nothing], "it is stored now");
    assert_eq!((spent(store), found(store, key(1)).as_deref()), (spent_once, Some("late")));
}

pub(super) fn a_record_can_be_repeated(store: &impl Answers) {
    apply(store, &[StoreWrite::Begin(call(1))]);
    apply(store, &[StoreWrite::Begin(call(1))]);
    assert_eq!(apply(store, &[end(1, "one")]), [Counted::Whole]);
    assert_eq!(apply(store, &[end(1, "one")]), [Counted::Nothing]);
}

pub(super) fn a_batch_takes_effect_in_its_order(store: &impl Answers) {
    let unused = StoreWrite::Unused { call: CallId::new(1), run_id: run_id() };
    let writes = [StoreWrite::Begin(call(1)), unused, StoreWrite::Begin(call(2)), end(2, "two"), failed(1)];
    assert_eq!(
        apply(store, &writes),
        [Counted::Whole, Counted::Whole, Counted::Whole, Counted::Whole, Counted::Nothing]
    );
    assert_eq!(spent(store).calls, 1);
}

pub(super) fn a_key_that_is_twice_in_a_batch_keeps_its_first_answer(store: &impl Answers) {
    let writes = [call(1), RecordedCall { key: key(1), ..call(2) }].map(StoreWrite::Begin);
    let again = CacheWrite { call: Some(CallId::new(2)), ..insert(key(1), entry("second", 20)) };
    let younger = CacheEntry { replaces_before_ms: Some(15), ..entry("third", 30) };
    let younger = StoreWrite::End(insert(key(1), younger));
    let writes: Vec<_> = writes.into_iter().chain([end(1, "first"), StoreWrite::End(again)]).collect();
    assert_eq!(apply(store, &writes), [Counted::Whole; 4], "each was paid for");
    assert_eq!(found(store, key(1)).as_deref(), Some("first"));
    let late =
        StoreWrite::End(CacheWrite { call: Some(CallId::new(9)), ..insert(key(1), entry("late", 40)) });
    assert_eq!(apply(store, &[younger, late]), [Counted::Whole, Counted::Usage]);
    assert_eq!(found(store, key(1)).as_deref(), Some("third"));
    assert_eq!(spent(store).calls, 3);
}

pub(super) fn reasons_of_failures_are_counted_up_to_a_bound(store: &impl Answers) {
    let word = |number: u32| {
        let letter = |at: u32| char::from_u32('a' as u32 + at % 26).unwrap();
        format!("reason {}{} of 17", letter(number / 26), letter(number))
    };
    for first in [0, 50, 0] {
        let writes = (first..first + 100).map(|number| {
            let spent = LlmUsage { calls: 1, failed: 1, ..LlmUsage::default() };
            let failure = Some(word(number));
            StoreWrite::End(CacheWrite { run_id: run_id(), spent, entry: None, failure, call: None })
        });
        apply(store, &writes.collect::<Vec<_>>());
    }
    let listed = store.failures_of(&run_id()).unwrap().listed();
    assert_eq!(listed.iter().map(|(_, calls)| calls).sum::<u64>(), 300);
    let most = proto::convert::FAILURE_REASONS;
    assert!((most..=most + 1).contains(&listed.len()), "{listed:?}");
    assert_eq!(store.failures_of(&RunId::new("another").unwrap()).unwrap(), FailureCounts::default());
}

/// A NUL is replaced where a store cannot hold it.
pub(super) fn every_text_can_be_stored(store: &impl Answers) {
    let mut odd = entry("a\0\u{1F980}\u{202e}'; --", 10);
    let answer = Arc::make_mut(&mut odd.answer);
    (answer.model, answer.finish) = ("m\0\u{fffd}".to_owned(), Finish::Other("f\0 \\".to_owned()));
    (odd.provider, odd.model) = ("p\0".to_owned(), "q\0".to_owned());
    let failure = Some("it failed\0 here".to_owned());
    let spent = LlmUsage { calls: 1, failed: 1, ..LlmUsage::default() };
    let failed = CacheWrite { run_id: run_id(), spent, entry: None, failure, call: None };
    let writes = [StoreWrite::End(insert(key(1), odd.clone())), StoreWrite::End(failed)];
    assert_eq!(apply(store, &writes), [Counted::Whole; 2]);
    let known = store.look_up(&[key(1)]).unwrap().pop().unwrap().1.unwrap();
    assert_eq!((&known.answer.content, known.answer.usage), (&odd.answer.content, odd.answer.usage));
    assert!(known.answer.model.starts_with('m') && known.answer.model.chars().count() == 3);
    assert_eq!(store.failures_of(&run_id()).unwrap().listed().len(), 1);
    let again = CacheWrite { call: Some(CallId::new(1)), ..insert(key(1), odd) };
    assert_eq!(apply(store, &[StoreWrite::End(again)]), [Counted::Nothing], "it is the same answer");
}

pub(super) fn the_calls_of_a_process_that_lives_are_its_own(store: &impl Answers) {
    assert_eq!(store.take_up_calls(&[]).unwrap(), []);
    apply(store, &[StoreWrite::Begin(call(1))]);
    assert_eq!(store.take_up_calls(&[]).unwrap(), []);
    assert_eq!(store.take_up_calls(&[run_id()]).unwrap(), []);
    assert_eq!(apply(store, &[end(1, "one")]), [Counted::Whole]);
}

pub(super) fn calls_of_each_run_are_counted_while_they_are_under_way(store: &ResponseCache) {
    assert_eq!(store.calls_by_run().unwrap(), []);
    let other = RecordedCall { run_id: RunId::new("a").unwrap(), ..call(3) };
    apply(store, &[call(1), call(2), other].map(StoreWrite::Begin));
    let of =
        |run_id, calls, oldest_ms| CallsOfRun { run_id, calls, oldest_ms: 1_700_000_000_000_u64 + oldest_ms };
    assert_eq!(store.calls_by_run().unwrap(), [of(RunId::new("a").unwrap(), 1, 3), of(run_id(), 2, 1)]);
    apply(store, &[end(1, "one"), failed(2), failed(3)]);
    assert_eq!(store.calls_by_run().unwrap(), []);
}

pub(super) fn no_usage_of_a_call_wedges_the_store(store: &impl Answers) {
    let counts = [0, 1, (1 << 53) - 1, 1 << 53, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];
    let costs = [Usd::ZERO, Usd::from_ticks(1), Usd::MOST];
    for total in counts {
        for cost in costs {
            let usage = Usage {
                prompt: total,
                completion: total,
                reasoning: total,
                cached: total,
                total,
                estimated: total,
            };
            let spent = LlmUsage {
                calls: total,
                failed: total,
                throttled: total,
                reused: total,
                usage,
                cost,
                unpriced: total,
            };
            let write = CacheWrite { run_id: run_id(), spent, entry: None, failure: None, call: None };
            let begin = RecordedCall { tokens: total, estimated_cost: cost, deadline_ms: total, ..call(1) };
            for _ in 0..2 {
                let writes = [StoreWrite::Begin(begin.clone()), StoreWrite::End(write.clone())];
                assert_eq!(apply(store, &writes), [Counted::Whole; 2], "{total} {cost}");
            }
        }
    }
    let kept = store.spent_of(&[run_id()]).unwrap()[0].1;
    assert!(kept.calls == 1 << 53 && kept.usage.total == 1 << 53 && kept.cost == Usd::MOST, "{kept:?}");
}

pub(super) fn the_key_of_tickets_stays(store: &impl Answers) {
    let ticket =
        |key: crate::llm_gateway::PermitKey| key.of_call(&run_id(), &key_of_one(), 1, CallId::new(1));
    assert_eq!(ticket(store.permit_key().unwrap()), ticket(store.permit_key().unwrap()));
}

fn key_of_one() -> AnswerKey {
    key(1)
}

/// What the next process finds, where there can be one: `open` opens the same store once more.
pub(super) fn a_call_outlives_its_process<S: Answers>(open: impl Fn() -> S) {
    let (first, second) = (open(), open());
    let other = RecordedCall { run_id: RunId::new("other").unwrap(), ..call(3) };
    apply(&first, &[call(1), call(2), other.clone()].map(StoreWrite::Begin));
    apply(&first, &[end(2, "two")]);
    assert_eq!(second.take_up_calls(&[]).unwrap(), [], "their process lives");
    // A run that this process drives is driven by no other any more.
    let orphan = |call| OrphanedCall { call, may_return: true };
    assert_eq!(second.take_up_calls(&[run_id()]).unwrap(), [orphan(call(1))]);
    drop(first);
    assert_eq!(second.take_up_calls(&[]).unwrap(), [orphan(other.clone())]);
    assert_eq!(second.take_up_calls(&[run_id()]).unwrap(), [], "once");
    assert_eq!(apply(&second, &[end(1, "one")]), [Counted::Whole]);
    drop(second);
    let third = open();
    assert_eq!(third.take_up_calls(&[]).unwrap(), [orphan(other)], "not those that have ended");
    let spent = third.spent_of(&[run_id()]).unwrap()[0].1;
    assert_eq!(spent.calls, 2);
}

/// Many processes write at the same time, and each call counts once.
pub(super) fn concurrent_results_of_a_call_count_once<S: Answers + 'static>(open: impl Fn() -> S) {
    let stores: Vec<Arc<S>> = (0..3).map(|_| Arc::new(open())).collect();
    let numbers = 0..40_u64;
    apply(&*stores[0], &numbers.clone().map(|number| StoreWrite::Begin(call(number))).collect::<Vec<_>>());
    let threads: Vec<_> = stores
        .into_iter()
        .map(|store| {
            let numbers = numbers.clone();
            std::thread::spawn(move || {
                let count = |number| u64::from(apply(&*store, &[end(number, "a")]) == [Counted::Whole]);
                numbers.map(count).sum::<u64>()
            })
        })
        .collect();
    let whole: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!((whole, open().spent_of(&[run_id()]).unwrap()[0].1.calls), (40, 40));
}

/// What the next process finds of the store: `open` opens it once more.
pub(super) fn what_is_stored_stays<S: Answers + Verdicts>(open: impl Fn() -> S) {
    let ticket = |store: &S| store.permit_key().unwrap().of_call(&run_id(), &key(1), 1, CallId::new(1));
    let first = open();
    apply(&first, &[StoreWrite::Begin(call(1)), end(1, "one")]);
    first.put_verdicts(&server("v1.37.2", ""), &[(text(1), verdict(ServerClass::Accepted))]).unwrap();
    let before = ticket(&first);
    drop(first);
    let next = open();
    assert_eq!(ticket(&next), before);
    assert_eq!((found(&next, key(1)).as_deref(), spent(&next).calls), (Some("one"), 1));
    assert_eq!(next.verdicts(&server("v1.37.2", ""), &[text(1)]).unwrap().len(), 1);
}

/// `damage` changes every answer by the given statement.
pub(super) fn a_damaged_answer_is_missing_and_is_replaced(
    store: &impl Answers,
    statements: &[&str],
    damage: impl Fn(&str),
) {
    for (number, statement) in (10..).zip(statements) {
        apply(store, &[StoreWrite::End(insert(key(number), entry("a long enough answer", 10)))]);
        assert!(found(store, key(number)).is_some());
        damage(statement);
        assert_eq!(found(store, key(number)), None, "{statement}");
        let again = insert(key(number), entry("the same, paid again", 20));
        assert_eq!(apply(store, &[StoreWrite::End(again)]), [Counted::Whole]);
        assert_eq!(found(store, key(number)).as_deref(), Some("the same, paid again"), "{statement}");
    }
}

fn verdict(class: ServerClass) -> ServerVerdict {
    ServerVerdict { class, code: 0, causes: Vec::new(), message: None, warnings: Vec::new() }
}

pub(super) fn server(version: &str, flags: &str) -> ServerIdentity {
    ServerIdentity::new(version, flags).unwrap()
}

fn text(number: u8) -> DocumentHash {
    DocumentHash::of(&[number])
}

fn judged(created_at_ms: u64) -> JudgedRun {
    JudgedRun::new(&run_id(), created_at_ms)
}

pub(super) fn a_verdict_is_found_again_for_the_same_server_and_flags_alone(store: &impl Verdicts) {
    let accepted = ServerVerdict { message: Some("a\0b".to_owned()), ..verdict(ServerClass::Accepted) };
    let ours = server("v1.37.2", "a=b");
    store.put_verdicts(&ours, &[(text(1), accepted.clone())]).unwrap();
    // The first answer stays: rows were built from it.
    store
        .put_verdicts(&ours, &[(text(1), verdict(ServerClass::Invalid)), (text(3), accepted.clone())])
        .unwrap();
    let known = store.verdicts(&ours, &[text(3), text(2), text(1)]).unwrap();
    assert_eq!(known, [(text(3), accepted.clone()), (text(1), accepted)]);
    for other in [server("v1.36.0", "a=b"), server("v1.37.2", "")] {
        assert_eq!(store.verdicts(&other, &[text(1)]).unwrap(), []);
    }
}

pub(super) fn a_run_keeps_the_versions_of_its_first_scanners(store: &impl Verdicts) {
    let versions = |version: &str| {
        let mut versions = ScannerVersions::default();
        versions.add(Scanner::KubeLinter, version).unwrap();
        versions
    };
    assert_eq!(store.scanners_of(&judged(1)).unwrap(), None);
    assert_eq!(store.settle_scanners(&judged(1), &versions("1")).unwrap(), versions("1"));
    assert_eq!(store.settle_scanners(&judged(1), &versions("2")).unwrap(), versions("1"));
    assert_eq!(store.scanners_of(&judged(1)).unwrap(), Some(versions("1")));
    assert_eq!(store.settle_scanners(&judged(2), &versions("2")).unwrap(), versions("2"));
}

pub(super) fn a_run_keeps_its_first_server(store: &impl Verdicts) {
    let (one, other) = (server("v1.37.2", ""), server("v1.36.0", ""));
    assert_eq!(store.judge_of(&judged(1)).unwrap(), None);
    assert_eq!(store.settle_judge(&judged(1), &one).unwrap(), one);
    assert_eq!(store.settle_judge(&judged(1), &other).unwrap(), one);
    assert_eq!(store.judge_of(&judged(1)).unwrap(), Some(one));
    assert_eq!(store.settle_judge(&judged(2), &other).unwrap(), other, "another run of that id");
}

pub(super) fn a_run_settles_one_server_of_many_at_the_same_time(store: &impl Verdicts) {
    let settle =
        |number: u32| store.settle_judge(&judged(1), &server(&format!("v1.{number}.0"), "")).unwrap();
    let settled: Vec<ServerIdentity> = std::thread::scope(|threads| {
        let settling: Vec<_> = (0..4).map(|number| threads.spawn(move || settle(number))).collect();
        settling.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let recorded = store.judge_of(&judged(1)).unwrap().unwrap();
    assert!(settled.iter().all(|server| *server == recorded), "{settled:?}");
}

/// `damage` damages every verdict.
pub(super) fn a_damaged_verdict_is_missing(store: &impl Verdicts, damage: impl Fn()) {
    let ours = server("v1.37.2", "");
    store.put_verdicts(&ours, &[(text(1), verdict(ServerClass::Accepted))]).unwrap();
    damage();
    assert_eq!(store.verdicts(&ours, &[text(1)]).unwrap(), []);
}
