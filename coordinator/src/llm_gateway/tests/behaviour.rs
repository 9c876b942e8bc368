//! Behaviour of a request, one scenario a test.

use super::*;

pub(super) const GO: Reply = Reply::CallPermit { call: CallId::new(0), valid_ms: 5000, ticket: None };

fn known(text: &str) -> Reply {
    Reply::CachedResponse(Arc::new(answer(text)))
}

#[test]
fn a_kept_answer_comes_back_without_a_call() {
    let mut bench = Bench::new();
    let stored = CachedResponse { answer: Arc::new(answer("kept")), created_at_ms: 5 };
    bench.durable.answers.insert(key(1), stored);
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 7, key(1)), &allowed(|_| ()));
    assert_eq!(bench.heard(), [(1, 7, known("kept"))]);
    assert_eq!((bench.spent("r").calls, bench.spent("r").reused), (0, 1));
    assert_eq!(bench.state.calls_under_way(), 0, "no permit was taken for it");
}

#[test]
fn an_answer_is_durable_before_it_is_sent() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.open(2, "v");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(2, &acquire("r", 9, key(1)), &allowed);
    assert_eq!(bench.heard(), [(1, 1, GO)], "one call for two workers");
    bench.end(1, complete("r", 1, key(1), CallOutcome::Answered(answer("new"))), &allowed);
    assert_eq!(bench.heard(), []);
    bench.ask(2, &acquire("r", 10, key(1)), &allowed);
    assert_eq!(bench.heard(), [], "who comes meanwhile waits for it too");
    bench.keep_all();
    assert_eq!(bench.heard(), [(1, 1, Reply::ResultPersisted), (2, 9, known("new")), (2, 10, known("new"))]);
    assert_eq!((bench.spent("r").calls, bench.spent("r").reused), (1, 2));
    bench.state.assert_idle();
}

#[test]
fn when_a_call_fails_the_next_in_line_makes_its_own() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.open(2, "v");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(2, &acquire("r", 1, key(1)), &allowed);
    bench.heard();
    bench.pass(1.0);
    bench.end(1, complete("r", 1, key(1), failed(FailureKind::Prompt)), &allowed);
    assert_eq!(bench.heard(), [(2, 1, GO)]);
    bench.keep_all();
    assert_eq!(bench.heard(), [(1, 1, Reply::ResultPersisted)]);
    assert_eq!((bench.spent("r").calls, bench.spent("r").failed), (1, 1));
}

#[test]
fn empty_cut_off_and_withheld_answers_are_not_kept() {
    let allowed = allowed(|_| ());
    for (number, bad) in [
        answer(" \n"),
        Answer { finish: Finish::Length, ..answer("[{") },
        Answer { finish: Finish::Filtered, ..answer("no") },
    ]
    .into_iter()
    .enumerate()
    {
        let mut bench = Bench::new();
        bench.open(1, "w");
        bench.ask(1, &acquire("r", 1, key(1)), &allowed);
        bench.end(1, complete("r", 1, key(1), CallOutcome::Answered(bad)), &allowed);
        bench.keep_all();
        assert!(bench.durable.answers.is_empty(), "{number}");
        assert_eq!((bench.spent("r").failed, bench.spent("r").usage.total), (1, 1000), "it was paid for");
    }
}

#[test]
fn every_permit_is_returned_whatever_becomes_of_the_call() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    let outcomes = [
        CallOutcome::Unsent,
        throttled(0.01),
        failed(FailureKind::Prompt),
        CallOutcome::Answered(answer("a")),
    ];
    for (number, outcome) in (1..).zip(outcomes) {
        bench.ask(1, &acquire("r", number, key(number)), &allowed);
        bench.pass(1.0);
        assert!(bench.heard().contains(&(1, number, GO)), "{number}");
        bench.end(1, complete("r", number, key(number), outcome), &allowed);
        bench.keep_all();
        bench.pass(1.0);
    }
    bench.state.assert_idle();
    let spent = bench.spent("r");
    assert_eq!((spent.calls, spent.throttled, spent.failed), (3, 1, 1), "what was not made is not counted");
}

