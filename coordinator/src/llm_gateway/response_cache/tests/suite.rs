//! Conformance suite of [`Answers`]. `answers_suite!` makes a test of each function for one implementation.

use std::sync::Arc;

use domain::ids::WorkerName;

use super::*;

/// The tests of the suite; the argument makes an empty store.
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
            the_calls_of_a_process_that_lives_are_its_own
            calls_of_each_run_are_counted_while_they_are_under_way
            no_usage_of_a_call_wedges_the_store
            the_key_of_tickets_stays
        );
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            let (store, _guard) = $make;
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
fn end(number: u64, text: &str) -> StoreWrite {
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
