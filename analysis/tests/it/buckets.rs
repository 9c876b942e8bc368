//! Runs in a bucket, against a server of S3.

use assert_cmd::Command;
use domain::run::RunState;
use results::store::{Environment, Store};
use serde_json::Value;

use crate::s3_server::{S3Server, SECRET};
use crate::support::{run_folder, ten};

#[test]
fn a_run_in_a_bucket_has_the_figures_of_one_in_a_folder() {
    let Some(server) = S3Server::start(&["--fail-every", "7"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let rows = ten();
    let run = run_folder(dir.path(), "r1", &[&rows[..5], &rows[5..]], RunState::Finished);
    let store = Store::open_with("s3://results/x/r1", &Environment::of(server.environment())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for entry in std::fs::read_dir(&run).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let bytes = std::fs::read(path).unwrap().into();
        runtime.block_on(store.put(name.to_str().unwrap(), bytes)).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let analysis = |arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("analysis"));
        command.envs(server.environment()).env("TMPDIR", scratch.path());
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
    };
    let metrics = |place: &str| -> Value {
        let (code, [stdout, stderr]) = analysis(&["metrics", "--output", "json", place]);
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let expected = metrics(run.to_str().unwrap());
    for place in ["s3://results/x/r1", "s3://results/x/r1/", "s3://results/x/r1/run.json"] {
        assert_eq!(metrics(place), expected, "{place}");
    }
    let print = |place: &str| analysis(&["fingerprint", place]).1[0].clone();
    assert_eq!(print("s3://results/x/r1"), print(run.to_str().unwrap()));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "what was fetched is deleted");
    for (place, expected) in [
        ("s3://results/x/none", "s3://results/x/none holds no run"),
        ("s3://none/r1", "there is no such bucket"),
        ("s3://key:hush@results/r1", "credentials come from the environment"),
    ] {
        let (code, [_, said]) = analysis(&["metrics", place]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("hush") && !said.contains(SECRET), "{said}");
    }
}
