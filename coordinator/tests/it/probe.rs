//! The command `coordinator probe` with a simulated provider over real sockets.

use std::fs::File;
use std::path::Path;
use std::process::Output;

use mock_llm::{Allowed, Settings};
use serde_json::Value;

use crate::process::Process;
use crate::provider::{Mock, latency, plain};
use crate::support::coordinator;

/// A provider at ten times the speed of the clock.
fn mock(allowed: Allowed, slow: &str, key: Option<&str>) -> Mock {
    Mock::start(Settings { allowed, latency: latency(slow), speed: 10.0, ..plain() }, key)
}

fn arguments<'a>(mock: &'a Mock, out: &'a Path, more: &[&'a str]) -> Vec<String> {
    let endpoint = format!("vllm.endpoint={}", mock.url);
    let base = [
        "probe",
        "--set",
        "proposer.mode=vllm",
        "--set",
        endpoint.as_str(),
        "--set",
        "vllm.model=mock",
        "--set",
        "vllm.price.input=0",
        "--set",
        "vllm.price.output=0",
        "--set",
        "guardrails=none",
    ];
    let all = [&base[..], &["--output", "json", "--out", out.to_str().unwrap()], more].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn result(output: &Output) -> (Option<i32>, Value, String) {
    let shown = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), shown, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_limit_of_a_provider_is_found_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let mock = mock(Allowed { rpm: Some(480.0), ..Allowed::default() }, "lognormal:1.0:0.3", None);
    let output = coordinator(&arguments(&mock, folder.path(), &["--find"]));
    let (code, shown, talk) = result(&output);
    assert_eq!(code, Some(0), "{talk}");
    let limit = &shown["limits"]["requests_per_minute"];
    // Faster than the clock and beside other tests, late answers may end a search early: the precision is tested in
    // paused time.
    match limit["state"].as_str() {
        Some("found") => {
            let off = limit["value"].as_f64().unwrap() / limit_of_the_mock(&shown) - 1.0;
            assert!(off.abs() < 0.5, "{limit}");
        }
        state => assert!(matches!(state, Some("at_least" | "unknown")), "{limit}"),
    }
    assert_eq!(shown["stated"]["requests"], 4800);

    let written: Value =
        serde_json::from_reader(File::open(folder.path().join("probe.json")).unwrap()).unwrap();
    assert_eq!(written, shown);
    let snippet = std::fs::read_to_string(folder.path().join("limits.yaml")).unwrap();
    assert!(snippet.contains("limits:\n"), "{snippet}");
    assert!(std::fs::metadata(folder.path().join("calls.parquet")).unwrap().len() > 100);

    let calls = shown["results"].as_array().unwrap().len();
    let (code, _, talk) = result(&coordinator(&arguments(&mock, folder.path(), &["--steps", "1"])));
    assert_eq!(code, Some(2));
    assert!(talk.contains("holds a probe already"), "{talk}");
    let report = mock.provider.report();
    assert_eq!(report.accepted + report.refused_429, calls as u64, "nothing was sent the second time");
    let config = folder.path().join("limits.yaml");
    let shown = coordinator(&["config", "show", "--config", config.to_str().unwrap(), "--output", "json"]);
    assert!(shown.status.success(), "the snippet is a valid configuration");
}

/// The advertised limit in calls a minute.
fn limit_of_the_mock(shown: &Value) -> f64 {
    shown["stated"]["requests"].as_f64().unwrap()
}

#[test]
fn a_dry_run_sends_nothing_and_needs_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let mock = mock(Allowed::default(), "0.1", None);
    let more = ["--set", "vllm.api_key_env=NO_SUCH_KEY", "--set", "vllm.price.output=10", "--steps", "1,4"];
    let (code, shown, talk) =
        result(&coordinator(&arguments(&mock, folder.path(), &[&more[..], &["--dry-run"]].concat())));
    assert_eq!((code, shown["requests_at_most"].as_u64()), (Some(0), Some(40)), "{talk}");
    assert!((shown["cost_usd_at_most"].as_f64().unwrap() - 40.0 * 500.0 * 10.0 / 1e6).abs() < 1e-9);
    assert_eq!(mock.provider.report().accepted, 0);

    let (code, _, talk) = result(&coordinator(&arguments(&mock, folder.path(), &more)));
    assert_eq!(code, Some(2));
    assert!(talk.contains("environment variable NO_SUCH_KEY is not set"), "{talk}");
    let (code, _, talk) = result(&coordinator(&["probe", "--dry-run"]));
    assert_eq!(code, Some(2));
    assert!(talk.contains("has no model") && talk.contains("configs/grok.yaml"), "{talk}");
}

#[test]
fn a_wrong_key_ends_the_probe_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mock = mock(Allowed::default(), "0.1", Some("right"));
    let (code, _, talk) = result(&coordinator(&arguments(&mock, folder.path(), &["--steps", "1"])));
    assert_eq!(code, Some(2));
    assert!(talk.contains("401: Incorrect API key provided."), "{talk}");
    // One call, and the question for its models.
    assert_eq!(mock.provider.report().refused_401, 2);
    let written: Value =
        serde_json::from_reader(File::open(folder.path().join("probe.json")).unwrap()).unwrap();
    assert_eq!(written["summary"]["status_counts"]["401"], 1);
}

#[cfg(unix)]
#[test]
fn an_interrupted_probe_writes_its_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let mock = mock(Allowed::default(), "1.0", None);
    let mut process =
        Process::coordinator(&arguments(&mock, folder.path(), &["--steps", "2", "--requests", "1000"]));
    // Progress is shown after two seconds.
    process.wait_for("answered");
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    let written: Value =
        serde_json::from_reader(File::open(folder.path().join("probe.json")).unwrap()).unwrap();
    assert_eq!(written["stopped"], "interrupted");
    assert!(written["summary"]["success"].as_u64().unwrap() > 4, "{}", written["summary"]);
}
