//! The queue and the comparison of two runs, from outside.

use domain::outcome::{Fault, Status};
use domain::run::RunState;
use serde_json::json;

use crate::support::{analysis, failure, json, run_folder, ten};

#[test]
fn a_queue_is_worked_off() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    let db = dir.path().join("queue.db").display().to_string();
    let queue = |args: &[&str]| analysis(&[&["queue", "--db", &db], args].concat());
    queue(&["enqueue", &run, "--max-attempts", "1"]).assert().success().stderr("4 new, 0 known\n");
    queue(&["enqueue", &run]).assert().success().stderr("0 new, 4 known\n");
    let claimed = json(&["queue", "--db", &db, "next", "--rule", "risk", "--count", "3", "--output", "json"]);
    assert_eq!((&claimed[0]["record_id"], &claimed[0]["risk"]), (&json!("003"), &json!(85.0)));
    let claim = |record| ["--run", "r1", "--record", record, "--token", "1"];
    queue(&[&["ack"][..], &claim("003"), &["--seconds", "2"]].concat()).assert().success();
    queue(&[&["ack"][..], &claim("004"), &["--refused"]].concat()).assert().success();
    queue(&[&["requeue"][..], &claim("001")].concat()).assert().success();
    let again = [&["queue", "--db", &db, "ack"][..], &claim("003")].concat();
    assert!(failure(&again).contains("is not leased under token 1"));
    let stats = json(&["queue", "--db", &db, "stats", "--output", "json"]);
    for (state, items) in [("done", 1), ("failed", 1), ("dead", 1), ("queued", 1), ("leased", 0)] {
        assert_eq!(stats[state], items, "{state}: {stats}");
    }
    queue(&["next"]).assert().success();
    queue(&["next"]).assert().code(1);
}

#[test]
fn a_fall_of_acceptance_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = ten();
    other[0].status = Status::Rejected;
    other[0].fault = Fault::Patch;
    other[0].errors = vec!["a container was lost".to_owned()];
    let a = run_folder(dir.path(), "a", &[&ten()], RunState::Finished).display().to_string();
    let b = run_folder(dir.path(), "b", &[&other], RunState::Finished).display().to_string();
    analysis(&["diff", &a, &a]).assert().success();
    analysis(&["diff", &b, &a]).assert().success();
    analysis(&["diff", &a, &b, "--fail-under", "0.2"]).assert().success();
    analysis(&["diff", &a, &b, "--fail-under", "0.9"]).assert().code(1);
    let output = analysis(&["diff", &a, &b, "--output", "json"]).assert().code(1).get_output().stdout.clone();
    let diff: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&diff["before"]["count"], &diff["after"]["count"]), (&json!(4), &json!(3)));
    let change = &diff["changes"][0];
    assert_eq!(change["record_id"], "001");
    assert_eq!((&change["before"], &change["after"]), (&json!("accepted"), &json!("rejected")));
    assert_eq!(change["reason"], "a container was lost");
}
