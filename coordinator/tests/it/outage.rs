//! Runs whose model does not answer, in part or at all, with the binary: what becomes of records and run, and what is said.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::outcome::{ErrorKind, Status};
use mock_llm::Settings;
use serde_json::json;

use crate::keys::{Recorder, completion, http};
use crate::model::{closing, corpus, outcomes, right, start};
use crate::process::{Ended, Process};
use crate::provider::{Mock, answers, plain};

/// A provider with these faults, which answers rightly otherwise.
fn faulty(faults: &str) -> Mock {
    Mock::start(Settings { answers: answers(|_| right()), faults: faults.parse().unwrap(), ..plain() }, None)
}

fn folder(records: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), records);
    folder
}

/// A run with two retries of each call, which come soon.
fn run(folder: &Path, mock: &Mock, more: &[&str]) -> Ended {
    let retries = ["--workers", "1", "--set", "proposer.retries=2", "--set", "max_attempts=1"];
    start(folder, mock, &[&retries[..], more].concat()).end()
}

fn assert_stopped(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for needed in words.iter().chain(&["run r stopped: ", "the same command with --run-id r goes on"]) {
        assert!(ended.stderr.contains(needed), "no {needed:?} in: {}", ended.stderr);
    }
}

/// All of so many records are accepted.
fn assert_accepted(folder: &Path, ended: &Ended, records: usize) {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let accepted = outcomes(folder).iter().filter(|outcome| outcome.accepted()).count();
    assert_eq!((accepted, outcomes(folder).len()), (records, records), "{}", ended.stderr);
}

#[test]
fn an_outage_of_seconds_is_waited_out_and_said() {
    let folder = folder(40);
    let mock = faulty("503@0-6");
    let ended = run(folder.path(), &mock, &[]);
    assert_accepted(folder.path(), &ended, 40);
    for needed in [
        "run r waits: no call succeeds since ",
        "one at a time tries again",
        "the provider answered 503: upstream connect error",
        "run r: calls are answered again",
    ] {
        assert!(ended.stderr.contains(needed), "no {needed:?} in: {}", ended.stderr);
    }
    let closing = closing(&ended);
    let failed = closing["model_failed"].as_u64().unwrap();
    assert!((5..60).contains(&failed), "{failed} calls while there was no answer");
    assert_eq!(closing["model_failures"][0]["calls"], json!(failed));
}

#[test]
fn an_outage_beyond_the_bound_stops_the_run_which_then_goes_on() {
    let folder = folder(40);
    let out = faulty("503@0-10000");
    let ended = run(folder.path(), &out, &["--set", "proposer.outage_minutes=0"]);
    assert_stopped(
        &ended,
        &["proposer.outage_minutes", "upstream connect error", "calls without an answer:"],
    );
    assert!(!folder.path().join("r/run.json").exists(), "nothing looks like a result");
    let ended = run(folder.path(), &faulty(""), &["--set", "proposer.outage_minutes=0"]);
    assert_accepted(folder.path(), &ended, 40);
}

#[test]
fn an_endpoint_without_a_server_is_waited_for() {
    let folder = folder(5);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("grok.endpoint=http://{}", free.local_addr().unwrap());
    drop(free);
    let ended = run(folder.path(), &faulty(""), &["--set", &endpoint, "--set", "proposer.outage_minutes=0"]);
    assert_stopped(&ended, &["cannot connect to 127.0.0.1"]);
}

#[test]
fn an_account_without_credit_stops_the_run_at_once() {
    let folder = folder(200);
    let mock = faulty("402=1");
    let ended = run(folder.path(), &mock, &[]);
    assert_stopped(&ended, &["Insufficient credits", "the account has no credit"]);
    let calls = mock.provider.report().accepted;
    assert!(calls < 30, "{calls} calls of an account without credit");
}

#[test]
fn an_odd_401_between_answers_is_tried_again() {
    let folder = folder(40);
    let ended = run(folder.path(), &faulty("401=0.1"), &["--set", "limits.concurrency=2"]);
    assert_accepted(folder.path(), &ended, 40);
    assert!(closing(&ended)["model_failed"].as_u64().unwrap() > 0, "{}", ended.stdout);
}

