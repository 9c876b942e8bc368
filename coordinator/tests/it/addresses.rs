//! Several addresses of coordinators: workers and clients go from one that is away to one that answers.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Process, serve, worker_binary};
use crate::support::{coordinator, detections, run};

/// A socket that accepts connections and never answers, and its address.
fn frozen(folder: &Path) -> (UnixListener, String) {
    let path = folder.join("frozen.sock");
    (UnixListener::bind(&path).unwrap(), format!("unix:{}", path.display()))
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn committed(url: &str) -> u64 {
    let output = coordinator(&["status", "--from", url, "--output", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    runs.iter().map(|run| run["committed"].as_u64().unwrap()).sum()
}

#[test]
fn a_worker_and_a_client_go_on_at_the_next_address_when_a_coordinator_is_frozen_and_dies() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 600);
    let expected = run(&corpus, &folder.path().join("out"), &["--run-id", "r"])["fingerprint"].clone();

    let state = folder.path().join("state");
    let (_never_answers, frozen) = frozen(folder.path());
    let (first, first_url) = serve(&state, &[]);
    let listen = format!("127.0.0.1:{}", free_port());
    let second_url = format!("http://{listen}");
    // The first address hangs from the beginning; nothing listens at the third until the second has died.
    let all = format!("{frozen},{first_url},{second_url}");
    let mut worker =
        Process::start(&worker, &["serve", "--coordinator", &all, "--slots", "1", "--name", "w", "-v"]);
    let joined = worker.wait_for("joined");
    assert!(joined.contains(&first_url) && !joined.contains(&frozen), "{joined}");
    let corpus = corpus.to_str().unwrap();
    let mut client = Process::coordinator(&[
        "submit",
        "--to",
        &all,
        "--corpus",
        corpus,
        "--run-id",
        "r",
        "--shard-size",
        "1",
        "--wait",
        "--output",
        "json",
    ]);
    worker.wait_for("committed");
    assert!(committed(&first_url) < 600, "the run is under way");

    first.signal("STOP");
    let stopped = Instant::now();
    worker.wait_for("disconnected from the coordinator");
    let noticed = stopped.elapsed();
    assert!(noticed < Duration::from_secs(15), "the worker noticed after {noticed:?}, and 6 s are enough");
    client.wait_for("waiting for it");
    first.signal("KILL");
    drop(first);
    let _second = Process::coordinator(&["serve", "--listen", &listen, "--state", state.to_str().unwrap()]);
    let joined = worker.wait_for("joined");
    assert!(joined.contains(&second_url), "{joined}");
    client.wait_for("answers again");
    let ended = client.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["fingerprint"], expected);
    worker.assert_alive();
}

#[test]
fn a_command_waits_for_one_of_several_addresses_and_names_the_reason_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let (_never_answers, frozen) = frozen(folder.path());
    let (process, url) = serve(&folder.path().join("state"), &[]);
    let both = format!("{frozen},{url}");
    let output = coordinator(&["status", "--from", &both]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    process.signal("TERM");
    process.end();
    let output = coordinator(&["status", "--from", &both]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let needed = format!(
        "coordinator: no coordinator answers at {frozen} (no answer within 2 s), {url} (no coordinator of this user"
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "what it waits for, the error once, and a hint: {text}");
    assert!(lines[0].contains("waiting 15 s") && lines[1].starts_with(&needed), "{text}");

    let output = coordinator(&["cancel", "r", "--from", &format!("{url},127.0.0.1:1")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("each with its scheme"));
}
