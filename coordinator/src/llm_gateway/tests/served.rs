//! Which model answered: a run stops at the first answer of another one, and nothing that was paid for is lost.

use domain::config::OnModelMismatch;

use super::*;

fn by(model: &str) -> Answer {
    Answer { model: model.to_owned(), ..answer("a") }
}

/// The replies after an answer of `model`, and why the run was halted.
fn after(model: &str, access: &LlmAccess) -> (Bench, Vec<(u64, u64, Reply)>) {
    after_call(CallOutcome::Answered(by(model)), access)
}

fn after_call(outcome: CallOutcome, access: &LlmAccess) -> (Bench, Vec<(u64, u64, Reply)>) {
    let mut bench = Bench::new();
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), access);
    bench.pass(1.0);
    bench.heard();
    bench.ask(1, &acquire("r", 2, key(1)), access);
    bench.end(1, complete("r", 1, key(1), outcome), access);
    bench.keep_all();
    let heard = bench.heard();
    (bench, heard)
}

#[test]
fn the_same_model_by_another_name_and_one_that_is_not_disclosed_are_served() {
    let allowed = allowed(|_| ());
    for model in ["", "grok-4.3", "grok-4.3-2026-05-14", "xai/grok-4.3"] {
        let (bench, heard) = after(model, &allowed);
        let cached = Reply::CachedResponse(Arc::new(by(model)));
        assert_eq!(heard, [(1, 1, Reply::ResultPersisted), (1, 2, cached)], "{model}");
        assert_eq!(bench.halted, [], "{model}");
    }
}

#[test]
fn an_answer_of_another_model_stops_the_run_and_is_kept_for_one_that_takes_it() {
    let (mut bench, heard) = after("grok-4.7", &allowed(|_| ()));
    let [(run_id, reason)] = &bench.halted[..] else { panic!("{:?}", bench.halted) };
    assert_eq!(*run_id, id("r"));
    for part in ["grok-4.3 was asked", "grok-4.7 answered", "grok.model", "proposer.on_model_mismatch"] {
        assert!(reason.contains(part), "{reason}");
    }
    let stopped = Reply::Stopped(reason.clone());
    assert!(heard.contains(&(1, 2, stopped)) && heard.contains(&(1, 1, Reply::AskAgain)), "{heard:?}");
    assert_eq!((bench.durable.answers.len(), bench.spent("r").calls), (1, 1), "it was paid for, and is kept");
    // The same run, submitted again.
    let warned = allowed(|config| config.proposer.on_model_mismatch = OnModelMismatch::Warn);
    bench.ask(1, &acquire("r", 3, key(1)), &warned);
    assert_eq!(bench.heard(), [(1, 3, Reply::CachedResponse(Arc::new(by("grok-4.7"))))]);
    assert_eq!(bench.spent("r").calls, 1, "nothing is paid twice");
}

#[test]
fn an_answer_that_is_cut_off_names_its_model_too() {
    let cut = |model: &str| {
        let (reason, model) = ("the response is cut off".to_owned(), model.to_owned());
        CallOutcome::Failed { reason, kind: FailureKind::Prompt, model }
    };
    let (bench, _) = after_call(cut("grok-4.7"), &allowed(|_| ()));
    assert!(matches!(&bench.halted[..], [(_, reason)] if reason.contains("grok-4.7 answered")));
    assert_eq!((bench.durable.answers.len(), bench.spent("r").calls), (0, 1));
    for same in ["", "grok-4.3-2026-05-14"] {
        assert_eq!(after_call(cut(same), &allowed(|_| ())).0.halted, [], "{same}");
    }
}

#[test]
fn a_cached_answer_of_another_model_stops_the_run_too() {
    let mut bench = Bench::new();
    bench
        .durable
        .answers
        .insert(key(1), CachedResponse { answer: Arc::new(by("grok-4.7")), created_at_ms: 9 });
    bench.open(1, "w");
    bench.ask(1, &acquire("r", 1, key(1)), &allowed(|_| ()));
    let heard = bench.heard();
    assert!(matches!(&heard[..], [(1, 1, Reply::Stopped(_))]), "{heard:?}");
    assert_eq!((bench.halted.len(), bench.spent("r").calls), (1, 0));
    bench.state.assert_idle();
}
