//! Life cycle of runs and processes with the binaries: concurrent runs, interruptions, removal.

use std::path::Path;
use std::time::Duration;

use results::scan;
use serde_json::Value;

use crate::process::{Process, serve, worker_binary};
use crate::support::{coordinator, detections, final_part, run};

/// Status of all runs of a coordinator.
fn status(url: &str) -> Vec<Value> {
    let output = coordinator(&["status", "--from", url, "--output", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..300 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("timed out waiting for {what}");
}

/// The `run.json` of a run.
fn described(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("run.json")).unwrap()).unwrap()
}

fn submit(url: &str, corpus: &Path, run_id: &str, shard_size: &str) {
    let corpus = corpus.to_str().unwrap();
    let arguments =
        ["submit", "--to", url, "--corpus", corpus, "--run-id", run_id, "--shard-size", shard_size];
    let output = coordinator(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn committed(url: &str) -> u64 {
    status(url).iter().map(|run| run["committed"].as_u64().unwrap()).sum()
}

#[test]
fn two_runs_share_one_worker_by_records() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 200);
    let (_coordinator, url) = serve(&folder.path().join("state"), &[]);
    submit(&url, &corpus, "fine", "1");
    submit(&url, &corpus, "coarse", "20");
    let mut worker = Process::start(&worker, &["serve", "--coordinator", &url, "--slots", "1"]);
    wait_until("the end of both runs", || {
        worker.assert_alive();
        status(&url).iter().all(|run| run["state"] == "finished")
    });

    let mut started: Vec<(i64, &str)> = Vec::new();
    for name in ["fine", "coarse"] {
        let described = described(&folder.path().join("state/results").join(name));
        assert!(described["wall_s"].is_number(), "{described}");
        assert!(described["cpu_s"].is_null(), "the worker elsewhere is not measured: {described}");
        assert!(described["peak_rss_mb"].is_null(), "{described}");
        let part = final_part(&folder.path().join("state/results").join(name));
        let rows = scan::outcomes([part.into()]).map(Result::unwrap);
        started.extend(rows.map(|row| (row.timing.started_at_us.unwrap(), name)));
    }
    started.sort_unstable();
    assert_eq!(started.len(), 400);
    let mut lead = 0_i64;
    for (_, name) in &started[..200] {
        lead += if *name == "fine" { 1 } else { -1 };
        assert!(lead.abs() <= 60, "half-way one run leads by {lead} records");
    }
}

#[test]
fn an_interrupted_run_releases_its_leases_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 240);
    for signal in ["INT", "TERM"] {
        let arguments = [
            "run",
            "--corpus",
            corpus.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--run-id",
            signal,
            "--shard-size",
            "1",
            "--workers",
            "1",
        ];
        let process = Process::coordinator(&arguments);
        let parts = out.join(signal).join("parts");
        wait_until("a part", || std::fs::read_dir(&parts).is_ok_and(|parts| parts.count() > 3));
        process.signal(signal);
        let ended = process.end();
        assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("--run-id {signal} goes on")), "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
        assert!(!out.join(signal).join("run.json").exists(), "it was interrupted too late");
    }
    let reference = run(&corpus, &out, &["--run-id", "whole"]);
    for signal in ["INT", "TERM"] {
        let resumed = run(&corpus, &out, &["--run-id", signal, "--shard-size", "1"]);
        assert_eq!(resumed["fingerprint"], reference["fingerprint"]);
        let described = described(&out.join(signal));
        // The ledger has the usage of the interrupted process; this one adds its own, which includes reading the corpus.
        for key in ["wall_s", "cpu_s", "peak_rss_mb"] {
            let (recorded, printed) = (described[key].as_f64().unwrap(), resumed[key].as_f64().unwrap());
            assert!(
                0.0 < recorded && recorded <= printed,
                "{key}: {recorded} in run.json, {printed} in the summary"
            );
        }
    }
}

#[test]
fn an_interrupted_worker_releases_its_leases() {
    let Some(binary) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 240);
    let (coordinator, url) = serve(&folder.path().join("state"), &[]);
    submit(&url, &corpus, "r", "1");
    for signal in ["INT", "TERM"] {
        let before = committed(&url);
        let mut worker = Process::start(&binary, &["serve", "--coordinator", &url, "--slots", "1"]);
        wait_until("a commit", || {
            worker.assert_alive();
            committed(&url) > before + 2
        });
        worker.signal(signal);
        let ended = worker.end();
        assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains("shards committed"), "{}", ended.stderr);
        let runs = status(&url);
        assert_eq!((&runs[0]["state"], &runs[0]["leased"]), (&Value::from("running"), &Value::from(0)));
    }
    coordinator.signal("TERM");
    let ended = coordinator.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("with the same --state it goes on"), "{}", ended.stderr);
}

#[test]
fn a_second_interruption_does_not_wait() {
    let Some(binary) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 20_000);
    let (coordinator, url) = serve(&folder.path().join("state"), &[]);
    submit(&url, &corpus, "r", "20000");
    let mut worker = Process::start(&binary, &["serve", "--coordinator", &url, "--slots", "1", "-vv"]);
    wait_until("a lease", || {
        worker.assert_alive();
        // One that is processed, and maybe one that was prefetched.
        status(&url)[0]["leased"].as_u64() > Some(0)
    });
    worker.wait_for("processing a shard");
    // Its part cannot be committed.
    coordinator.signal("STOP");
    worker.signal("INT");
    worker.wait_for("Ctrl-C again stops at once");
    worker.signal("INT");
    let ended = worker.end();
    coordinator.signal("CONT");
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(!ended.stderr.contains("shards committed"), "it did not stop at once: {}", ended.stderr);
}