#[test]
fn a_call_repeated_after_its_word_was_lost_counts_once() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    let end = complete("r", 1, key(1), failed(FailureKind::Prompt));
    bench.end(1, end.clone(), &allowed);
    // The link breaks before the word that it is kept arrives, and before it is durable.
    bench.state.disconnected(bench.now, StreamId(1));
    bench.open(2, "w");
    bench.end(2, end.clone(), &allowed);
    assert!(!bench.heard().iter().any(|(_, _, reply)| *reply == Reply::ResultPersisted));
    bench.keep_all();
    bench.end(2, end, &allowed);
    bench.keep_all();
    let kept = bench
        .heard()
        .into_iter()
        .filter(|(stream, number, reply)| (*stream, *number, reply) == (2, 1, &Reply::ResultPersisted));
    assert_eq!(kept.count(), 2);
    assert_eq!((bench.spent("r").calls, bench.spent("r").failed), (1, 1));
}

#[test]
fn a_coordinator_that_was_restarted_keeps_what_it_did_not_allow() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.end(1, complete("r", 41, key(1), CallOutcome::Answered(answer("paid"))), &allowed);
    bench.keep_all();
    assert_eq!(bench.heard(), [(1, 41, Reply::ResultPersisted)]);
    let usage = bench.spent("r");
    assert_eq!((usage.calls, usage.usage.total), (0, 1000), "counted as lost when its row was deleted");
    bench.ask(1, &acquire("r", 42, key(1)), &allowed);
    assert_eq!(bench.heard(), [(1, 42, known("paid"))]);
}

#[test]
fn what_an_earlier_process_counted_is_not_counted_again() {
    let mut bench = Bench::new();
    let before = LlmUsage { calls: 5, cost: Usd::from_f64(1.0), ..LlmUsage::default() };
    bench.restart_with([(id("r"), before)].into());
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.end(1, complete("r", 41, key(1), CallOutcome::Answered(answer("paid"))), &allowed);
    assert_eq!(bench.spent("r").calls, 6);
    let pending_write = bench.write.remove(0);
    bench.state.persisted(bench.now, pending_write, Counted::Nothing);
    bench.take();
    assert_eq!(bench.spent("r").calls, 5);
}

#[test]
fn a_call_under_way_is_taken_over_by_the_next_stream_and_the_next_process() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.state.disconnected(bench.now, StreamId(1));
    bench.open(2, "v");
    bench.ask(2, &acquire("r", 1, key(1)), &allowed);
    bench.heard();
    let again = AcquireCall { under_way: true, ..acquire("r", 1, key(1)) };
    bench.open(3, "w");
    bench.ask(3, &again, &allowed);
    assert_eq!(bench.state.calls_under_way(), 1, "it is the same call");
    assert_eq!(bench.heard(), []);
    // A process that does not know it counts it all the same, and lets no second one through.
    bench.restart();
    bench.open(4, "w");
    bench.open(5, "v");
    bench.ask(4, &again, &allowed);
    bench.ask(5, &acquire("r", 1, key(1)), &allowed);
    assert_eq!((bench.heard(), bench.state.calls_under_way()), (vec![], 1));
    bench.end(4, complete("r", 1, key(1), CallOutcome::Answered(answer("a"))), &allowed);
    bench.keep_all();
    assert_eq!(bench.heard(), [(4, 1, Reply::ResultPersisted), (5, 1, known("a"))]);
    bench.state.assert_idle();
}

