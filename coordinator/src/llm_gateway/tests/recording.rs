//! Calls are durable before they are permitted, and the next process counts them.

use super::behaviour::GO;
use super::*;

/// A bench whose store records when a test says so.
fn slow() -> Bench {
    let mut bench = Bench::new();
    bench.records = false;
    bench.open(1, "w");
    bench
}

/// The writes that are not durable.
fn waiting(bench: &Bench) -> (usize, usize) {
    let begins = |write: &&PendingWrite| matches!(write.write, StoreWrite::Begin(_));
    (bench.write.iter().filter(begins).count(), bench.write.iter().filter(|write| !begins(write)).count())
}

#[test]
fn a_permit_waits_until_its_call_is_durable_and_a_result_deletes_the_row() {
    let (mut bench, allowed) = (slow(), allowed(|_| ()));
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    assert_eq!((bench.heard(), waiting(&bench)), (vec![], (1, 0)));
    assert_eq!(bench.state.calls_under_way(), 1, "it counts");
    bench.keep_all();
    assert_eq!((bench.heard(), bench.durable.calls.len()), (vec![(1, 1, GO)], 1));
    bench.end(1, complete("r", 1, key(1), CallOutcome::Answered(answer("a"))), &allowed);
    bench.keep_all();
    assert_eq!((bench.heard(), bench.durable.calls.len()), (vec![(1, 1, Reply::ResultPersisted)], 0));
    bench.state.assert_idle();
}

#[test]
fn what_ends_before_it_is_recorded_goes_back_unused() {
    type Step = fn(&mut Bench);
    let steps: [Step; 3] = [
        |bench| bench.state.cancel(bench.now, RequestId { stream: StreamId(1), number: 1 }),
        |bench| bench.state.disconnected(bench.now, StreamId(1)),
        |bench| bench.set_access(&id("r"), &LlmAccess::Denied("it was cancelled".to_owned())),
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let (mut bench, allowed) = (slow(), allowed(|config| config.limits.concurrency = Limit::at(1)));
        bench.ask(1, &acquire("r", 1, key(1)), &allowed);
        bench.open(2, "v");
        bench.ask(2, &acquire("s", 1, key(1)), &allowed);
        step(&mut bench);
        bench.take();
        bench.pass(1.0);
        bench.keep_all();
        let heard = bench.heard();
        let gone = |(stream, _, reply): &(u64, u64, Reply)| *stream == 1 && *reply == GO;
        assert!(!heard.iter().any(gone) && heard.contains(&(2, 1, GO)), "{number}: {heard:?}");
        assert_eq!(
            (bench.durable.calls.len(), bench.spent("r").calls),
            (1, 0),
            "{number}: the row of the other"
        );
        bench.end(2, complete("s", 1, key(1), CallOutcome::Unsent), &allowed);
        assert_eq!(bench.heard(), [], "{number}: acknowledged when the row is deleted");
        bench.keep_all();
        assert_eq!(bench.heard(), [(2, 1, Reply::ResultPersisted)], "{number}");
        assert_eq!((bench.durable.calls.len(), bench.durable.spent.len()), (0, 0), "{number}");
        bench.state.assert_idle();
    }
}

#[test]
fn a_store_that_does_not_record_holds_calls_back_and_lets_no_burst_through() {
    let (mut bench, allowed) = (slow(), allowed(|_| ()));
    for number in 1..200 {
        bench.ask(1, &acquire("r", number, key(number)), &allowed);
    }
    // Ten calls a second are allowed.
    (0..500).for_each(|_| bench.pass(0.01));
    let (begun, _) = waiting(&bench);
    assert!((9..=12).contains(&begun), "{begun} calls in five seconds");
    assert_eq!(bench.state.wake(bench.now).map(|at| at > bench.now), Some(true), "nothing is to be done now");
    bench.keep_all();
    let permits = bench.heard().len();
    assert!((begun..=begun + 1).contains(&permits), "{permits} permits");
}

#[test]
fn a_record_that_comes_too_late_is_taken_back_and_its_request_waits_again() {
    let (mut bench, allowed) = (slow(), allowed(|_| ()));
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    for seconds in [31.0, 200.0] {
        let held = std::mem::take(&mut bench.write);
        let first = bench.state.last_call;
        // In the second case the deadline passes meanwhile.
        bench.pass(seconds);
        for write in held {
            bench.make_durable(write);
        }
        bench.take();
        assert_eq!(bench.heard(), [], "{seconds}");
        assert_ne!(bench.state.last_call, first, "it is recorded anew");
        assert_eq!(bench.state.calls_under_way(), 1);
    }
    bench.keep_all();
    assert_eq!((bench.heard(), bench.durable.calls.len()), (vec![(1, 1, GO)], 1));
    assert_eq!(bench.spent("r").calls, 0, "nothing was made, and nothing counts");
}

