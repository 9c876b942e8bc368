//! Where results may lie, and what is refused.

use domain::run::RunState;
use polars::prelude::*;
use serde_json::json;

use crate::support::{accepted, analysis, failure, json, run_folder, ten, write};

#[test]
fn a_run_may_be_named_in_many_ways() {
    let dir = tempfile::tempdir().unwrap();
    let rows = ten();
    let run = run_folder(dir.path(), "r1", &[&rows[..5], &rows[5..]], RunState::Finished);
    let folder = run.to_str().unwrap();
    let glob = format!("{folder}/part-*.parquet");
    let url = format!("file://{folder}");
    let file = format!("{folder}/run.json");
    let parts = [format!("{folder}/part-00000.parquet"), format!("{folder}/part-00001.parquet")];
    for places in [vec![folder], vec![&glob], vec![&url], vec![&file], vec![&parts[0], &parts[1], folder]] {
        let mut args = vec!["metrics", "--output", "json"];
        args.extend(&places);
        assert_eq!(json(&args)["detections"], 10, "{places:?}");
    }
    assert_eq!(json(&["metrics", "--output", "json", &parts[1]])["detections"], 5);
}

#[test]
fn parts_that_run_json_does_not_name_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    write(&run.join("part-stale.parquet"), "r1", &[accepted(99, "no_latest_tag", 1)]);
    assert_eq!(json(&["metrics", "--output", "json", run.to_str().unwrap()])["detections"], 10);
    std::fs::remove_file(run.join("part-00000.parquet")).unwrap();
    assert!(
        failure(&["metrics", run.to_str().unwrap()])
            .contains("the part \"part-00000.parquet\" that run.json names is missing")
    );
}

#[test]
fn run_json_cannot_name_files_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let text = std::fs::read_to_string(run.join("run.json")).unwrap();
    std::fs::write(run.join("run.json"), text.replace("part-00000.parquet", "../other.parquet")).unwrap();
    assert!(failure(&["metrics", run.to_str().unwrap()]).contains("does not lie in its folder"));
}

#[test]
fn several_runs_are_one_and_a_record_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let one = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let two = run_folder(dir.path(), "r2", &[&ten()], RunState::Finished);
    let args = ["metrics", "--output", "json", one.to_str().unwrap(), two.to_str().unwrap()];
    let metrics = json(&args);
    assert_eq!((&metrics["detections"], &metrics["extended"]["runs"]), (&json!(20), &json!(["r1", "r2"])));

    let copy = dir.path().join("copy.parquet");
    write(&copy, "r1", &ten()[3..]);
    let refused = failure(&["metrics", one.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_eq!(refused, "analysis: record \"004\" of run \"r1\" occurs 2 times in the results\n");
}

#[test]
fn an_unfinished_run_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Running);
    let output = analysis(&["metrics", run.to_str().unwrap()]).assert().success().get_output().stderr.clone();
    assert_eq!(String::from_utf8(output).unwrap(), "run r1 is running: the figures cover 10 of 10 records\n");
}

#[test]
fn foreign_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let mut frame = df!("accepted" => ["yes"]).unwrap();
    ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
    let text = failure(&["metrics", path.to_str().unwrap()]);
    assert!(text.contains("other.parquet: is no part of results"), "{text}");
    assert!(text.contains("\nhint: name the folder of a run"), "{text}");

    std::fs::write(&path, "not parquet").unwrap();
    assert!(failure(&["metrics", path.to_str().unwrap()]).contains("other.parquet"));
    assert!(failure(&["metrics", "s3://bucket/run"]).contains("lacks the feature \"aws\""));
    assert!(failure(&["metrics", "no/such"]).starts_with("analysis: no/such does not exist\n"));
}