#[test]
fn a_worker_that_dies_gives_its_share_back_when_its_lease_would_end() {
    let mut bench = Bench::new();
    let allowed = allowed(|config| config.limits.concurrency = Limit::at(1));
    bench.open(1, "w");
    bench.open(2, "v");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    bench.ask(2, &acquire("r", 1, key(1)), &allowed);
    bench.heard();
    bench.state.disconnected(bench.now, StreamId(1));
    bench.take();
    bench.pass(29.0);
    assert_eq!(bench.heard(), [], "its call may be under way");
    bench.pass(1.1);
    assert_eq!(bench.heard(), [(2, 1, GO)]);
    assert_eq!(bench.spent("r").calls, 1, "it may have been paid for");
}

#[test]
fn who_withdraws_makes_room_for_the_next() {
    let mut bench = Bench::new();
    let allowed = allowed(|config| config.limits.concurrency = Limit::at(1));
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    bench.ask(1, &acquire("r", 3, key(2)), &allowed);
    bench.ask(1, &acquire("r", 4, key(4)), &allowed);
    bench.heard();
    let request_id = |number| RequestId { stream: StreamId(1), number };
    bench.state.cancel(bench.now, request_id(2));
    bench.state.cancel(bench.now, request_id(4));
    bench.state.cancel(bench.now, request_id(1));
    bench.take();
    bench.pass(1.0);
    bench.end(1, complete("r", 1, key(1), CallOutcome::Unsent), &allowed);
    assert_eq!(bench.heard(), [(1, 1, Reply::ResultPersisted), (1, 3, GO)]);
    bench.end(1, complete("r", 3, key(2), CallOutcome::Unsent), &allowed);
    bench.state.assert_idle();
}

#[test]
fn a_wrong_key_stops_the_run_and_no_other() {
    let mut bench = Bench::new();
    let (allowed, other) = (
        allowed(|config| config.limits.concurrency = Limit::at(2)),
        allowed(|config| {
            config.limits.concurrency = Limit::at(2);
            config.proposer.mode = ProposerMode::Vendor;
        }),
    );
    bench.open(1, "w");
    for number in 1..5 {
        bench.ask(1, &acquire("r", number, key(number)), &allowed);
        bench.ask(1, &acquire("other", 10 + number, key(10 + number)), &other);
        bench.pass(1.0);
    }
    bench.heard();
    bench.end(1, complete("r", 1, key(1), failed(FailureKind::Account)), &allowed);
    let reason = || Reply::Stopped("it is the account".to_owned());
    assert_eq!(bench.heard(), [(1, 3, reason()), (1, 4, reason())]);
    assert_eq!(bench.halted, [(id("r"), "it is the account".to_owned())]);
    let closed = LlmAccess::Denied("it is the account".to_owned());
    bench.ask(1, &acquire("r", 5, key(5)), &closed);
    assert_eq!(bench.heard(), [(1, 5, reason())]);
    // What was under way is kept all the same, and the run goes on when it is submitted again.
    bench.end(1, complete("r", 2, key(2), CallOutcome::Answered(answer("a"))), &closed);
    bench.keep_all();
    assert!(bench.durable.answers.contains_key(&key(2)));
    bench.heard();
    bench.pass(1.0);
    bench.ask(1, &acquire("r", 6, key(6)), &allowed);
    bench.pass(1.0);
    assert_eq!(bench.heard(), [(1, 6, GO)]);
}

