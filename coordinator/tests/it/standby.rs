//! Several coordinators at one PostgreSQL server, with the binaries: one is the owner, the others take over from it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::postgres_server::{TestServer, is_here};
use crate::process::{PATIENCE, Process, worker_binary};
use crate::support::{coordinator, detections, run};

/// A server, a folder of results, and the state folders of the coordinators.
struct Scene {
    folder: tempfile::TempDir,
    server: TestServer,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), server: TestServer::start(&[]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a coordinator of this name, which has its socket in the folder.
    fn start(&self, name: &str) -> Process {
        Process::coordinator(&self.arguments(name, "results"))
    }

    /// Starts an owner and a standby; returns also what the standby says of the owner.
    fn start_two(&self) -> (Process, Process, String) {
        let mut first = self.start("first");
        first.wait_for("serving unix:");
        let mut second = self.start("second");
        let line = second.wait_for("standby: ");
        (first, second, line)
    }

    fn arguments(&self, name: &str, out: &str) -> Vec<String> {
        let (state, out, url) = (self.path(name), self.path(out), self.server.url());
        let listen = self.address(name);
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        ["serve", "--listen", &listen, "--state", &text(&state), "--out", &text(&out), "--ledger", &url]
            .map(str::to_owned)
            .to_vec()
    }

    fn address(&self, name: &str) -> String {
        format!("unix:{}", self.path(&format!("{name}.socket")).display())
    }
}

fn status(url: &str) -> Value {
    let output = coordinator(&["status", "--from", url, "--output", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn a_standby_takes_over_within_two_seconds_of_a_drain_and_thirteen_of_a_death() {
    if !is_here() {
        return;
    }
    let scene = Scene::new();
    let (first, mut second, line) = scene.start_two();
    assert!(line.contains("first.socket"), "{line}");
    assert!(!scene.path("second.socket").exists(), "a standby does not listen");

    let begun = Instant::now();
    first.signal("TERM");
    second.wait_for("serving unix:");
    // The limit of the text is measured by chaos on an idle machine; here the lease must not have run out.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}: the lease was not given back", begun.elapsed());
    first.end();

    let mut third = scene.start("third");
    third.wait_for("second.socket");
    second.signal("KILL");
    third.wait_for("serving unix:");
    drop(second);
    assert_eq!(status(&scene.address("third")), Value::Array(Vec::new()));
}

#[test]
fn a_frozen_owner_is_replaced_and_becomes_a_standby() {
    if !is_here() {
        return;
    }
    let scene = Scene::new();
    let (mut first, mut second, _) = scene.start_two();
    first.signal("STOP");
    second.wait_for("serving unix:");
    first.signal("CONT");
    first.wait_for("another coordinator has taken over");
    first.wait_for("standby: ");
    second.signal("TERM");
    first.wait_for("serving unix:");
    second.end();
}

#[test]
fn a_coordinator_with_other_results_is_refused() {
    if !is_here() {
        return;
    }
    let scene = Scene::new();
    let mut first = scene.start("first");
    first.wait_for("serving unix:");
    let refused = coordinator(&scene.arguments("second", "elsewhere"));
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("results in another place") && text.contains("--out"), "{text}");
}

/// A run goes over from one coordinator to the next, and from that to a third.
#[test]
fn a_run_survives_the_death_and_the_freezing_of_its_coordinators() {
    let Some(worker) = worker_binary() else { return };
    if !is_here() {
        return;
    }
    let scene = Scene::new();
    let corpus = scene.path("detections.json");
    detections(&corpus, 400);
    let undisturbed = run(&corpus, &scene.path("undisturbed"), &[]);
    let names = ["a", "b", "c"];
    let processes = names.map(|name| scene.start(name));
    let all = names.map(|name| scene.address(name)).join(",");
    let submitted = submit(&all, corpus.to_str().unwrap());
    assert!(submitted.0, "{}", submitted.1);
    let start = || Process::start(&worker, &["serve", "--coordinator", &all, "--slots", "1"]);
    let _workers = [start(), start()];
    for signal in ["KILL", "STOP"] {
        wait_for_parts(&scene.path("results/r"), 40);
        let listens = |name: &&&str| !status(&scene.address(name)).is_null();
        let owner = names.iter().position(|name| listens(&name)).unwrap();
        processes[owner].signal(signal);
    }
    let until = Instant::now() + PATIENCE;
    let finished = loop {
        let runs = status(&all);
        if runs[0]["state"] == "finished" {
            break runs[0].clone();
        }
        assert!(Instant::now() < until, "the run does not end: {runs}");
        std::thread::sleep(Duration::from_millis(200));
    };
    for key in ["fingerprint", "records"] {
        assert_eq!(finished[key], undisturbed[key], "{key}");
    }
    for process in processes {
        process.signal("CONT");
    }
}

/// Submits a run as soon as a coordinator answers.
fn submit(url: &str, corpus: &str) -> (bool, String) {
    let until = Instant::now() + PATIENCE;
    loop {
        let output =
            coordinator(&["submit", "--to", url, "--corpus", corpus, "--run-id", "r", "--shard-size", "1"]);
        if output.status.success() || Instant::now() > until {
            return (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits for so many more parts; the run must not have ended.
fn wait_for_parts(folder: &std::path::Path, more: usize) {
    let count = || std::fs::read_dir(folder.join("parts")).map_or(0, Iterator::count);
    let (before, until) = (count(), Instant::now() + PATIENCE);
    while count() < before + more {
        assert!(!folder.join("run.json").exists(), "the run has ended too early");
        assert!(Instant::now() < until, "{before} parts, now {}", count());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server that waits for a standby which is not there: the start says so, and ends when it is told to.
#[test]
fn a_start_that_waits_for_its_server_says_so_and_can_be_interrupted() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(&["synchronous_standby_names=absent"]);
    let (state, url) = (folder.path().join("state"), server.url());
    let mut process = Process::coordinator(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--state",
        state.to_str().unwrap(),
        "--ledger",
        &url,
    ]);
    process.wait_for("synchronous_standby_names");
    process.signal("INT");
    assert_eq!(process.end().status.code(), Some(130));
}
