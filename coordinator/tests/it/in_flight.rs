//! Calls under way when processes are killed: each is counted, and its key is not asked for again before its deadline.

use std::time::{Duration, Instant};

use mock_llm::Settings;
use serde_json::Value;

use crate::keys::{set, status};
use crate::model::{closing, corpus, right, start};
use crate::process::{PATIENCE, Process, serve, worker_binary};
use crate::provider::{Mock, answers, latency, plain};
use crate::support::coordinator;

const RECORDS: usize = 24;

/// Calls in flight at a time.
const LANES: u64 = 4;

/// A call takes two seconds at most, a second to connect, and has a minute of patience: see `LlmPolicy::call_s`.
const DEADLINE: Duration = Duration::from_secs(3 + 60);

fn settings(latency_s: &str) -> Settings {
    Settings { answers: answers(|_| right()), latency: latency(latency_s), ..plain() }
}

/// Waits until all lanes have just begun a call, after the first of each has been answered.
fn wait_for_second_calls(mock: &Mock) {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = mock.provider.report();
        if report.accepted == 2 * LANES && report.in_flight == LANES {
            return;
        }
        assert!(Instant::now() < until && report.accepted <= 2 * LANES, "{report:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
#[test]
fn calls_of_a_killed_fleet_are_counted_once_and_their_keys_wait_for_the_deadline() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (state, path) = (folder.path().join("state"), folder.path().join("detections.json"));
    corpus(&path, RECORDS);
    let mock = Mock::start(settings("1.5"), None);
    let endpoint = format!("grok.endpoint={}", mock.url);
    let start_worker = |url: &str| {
        let arguments = [
            &["serve", "--coordinator", url, "--slots", "2"][..],
            &set(&[endpoint.as_str(), "grok.api_key_env="]),
        ];
        Process::start(&worker, &arguments.concat())
    };
    let (first, url) = serve(&state, &[]);
    let submit = ["submit", "--to", &url, "--run-id", "r", "--corpus", path.to_str().unwrap()];
    let lanes = format!("limits.concurrency={LANES}");
    let config = set(&[
        "proposer.mode=grok",
        "proposer.timeout_seconds=2",
        "proposer.connect_timeout_seconds=1",
        "proposer.retries=0",
        "guardrails=none",
        "max_attempts=1",
        "fleet.lease_seconds=5",
        &lanes,
    ]);
    let submitted = coordinator(&[&submit[..], &["--shard-size", "4"], &config].concat());
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let first_worker = start_worker(&url);
    wait_for_second_calls(&mock);
    let killed = Instant::now();
    first.signal("KILL");
    first_worker.signal("KILL");
    drop((first, first_worker));

    let answers_file = state.join("answers.sqlite");
    let shown = coordinator(&["answers", "stats", "--answers", answers_file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(said.contains("run r: calls under way: 4, the oldest since 20"), "{said}");

    let (_second, url) = serve(&state, &[]);
    let _second_worker = start_worker(&url);
    let mut again = None;
    let run = loop {
        let report = mock.provider.report();
        if report.accepted > report.distinct_prompts && again.is_none() {
            again = Some(killed.elapsed());
        }
        let run = status(&url, "r");
        if run["state"] == "finished" {
            break run;
        }
        assert!(killed.elapsed() < PATIENCE, "{run}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let again = again.expect("what the killed worker had asked is asked again");
    assert!(again + Duration::from_secs(2) >= DEADLINE, "asked again after {again:?}");
    let report = mock.provider.report();
    let calls = RECORDS as u64 + LANES;
    assert_eq!((report.accepted, report.distinct_prompts), (calls, RECORDS as u64));
    assert_eq!(counts(&run), (calls, LANES), "{run}");
}

/// Calls of a run and those that failed.
fn counts(run: &Value) -> (u64, u64) {
    (run["model"]["calls"].as_u64().unwrap(), run["model"]["failed"].as_u64().unwrap())
}

#[cfg(unix)]
#[test]
fn calls_of_a_killed_run_are_counted_and_asked_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), RECORDS);
    let mock = Mock::start(settings("1.5"), None);
    let lanes = format!("limits.concurrency={LANES}");
    let more = set(&["max_attempts=1", &lanes]);
    let process = start(folder.path(), &mock, &more);
    wait_for_second_calls(&mock);
    process.signal("KILL");
    drop(process);
    let resumed = Instant::now();
    let ended = start(folder.path(), &mock, &more).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let took = resumed.elapsed();
    assert!(took < DEADLINE, "its workers ended with it: nothing is waited for, but it took {took:?}");
    let report = mock.provider.report();
    let calls = RECORDS as u64 + LANES;
    assert_eq!((report.accepted, report.distinct_prompts), (calls, RECORDS as u64));
    let closing = closing(&ended);
    assert_eq!(
        (&closing["accepted"], &closing["model_calls"]),
        (&RECORDS.into(), &calls.into()),
        "{closing}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".answers"))
        .collect();
    assert_eq!(left, [".answers.sqlite"], "no lock is left");
}