#[test]
fn a_run_makes_no_more_calls_than_it_may_and_keeps_what_it_paid_for() {
    let mut bench = Bench::new();
    let bound = allowed(|config| config.spend.max_requests = 2);
    bench.open(1, "w");
    for number in 1..5 {
        bench.ask(1, &acquire("r", number, key(number)), &bound);
        bench.pass(1.0);
    }
    assert_eq!(bench.heard(), [(1, 1, GO), (1, 2, GO)], "calls under way count");
    bench.end(1, complete("r", 1, key(1), CallOutcome::Unsent), &bound);
    bench.pass(1.0);
    assert_eq!(bench.heard(), [(1, 1, Reply::ResultPersisted), (1, 3, GO)], "one that was not made does not");
    for number in 2..4 {
        bench.end(1, complete("r", number, key(number), CallOutcome::Answered(answer("a"))), &bound);
    }
    bench.keep_all();
    let reason = "the run has made 2 calls of 2 (spend.max_requests): raise it to go on";
    assert_eq!(bench.halted, [(id("r"), reason.to_owned())]);
    assert!(bench.heard().contains(&(1, 4, Reply::Stopped(reason.to_owned()))));
    // What is kept costs nothing: a run that needs no call is not stopped.
    bench.halted.clear();
    bench.ask(1, &acquire("r", 7, key(2)), &bound);
    assert_eq!((bench.heard(), bench.halted.len()), (vec![(1, 7, known("a"))], 0));
    let raised = allowed(|config| config.spend.max_requests = 3);
    bench.ask(1, &acquire("r", 8, key(4)), &raised);
    bench.pass(1.0);
    assert_eq!(bench.heard(), [(1, 8, GO)]);
}

#[test]
fn a_run_spends_no_more_than_it_may_and_one_call() {
    let mut bench = Bench::new();
    // A call costs 0.001 USD.
    let bound = allowed(|config| config.spend.max_cost_usd = 0.0055);
    bench.open(1, "w");
    let mut calls = Vec::new();
    for number in 1..20 {
        bench.ask(1, &acquire("r", number, key(number)), &bound);
        bench.pass(1.0);
        calls.extend(bench.heard());
    }
    assert_eq!(calls.len(), 6, "those under way count as if they had ended");
    for number in 1..7 {
        bench.end(1, complete("r", number, key(number), CallOutcome::Answered(answer("a"))), &bound);
    }
    assert_eq!(bench.spent("r").cost, Usd::from_f64(0.006));
    let reason = "the run has spent 0.006 USD of 0.0055 (spend.max_cost_usd): raise it to go on";
    assert_eq!(bench.halted, [(id("r"), reason.to_owned())]);
}

#[test]
fn a_refreshing_run_asks_again_for_what_is_older_than_itself_and_nobody_pays_with_it() {
    let mut bench = Bench::new();
    let stored = |text, created_at_ms| CachedResponse { answer: Arc::new(answer(text)), created_at_ms };
    bench.durable.answers.insert(key(1), stored("old", 999));
    bench.durable.answers.insert(key(2), stored("young", 1000));
    let (fresh, usual) = (allowed(|config| config.spend.refresh = true), allowed(|_| ()));
    bench.open(1, "w");
    bench.ask(1, &acquire("fresh", 1, key(1)), &fresh);
    bench.ask(1, &acquire("fresh", 2, key(2)), &fresh);
    bench.ask(1, &acquire("usual", 3, key(1)), &usual);
    assert_eq!(bench.heard(), [(1, 1, GO), (1, 2, known("young")), (1, 3, known("old"))]);
    bench.end(1, complete("fresh", 1, key(1), CallOutcome::Answered(answer("new"))), &fresh);
    bench.keep_all();
    assert_eq!(*bench.durable.answers[&key(1)].answer, answer("new"));
    bench.heard();
    bench.ask(1, &acquire("fresh", 4, key(1)), &fresh);
    assert_eq!(bench.heard(), [(1, 4, known("new"))]);
}

