//! Runs whose first questions go through batches, with the binary and the simulated provider: kills, interruptions, and what is
//! paid for.

use std::path::Path;

use domain::outcome::Outcome;
use mock_llm::{BatchSettings, Settings};
use serde_json::Value;

use crate::model::{closing, corpus, outcomes, right, start};
use crate::provider::{Mock, answers, plain};
use crate::support::coordinator;

const BY_BATCHES: [&str; 6] =
    ["--set", "proposer.delivery=batch", "--set", "batch.poll_seconds=1", "--set", "batch.file_lines=40"];

fn mock(delay: f64, faults: &str) -> Mock {
    let batches = BatchSettings { delay, faults: faults.parse().unwrap() };
    Mock::start(Settings { answers: answers(|_| right()), batches, ..plain() }, None)
}

fn made(folder: &Path) -> Vec<(String, bool, String)> {
    let told = |outcome: &Outcome| {
        (
            outcome.record_id.to_string(),
            outcome.accepted(),
            outcome.patched_yaml.as_deref().unwrap_or_default().to_owned(),
        )
    };
    let mut made: Vec<_> = outcomes(folder).iter().map(told).collect();
    made.sort();
    made
}

fn paid(mock: &Mock) -> (u64, u64, u64) {
    let report = mock.provider.report();
    (report.batches.lines_paid, report.batches.distinct_paid, report.accepted)
}

#[test]
fn a_run_by_batches_comes_to_what_a_live_one_does() {
    let (by_batches, live) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&by_batches, &live] {
        corpus(&folder.path().join("detections.json"), 100);
    }
    let mock = mock(0.2, "shuffle=1,duplicate=0.1");
    let ended = start(by_batches.path(), &mock, &BY_BATCHES).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(paid(&mock), (100, 100, 0), "no call is live: {}", ended.stderr);
    assert!(ended.stderr.contains("questions were submitted"), "{}", ended.stderr);
    assert_eq!(closing(&ended)["accepted"], 100);
    let ended = start(live.path(), &mock, &[]).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(made(by_batches.path()), made(live.path()));
}

#[test]
fn an_endpoint_without_batches_is_named_with_the_key_that_asks_it_live() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 3);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("grok.endpoint=http://{}/v1/chat/completions", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 27\r\n\r\n\
                  {\"detail\":  \"Not Found\"   }",
            );
        }
    });
    let mock = mock(0.2, "");
    let ended = start(folder.path(), &mock, &[&BY_BATCHES[..], &["--set", &endpoint]].concat()).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("proposer.delivery to live"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn an_interruption_leaves_the_batch_and_the_same_command_picks_it_up() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 30);
    let mock = mock(4.0, "");
    let mut process = start(folder.path(), &mock, &BY_BATCHES);
    process.wait_for("questions were submitted");
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    for needed in ["1 batch stays at the provider", "batch_mock", "--run-id r picks them up"] {
        assert!(ended.stderr.contains(needed), "{needed}: {}", ended.stderr);
    }
    let answers = folder.path().join(".answers.sqlite");
    let list = ["batches", "list", "--output", "json", "--answers", answers.to_str().unwrap()];
    let listed: Value = serde_json::from_slice(&coordinator(&list).stdout).unwrap();
    assert_eq!(
        (&listed[0]["phase"], &listed[0]["questions"], &listed[0]["run"]),
        (&"submitted".into(), &30.into(), &"r".into())
    );
    let ended = start(folder.path(), &mock, &BY_BATCHES).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!((closing(&ended)["accepted"].as_u64(), paid(&mock)), (Some(30), (30, 30, 0)));
    let listed: Value = serde_json::from_slice(&coordinator(&list).stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 0);
}