#[test]
fn a_refused_corpus_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, out) = (folder.path().join("empty"), folder.path().join("out"));
    std::fs::create_dir(&empty).unwrap();
    let (empty, place) = (empty.to_str().unwrap(), out.to_str().unwrap());
    let output = coordinator(&["run", "--corpus", empty, "--out", place, "--run-id", "r"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "the results folder is empty");
}

#[test]
fn a_drained_worker_ends_with_success_and_its_shards_wait() {
    let Some(binary) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 240);
    let (_coordinator, url) = serve(&folder.path().join("state"), &[]);
    submit(&url, &corpus, "r", "1");
    let mut worker =
        Process::start(&binary, &["serve", "--coordinator", &url, "--slots", "1", "--name", "alpha"]);
    wait_until("a commit", || {
        worker.assert_alive();
        committed(&url) > 2
    });
    let shown = coordinator(&["status", "--from", &url]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("alpha") && shown.contains("ago"), "{shown}");
    let drained = coordinator(&["drain", "alpha", "--to", &url, "--wait"]);
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    let ended = worker.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let run = &status(&url)[0];
    assert_eq!((&run["state"], &run["leased"]), (&Value::from("running"), &Value::from(0)), "{run}");
    let again = coordinator(&["drain", "alpha", "--to", &url]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("worker alpha is not connected"));
}

/// Run ids in the output of `runs`.
fn run_ids(arguments: &[&str]) -> Vec<String> {
    let output = coordinator(&[&["runs"], arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ended_runs_are_pruned_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 4);
    for name in ["one", "two"] {
        run(&corpus, &out, &["--run-id", name]);
    }
    let place = out.to_str().unwrap();
    assert_eq!(run_ids(&["list", place]), ["one", "two"]);
    let refused = coordinator(&["runs", "prune", place]);
    assert_eq!(refused.status.code(), Some(2), "without a rule nothing is removed");
    assert_eq!(run_ids(&["prune", place, "--keep", "1"]), ["one"]);
    assert_eq!(run_ids(&["list", place]), ["one", "two"], "without --yes it is only shown");
    assert_eq!(run_ids(&["prune", place, "--keep", "1", "--yes"]), ["one"]);
    assert_eq!(run_ids(&["list", place]), ["two"]);
    assert!(!out.join("one").exists() && out.join("two/run.json").exists());

    let state = folder.path().join("state");
    let (served, url) = serve(&state, &[]);
    for name in ["lives", "stopped"] {
        submit(&url, &corpus, name, "1");
    }
    assert!(coordinator(&["cancel", "--from", &url, "stopped"]).status.success());
    assert_eq!(run_ids(&["prune", "--to", &url, "--keep", "0", "--yes"]), ["stopped"]);
    let place = state.to_str().unwrap();
    assert_eq!(run_ids(&["list", place]), ["lives"], "while a coordinator serves the folder");
    assert!(!state.join("results/stopped").exists());
    submit(&url, &corpus, "stopped", "2");
    assert_eq!(status(&url).len(), 2, "its name is free again");
    drop(served);
    assert_eq!(run_ids(&["prune", place, "--older-than", "0s", "--yes"]), [] as [String; 0]);
}

/// The response to a GET request with this header line: its head and its body.
fn get(address: &str, path: &str, header: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn metrics_health_and_a_page_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 8);
    let refused = coordinator(&["serve", "--state", "x", "--http", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--insecure"));

    let state = folder.path().join("state");
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", state.to_str().unwrap()];
    let mut served = Process::coordinator(&arguments);
    let line = served.wait_for("serving http://");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let line = served.wait_for("status page on http://");
    let address = line.rsplit_once("http://").unwrap().1.to_owned();
    submit(url.trim_end_matches(','), &corpus, "r", "2");

    let viewer = std::fs::read_to_string(state.join("access/viewer.token")).unwrap();
    let viewer = format!("Authorization: Bearer {}\r\n", viewer.split_whitespace().nth(1).unwrap());
    let get = |path: &str| get(&address, path, &viewer);
    for path in ["/metrics", "/", "/no-such-page"] {
        let (head, body) = self::get(&address, path, "");
        assert!(head.contains("401") && body.contains("access/viewer.token"), "{path}: {head}\n{body}");
    }
    let (head, metrics) = get("/metrics");
    assert!(head.contains("200 OK") && head.contains("application/openmetrics-text"), "{head}");
    assert!(metrics.contains("k8s_auto_fix_coordinator_shards{state=\"waiting\"} 4"), "{metrics}");
    assert!(metrics.contains("process_resident_memory_bytes"), "{metrics}");
    let (head, body) = self::get(&address, "/healthz", "");
    assert!(head.contains("200 OK") && body.contains("ok"), "{head}\n{body}");
    let (head, page) = get("/");
    assert!(head.contains("default-src 'none'") && page.contains("href=\"/runs/r\""), "{head}\n{page}");
    assert!(get("/no-such-page").0.contains("404"));
    served.signal("TERM");
    assert_eq!(served.end().status.code(), Some(130));
}