#[test]
fn a_refusal_anywhere_slows_everybody_at_once_and_no_other_model() {
    let mut bench = Bench::new();
    let loose = allowed(|config| config.grok.model = "loose".to_owned());
    let allowed = allowed(|_| ());
    for stream in 1..4 {
        bench.open(stream, &format!("w{stream}"));
        bench.ask(stream, &acquire("r", 1, key(stream)), &allowed);
        bench.pass(1.0);
    }
    bench.heard();
    let refused = throttled(4.0);
    bench.end(1, complete("r", 1, key(1), refused), &allowed);
    let paused =
        bench.state.statuses(bench.now).get(&RunId::new("r").unwrap()).and_then(|run| run.paused_until_ms);
    // The bench began three seconds before its clock.
    let (now, until) = (crate::clock::unix_ms(), paused.expect("the status says until when"));
    assert!((now + 5000..=now + 7000).contains(&until), "{until} at {now}");
    for stream in 1..4 {
        bench.ask(stream, &acquire("r", 2, key(10 + stream)), &allowed);
        bench.ask(stream, &acquire("loose", 3, key(20 + stream)), &loose);
        bench.pass(1.0);
    }
    let gone = bench.heard();
    assert_eq!(gone.iter().filter(|(_, number, _)| *number == 2).count(), 0, "{gone:?}");
    assert_eq!(gone.iter().filter(|(_, number, _)| *number == 3).count(), 3, "{gone:?}");
    bench.pass(1.5);
    bench.pass(1.0);
    assert!(bench.heard().iter().any(|(_, number, _)| *number == 2));
}

#[test]
fn one_limit_holds_over_all_workers_and_runs_and_equal_runs_share_it() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    let (mut number, mut served) = (0, BTreeMap::new());
    for worker in 0..8 {
        bench.open(worker, &format!("w{worker}"));
        for _ in 0..150 {
            number += 1;
            let run = ["a", "b"][usize::try_from(worker % 2).unwrap()];
            bench.ask(worker, &acquire(run, number, key(number)), &allowed);
        }
    }
    for _ in 0..6000 {
        bench.pass(0.01);
        for (stream, number, reply) in bench.heard() {
            if reply == GO {
                let run = ["a", "b"][usize::try_from(stream % 2).unwrap()];
                *served.entry(run).or_insert(0_u32) += 1;
                bench.end(
                    stream,
                    complete(run, number, key(number), CallOutcome::Answered(answer("a"))),
                    &allowed,
                );
            }
        }
        bench.keep_all();
    }
    let (a, b) = (served["a"], served["b"]);
    assert!((595..=601).contains(&(a + b)), "600 a minute: {served:?}");
    assert!(a.abs_diff(b) <= 2, "{served:?}");
}

#[test]
fn a_run_of_higher_priority_goes_first() {
    let mut bench = Bench::new();
    let (low, high) = (allowed(|_| ()), allowed(|config| config.spend.priority = 5));
    bench.open(1, "w");
    for number in 1..30 {
        bench.ask(1, &acquire("low", number, key(number)), &low);
        bench.ask(1, &acquire("high", 100 + number, key(100 + number)), &high);
    }
    bench.heard();
    for _ in 0..200 {
        bench.pass(0.01);
    }
    let heard = bench.heard();
    assert!(heard.len() >= 19 && heard.iter().all(|(_, number, _)| *number > 100), "{heard:?}");
}

#[test]
fn a_run_that_asks_no_model_or_has_ended_gets_a_reason() {
    let mut bench = Bench::new();
    bench.open(1, "w");
    let gone = LlmAccess::Denied("it has ended".to_owned());
    bench.ask(1, &acquire("r", 1, key(1)), &gone);
    let allowed = allowed(|config| config.limits.concurrency = Limit::at(1));
    bench.ask(1, &acquire("s", 2, key(2)), &allowed);
    bench.ask(1, &acquire("s", 3, key(3)), &allowed);
    bench.set_access(&id("s"), &gone);
    let stopped = |number| (1, number, Reply::Stopped("it has ended".to_owned()));
    assert_eq!(bench.heard(), [stopped(1), (1, 2, GO), stopped(3)]);
}

#[test]
fn a_second_stream_of_a_worker_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let allowed = allowed(|config| config.limits.concurrency = Limit::at(1));
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    bench.reopen(2, "w", 1);
    bench.heard();
    bench.ask(2, &AcquireCall { under_way: true, ..acquire("r", 1, key(1)) }, &allowed);
    bench.ask(2, &acquire("r", 2, key(2)), &allowed);
    assert_eq!(bench.state.calls_under_way(), 1);
    bench.pass(1.0);
    bench.end(2, complete("r", 1, key(1), CallOutcome::Answered(answer("a"))), &allowed);
    bench.keep_all();
    assert_eq!(bench.heard(), [(2, 2, GO), (2, 1, Reply::ResultPersisted)]);
}