#[test]
fn refused_prompts_stay_the_records_own_and_are_asked_again_on_request() {
    let (folder, healthy) = (folder(60), Arc::new(AtomicBool::new(false)));
    let knob = Arc::clone(&healthy);
    let provider = Recorder::start(move |request| {
        let refused =
            ["name: p3\\n", "name: p17\\n", "name: p42\\n"].iter().any(|name| request.contains(name));
        if refused && !knob.load(Ordering::SeqCst) {
            let error =
                json!({"error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X"});
            return http("403 Forbidden", &error.to_string());
        }
        completion(&right())
    });
    let go = |run_id: &str, more: &[&str]| {
        let (corpus, endpoint) =
            (folder.path().join("detections.json"), format!("vllm.endpoint={}", provider.url));
        let out = folder.path().to_str().unwrap();
        let mut arguments =
            vec!["run", "--output", "json", "--run-id", run_id, "--out", out, "--workers", "1"];
        arguments.extend(["--corpus", corpus.to_str().unwrap(), "--shard-size", "10"]);
        for setting in
            ["proposer.mode=vllm", "vllm.api_key_env=", "guardrails=none", "max_attempts=1", &endpoint]
        {
            arguments.extend(["--set", setting]);
        }
        arguments.extend(more);
        Process::coordinator(&arguments).end()
    };
    let ended = go("r", &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let first = outcomes(folder.path());
    let lost: Vec<_> = first.iter().filter(|outcome| outcome.status == Status::Error).collect();
    assert_eq!(lost.len(), 3, "{}", ended.stderr);
    assert!(lost.iter().all(|outcome| outcome.error_kind == Some(ErrorKind::NoAnswer)));
    assert!(lost.iter().all(|outcome| outcome.errors[0].contains("Content violates usage guidelines")));
    assert_eq!(provider.requests().len(), 60, "a refused prompt is sent once");
    assert_eq!(closing(&ended)["model_failures"][0]["calls"], json!(3));

    // Nothing has changed: the same three are asked again, and refused again.
    let ended = go("r", &["--retry", "errors"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("3 records without an answer are asked again"), "{}", ended.stderr);
    assert_eq!(provider.requests().len(), 63);
    assert_eq!(closing(&ended)["errors"], json!(3));

    healthy.store(true, Ordering::SeqCst);
    let ended = go("r", &["--retry", "errors"]);
    assert_accepted(folder.path(), &ended, 60);
    assert_eq!(provider.requests().len(), 66, "what was answered is not asked again");
    let rows = outcomes(folder.path());
    for (before, after) in first.iter().zip(&rows).filter(|(before, _)| before.shard.0 == 20) {
        assert_eq!(before, after, "a shard without errors keeps its rows");
    }
    let ended_again = go("r", &["--retry", "errors"]);
    assert!(ended_again.stderr.contains("there is nothing to ask again"), "{}", ended_again.stderr);
    assert_eq!(provider.requests().len(), 66);
    let clean = go("clean", &[]);
    assert_eq!(closing(&clean)["fingerprint"], closing(&ended)["fingerprint"]);
}

#[test]
fn without_its_cached_answers_a_run_is_not_asked_again() {
    let folder = folder(30);
    let ended = run(folder.path(), &faulty("length=0.1"), &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(closing(&ended)["errors"].as_u64().unwrap() > 0);
    for file in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_string_lossy().starts_with(".answers.sqlite") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let mock = faulty("");
    let ended = run(folder.path(), &mock, &["--retry", "errors"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("cached answers of run r is missing"), "{}", ended.stderr);
    assert_eq!(mock.provider.report().accepted, 0);
    assert!(folder.path().join("r/run.json").exists(), "the finished run stays");
}

#[test]
fn a_share_of_failed_questions_above_the_bound_stops_the_run() {
    let folder = folder(200);
    let ended = run(folder.path(), &faulty("length=0.7"), &[]);
    assert_stopped(&ended, &["proposer.max_failed_share", "maximum context length"]);
    let ended = run(folder.path(), &faulty("length=0.7"), &["--set", "proposer.max_failed_share=1"]);
    assert_eq!(ended.status.code(), Some(0), "the bound can be lifted for the same run: {}", ended.stderr);
    assert_eq!(outcomes(folder.path()).len(), 200);
}

#[test]
fn a_model_that_never_answered_does_not_look_like_a_result() {
    // Fewer questions than the share needs, and rules that stand in for every one of them.
    let folder = folder(10);
    let ended = run(folder.path(), &faulty("403=1"), &["--set", "guardrails=merge"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    let figures = closing(&ended);
    assert_eq!((&figures["model_asked"], &figures["model_unanswered"]), (&json!(10), &json!(10)));
    // The summary for people, of the same finished run.
    let corpus = folder.path().join("detections.json");
    let mut arguments = vec!["run", "--run-id", "r", "--corpus", corpus.to_str().unwrap()];
    arguments.extend(["--out", folder.path().to_str().unwrap()]);
    for setting in ["proposer.mode=grok", "grok.api_key_env=", "guardrails=merge", "max_attempts=1"] {
        arguments.extend(["--set", setting]);
    }
    let ended = Process::coordinator(&arguments).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for needed in [
        "NO CALL WAS ANSWERED",
        "accepted 0 of the model's repairs, 10 of the rules'",
        "gave no answer about 10",
        "10 the provider answered 403: Content violates usage guidelines",
    ] {
        assert!(ended.stdout.contains(needed), "no {needed:?} in: {}", ended.stdout);
    }
    assert!(ended.stderr.contains("--retry errors"), "{}", ended.stderr);
    let ended = run(folder.path(), &faulty(""), &["--set", "guardrails=merge", "--retry", "errors"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let closing = closing(&ended);
    assert_eq!((&closing["accepted_by_model"], &closing["accepted_by_rules"]), (&json!(10), &json!(0)));
}

#[test]
fn a_parameter_that_the_model_refuses_stops_the_run_and_can_be_left_out() {
    let provider = Recorder::start(|request| {
        if request.contains("\"temperature\"") {
            let error = json!({"error": {"code": "unsupported_value", "message":
                "Unsupported value: 'temperature' does not support 0 with this model."}});
            return http("400 Bad Request", &error.to_string());
        }
        completion(&right())
    });
    let folder = folder(30);
    let endpoint = format!("grok.endpoint={}", provider.url);
    let mock = faulty("");
    let ended = run(folder.path(), &mock, &["--set", &endpoint, "--set", "proposer.temperature=0"]);
    assert_stopped(&ended, &["'temperature' does not support 0", "set proposer.temperature"]);
    assert!(provider.requests().len() < 20, "{} calls", provider.requests().len());
    let other = self::folder(30);
    let ended = run(other.path(), &mock, &["--set", &endpoint]);
    assert_accepted(other.path(), &ended, 30);
}