#[test]
fn the_next_process_waits_for_a_call_until_its_deadline_and_counts_it_as_lost() {
    let mut bench = Bench::new();
    // Calls take 60 s, 10 s to connect, and have a minute of patience.
    let allowed = allowed(|config| config.spend.max_requests = 2);
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    assert_eq!(bench.heard(), [(1, 1, GO)]);
    bench.pass(20.0);
    bench.restart();
    bench.set_access(&id("r"), &allowed);
    bench.state.take_up(bench.now, bench.durable.orphans());
    bench.open(2, "v");
    for number in 1..4 {
        bench.ask(2, &acquire("r", number, key(number)), &allowed);
        bench.pass(0.2);
    }
    assert_eq!(bench.heard(), [(2, 2, GO)], "the first is under way, and of two calls one is left");
    bench.pass(109.0);
    assert_eq!(bench.heard(), []);
    bench.pass(1.0);
    bench.keep_all();
    assert_eq!((bench.spent("r").calls, bench.spent("r").failed), (1, 1), "it may have been paid for");
    assert_eq!(bench.durable.calls.len(), 1, "its row is gone with that");
    // Its worker comes after all: what the answer has used counts, and no second call.
    bench.open(3, "w");
    bench.end(3, complete("r", 1, key(1), CallOutcome::Answered(answer("late"))), &allowed);
    bench.keep_all();
    let spent = bench.spent("r");
    assert_eq!((spent.calls, spent.usage.total, bench.durable.answers.len()), (1, 1000, 1));
    assert_eq!(bench.durable.spent[&id("r")].calls, 1);
}

/// The process after one that ended with a call of run r under way.
fn restarted(allowed: &LlmAccess) -> Bench {
    let mut bench = Bench::new();
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), allowed);
    bench.restart();
    bench
}

#[test]
fn a_worker_under_another_name_brings_its_call_back_by_the_ticket() {
    let allowed = allowed(|_| ());
    let mut bench = restarted(&allowed);
    bench.set_access(&id("r"), &allowed);
    bench.state.take_up(bench.now, bench.durable.orphans());
    bench.open(2, "w-2");
    bench.end(2, complete("r", 1, key(1), CallOutcome::Answered(answer("a"))), &allowed);
    bench.keep_all();
    assert_eq!(bench.spent("r").calls, 1);
    bench.state.assert_idle();
}

#[test]
fn a_worker_that_ended_with_its_process_is_not_waited_for() {
    let allowed = allowed(|_| ());
    let mut bench = restarted(&allowed);
    bench.set_access(&id("r"), &allowed);
    let gone = |orphan| OrphanedCall { may_return: false, ..orphan };
    let orphans = bench.durable.orphans().into_iter().map(gone).collect();
    bench.state.take_up(bench.now, orphans);
    bench.heard();
    bench.open(2, "w");
    bench.ask(2, &acquire("r", 2, key(1)), &allowed);
    bench.pass(0.2);
    bench.keep_all();
    assert_eq!(bench.heard(), [(2, 2, GO)]);
    assert_eq!((bench.spent("r").calls, bench.spent("r").failed), (1, 1));
}

#[test]
fn calls_of_a_run_that_has_ended_are_counted_too() {
    let allowed = allowed(|_| ());
    let mut bench = restarted(&allowed);
    bench.state.take_up(bench.now, bench.durable.orphans());
    assert!(!bench.state.forget_run(&id("r")), "a call of it is under way");
    bench.pass(131.0);
    bench.keep_all();
    assert_eq!((bench.durable.spent[&id("r")].calls, bench.durable.calls.len()), (1, 0));
    assert!(bench.state.forget_run(&id("r")));
}

#[test]
fn a_process_that_ends_begins_no_further_calls() {
    let (mut bench, allowed) = (slow(), allowed(|_| ()));
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    bench.state.stop();
    bench.pass(5.0);
    bench.keep_all();
    assert_eq!(bench.heard(), [(1, 1, GO)]);
    assert!(bench.write.is_empty() && bench.state.wake(bench.now).is_some_and(|at| at > bench.now));
}

#[test]
fn a_process_that_may_have_been_replaced_permits_nothing_until_it_is_the_owner_again() {
    let (mut bench, allowed) = (slow(), allowed(|_| ()));
    bench.state.own_until(1.5);
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.keep_all();
    let short = Reply::CallPermit { call: CallId::new(0), valid_ms: 1500, ticket: None };
    assert_eq!(bench.heard(), [(1, 1, short)], "it is valid no longer than the ownership");
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    // Recorded, and then the process stood still.
    bench.pass(2.0);
    bench.ask(1, &acquire("r", 3, key(3)), &allowed);
    bench.keep_all();
    assert_eq!(bench.heard(), [], "its deadline has passed");
    assert_eq!(bench.durable.calls.len(), 1, "the second call was taken back, the third not begun");
    let wake = bench.state.wake(bench.now).unwrap();
    assert!(wake > bench.now && wake < bench.now + 1.0, "it looks again soon: {wake}");
    bench.state.own_until(f64::INFINITY);
    for _ in 0..4 {
        bench.pass(0.5);
        bench.keep_all();
    }
    let mut heard = bench.heard();
    heard.sort_by_key(|(_, number, _)| *number);
    assert_eq!(heard, [(1, 2, GO), (1, 3, GO)]);
}