#[test]
fn a_stream_under_the_name_of_another_worker_changes_nothing_for_it() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(0, "victim");
    let (mut served, mut streams) = (0, 0);
    for number in 1..=1000 {
        bench.ask(0, &acquire("r", number, key(number)), &allowed);
    }
    for step in 0..6000 {
        bench.pass(0.01);
        // Five times a second, as the attack did.
        if step % 20 == 0 {
            streams += 1;
            bench.open(streams, "victim");
        }
        for (stream, number, reply) in bench.heard() {
            if reply == GO {
                assert_eq!(stream, 0);
                served += 1;
                let answered = CallOutcome::Answered(answer("a"));
                bench.end(0, complete("r", number, key(number), answered), &allowed);
            }
        }
        bench.keep_all();
    }
    assert!((595..=601).contains(&served), "600 a minute: {served}");
}

#[test]
fn a_call_that_goes_on_elsewhere_leaves_a_stream_that_is_still_open() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.ask(1, &acquire("r", 2, key(2)), &allowed);
    bench.pass(1.0);
    bench.heard();
    bench.open(2, "w");
    bench.ask(2, &AcquireCall { under_way: true, ..acquire("r", 1, key(1)) }, &allowed);
    assert_eq!(bench.state.calls_under_way(), 2, "it is the same call");
    for number in 1..3 {
        bench.end(2, complete("r", number, key(number), CallOutcome::Answered(answer("a"))), &allowed);
    }
    bench.keep_all();
    assert_eq!(bench.heard(), [(2, 1, Reply::ResultPersisted), (2, 2, Reply::ResultPersisted)]);
    assert_eq!(bench.spent("r").calls, 2);
    bench.state.assert_idle();
}

#[test]
fn without_a_permit_neither_a_result_nor_a_wait_counts() {
    let mut bench = Bench::new();
    let allowed = allowed(|_| ());
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed);
    bench.open(2, "liar");
    bench.heard();
    let wait = throttled(3600.0);
    for (number, run, outcome) in [
        (1, "r", wait),
        (2, "r", CallOutcome::Answered(answer("forged"))),
        (3, "none", failed(FailureKind::Account)),
    ] {
        let end = complete(run, number, key(number), outcome);
        assert_eq!(bench.state.complete(bench.now, StreamId(2), end, None), Accepted::Refused);
    }
    let claimed = AcquireCall { under_way: true, ..acquire("r", 4, key(4)) };
    assert_eq!(bench.state.acquire(bench.now, StreamId(2), &claimed, None), Accepted::Refused);
    // The own stream's permit is for this run, and for one result.
    let end = complete("r", 1, key(1), CallOutcome::Answered(answer("a")));
    let elsewhere = CallResult { run_id: id("other"), ..end.clone() };
    let ticket = Some(bench.ticket(1, key(1)));
    assert_eq!(bench.state.complete(bench.now, StreamId(1), elsewhere, None), Accepted::Refused);
    assert_eq!(bench.state.complete(bench.now, StreamId(1), end.clone(), None), Accepted::Counted);
    assert_eq!(bench.state.complete(bench.now, StreamId(1), end, ticket), Accepted::Repeated);
    bench.take();
    bench.keep_all();
    let refused =
        bench.heard().iter().filter(|(.., reply)| *reply == Reply::Stopped(NO_PERMIT.to_owned())).count();
    assert_eq!((refused, bench.durable.answers.len(), bench.spent("r").calls), (5, 1, 1));
    bench.ask(1, &acquire("r", 5, key(5)), &allowed);
    bench.pass(0.5);
    assert_eq!(bench.heard(), [(1, 5, GO)], "the rate is as it was");
}
