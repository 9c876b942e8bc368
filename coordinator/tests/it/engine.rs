//! A coordinator whose ledger is in a PostgreSQL server, with the binaries: both are killed during a run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::postgres_server::{TestServer, is_here};
use crate::process::{PATIENCE, Process, serve, worker_binary};
use crate::support::{coordinator, detections, run};

const RECORDS: usize = 500;

/// A coordinator with its ledger in a server, on the same address after each restart.
struct Scene {
    folder: tempfile::TempDir,
    server: TestServer,
    address: String,
    process: Option<Process>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::start(&[]);
        let (process, url) = serve(&folder.path().join("state"), &["--ledger", &server.url()]);
        let address = url.trim_start_matches("http://").to_owned();
        Self { folder, server, address, process: Some(process) }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start(&mut self) {
        let (state, url) = (self.state(), self.server.url());
        let state = state.to_str().unwrap();
        let arguments = ["serve", "--listen", &self.address, "--state", state, "--ledger", &url];
        let mut process = Process::coordinator(&arguments);
        process.wait_for("serving http://");
        self.process = Some(process);
    }

    fn run_folder(&self) -> PathBuf {
        self.state().join("results/r")
    }

    /// Waits for so many more parts; the run must not have ended.
    fn wait_for_parts(&self, more: usize) {
        let parts = self.run_folder().join("parts");
        let count = || std::fs::read_dir(&parts).map_or(0, Iterator::count);
        let (before, until) = (count(), Instant::now() + PATIENCE);
        while count() < before + more {
            assert!(!self.run_folder().join("run.json").exists(), "the run has ended too early");
            assert!(Instant::now() < until, "{before} parts, now {}", count());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn doctor(arguments: &[&str]) -> (Option<i32>, String) {
    let output = coordinator(&[&["doctor"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_run_survives_kills_of_coordinator_and_server() {
    let Some(worker) = worker_binary() else { return };
    if !is_here() {
        return;
    }
    let mut scene = Scene::new();
    let corpus = scene.folder.path().join("detections.json");
    detections(&corpus, RECORDS);
    let undisturbed = run(&corpus, &scene.folder.path().join("undisturbed"), &[]);
    let (url, corpus) = (format!("http://{}", scene.address), corpus.to_str().unwrap());
    let submit = ["submit", "--to", &url, "--corpus", corpus, "--run-id", "r", "--shard-size", "1"];
    let output = coordinator(&submit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let start = || Process::start(&worker, &["serve", "--coordinator", &url, "--slots", "1"]);
    let _workers = [start(), start()];

    scene.wait_for_parts(30);
    scene.kill();
    scene.start();
    scene.wait_for_parts(30);
    scene.server.crash();
    scene.server.restart();
    scene.wait_for_parts(30);
    scene.kill();
    scene.server.crash();
    scene.server.restart();
    scene.start();
    scene.wait_for_parts(30);

    let until = Instant::now() + PATIENCE;
    let finished = loop {
        let output = coordinator(&["status", "--from", &url, "--output", "json"]);
        let runs: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if runs[0]["state"] == "finished" {
            break runs[0].clone();
        }
        assert!(Instant::now() < until, "the run does not end: {runs}");
        std::thread::sleep(Duration::from_millis(100));
    };
    for key in ["fingerprint", "records"] {
        assert_eq!(finished[key], undisturbed[key], "{key}");
    }
    let (state, server) = (scene.state(), scene.server.url());
    let (code, report) = doctor(&[state.to_str().unwrap(), "--ledger", &server]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("engine") && report.contains("PostgreSQL"), "{report}");
    assert!(!state.join("ledger.sqlite").exists(), "there is one ledger");
}

#[test]
fn a_state_folder_belongs_to_one_ledger() {
    if !is_here() {
        return;
    }
    let mut scene = Scene::new();
    let state = scene.state();
    scene.kill();
    let state = state.to_str().unwrap();
    for command in [&["serve", "--listen", "127.0.0.1:0", "--state", state][..], &["doctor", state]] {
        let refused = coordinator(command);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && text.contains("--ledger"), "{command:?}: {text}");
    }
}

#[test]
fn a_server_that_may_forget_is_used_only_where_that_is_asked_for() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(&["fsync=off"]);
    let (state, url) = (folder.path().join("state"), server.url());
    let base = ["serve", "--listen", "127.0.0.1:0", "--state", state.to_str().unwrap(), "--ledger", &url];
    let refused = coordinator(&base);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && text.contains("fsync is off"), "{text}");
    serve(&state, &["--ledger", &url, "--engine-may-forget"]);
}