#[cfg(unix)]
#[test]
fn kills_at_random_moments_cost_nothing() {
    let (killed, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&killed, &whole] {
        corpus(&folder.path().join("detections.json"), 120);
    }
    // Longer than three times the longest life below: at least three are killed, on the fastest machine too.
    let faulty = mock(4.0, "lose-create=0.3,shuffle=1,duplicate=0.1,late-output=0.2");
    let mut random = fastrand::Rng::with_seed(3);
    let mut kills = 0;
    for _ in 0..12 {
        let process = start(killed.path(), &faulty, &BY_BATCHES);
        std::thread::sleep(std::time::Duration::from_millis(random.u64(30..1200)));
        process.signal("KILL");
        let ended = process.end();
        if ended.status.code() == Some(0) {
            break;
        }
        kills += 1;
    }
    let ended = start(killed.path(), &faulty, &BY_BATCHES).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(kills > 2, "{kills}");
    assert_eq!(paid(&faulty), (120, 120, 0), "{}", ended.stderr);
    let undisturbed = mock(0.1, "");
    start(whole.path(), &undisturbed, &BY_BATCHES).end();
    assert_eq!(made(killed.path()), made(whole.path()));
}

#[test]
fn what_batches_leave_over_is_asked_live() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 60);
    let mock = mock(0.05, "line-403=0.2");
    let ended = start(folder.path(), &mock, &BY_BATCHES).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let (lines, distinct, live) = paid(&mock);
    assert!(
        lines == distinct && live > 0 && lines + live == 60,
        "{lines} {distinct} {live}: {}",
        ended.stderr
    );
    assert_eq!(closing(&ended)["accepted"], 60);
}

#[test]
fn a_batch_beyond_the_bounds_of_the_run_is_not_submitted() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 60);
    let mock = mock(0.05, "");
    let more = [&BY_BATCHES[..], &["--max-requests", "50"]].concat();
    let ended = start(folder.path(), &mock, &more).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("spend.max_requests"), "{}", ended.stderr);
    assert_eq!((paid(&mock), mock.provider.report().batches.uploaded), ((0, 0, 0), 0));
}

#[test]
fn an_offline_round_trip_needs_no_provider() {
    let folder = tempfile::tempdir().unwrap();
    let corpus_file = folder.path().join("detections.json");
    corpus(&corpus_file, 20);
    let mock = mock(0.0, "");
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (questions, results, answers) =
        (file("questions.jsonl"), file("results.jsonl"), file(".answers.sqlite"));
    let endpoint = format!("grok.endpoint={}", mock.url);
    let settings: Vec<&str> =
        ["proposer.mode=grok", "grok.api_key_env=", "guardrails=none", "proposer.retries=0", &endpoint]
            .into_iter()
            .flat_map(|setting| ["--set", setting])
            .collect();
    let corpus_file = corpus_file.to_str().unwrap();
    let export =
        [&["batches", "export", "--corpus", corpus_file, "--to", &questions][..], &settings].concat();
    let exported = coordinator(&export);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    // As `vllm run-batch` answers.
    let mut lines = String::new();
    for line in std::fs::read_to_string(&questions).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let choice = serde_json::json!({"message": {"role": "assistant", "content": right()}, "finish_reason": "stop"});
        let body = serde_json::json!({"id": "c", "model": line["body"]["model"], "choices": [choice],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}});
        let response = serde_json::json!({"status_code": 200, "request_id": "r", "body": body});
        let whole = serde_json::json!({"id": "v", "custom_id": line["custom_id"], "response": response, "error": null});
        lines += &whole.to_string();
        lines.push('\n');
    }
    assert_eq!(lines.lines().count(), 20);
    std::fs::write(&results, lines).unwrap();
    let import = [&["batches", "import", &results, "--answers", &answers][..], &settings].concat();
    let imported = coordinator(&import);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    assert!(String::from_utf8_lossy(&imported.stdout).contains("20 answers are new"));
    let ended = start(folder.path(), &mock, &[]).end();
    assert_eq!(
        (closing(&ended)["accepted"].as_u64(), paid(&mock)),
        (Some(20), (0, 0, 0)),
        "{}",
        ended.stderr
    );
}
