//! Where results may lie, and what is refused.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch, StringArray};
use domain::run::RunState;
use parquet::arrow::ArrowWriter;
use results::scan::{Part, batches};
use results::schema::{FORMAT_KEY, FORMAT_VERSION};
use serde_json::json;

use crate::support::{accepted, analysis, failure, json, run_folder, stdout, ten, write};

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

fn write_batch(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn foreign_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let accepted: Arc<dyn Array> = Arc::new(StringArray::from(vec!["yes"]));
    write_batch(&path, &RecordBatch::try_from_iter([("accepted", accepted)]).unwrap());
    let text = failure(&["metrics", path.to_str().unwrap()]);
    assert!(text.contains("other.parquet: is not a part of results"), "{text}");
    assert!(text.contains("\nhint: name the folder of a run"), "{text}");

    std::fs::write(&path, "not parquet").unwrap();
    assert!(failure(&["metrics", path.to_str().unwrap()]).contains("other.parquet"));
    assert!(failure(&["metrics", "ftp://host/run"]).contains("unknown scheme 'ftp'"));
    assert!(failure(&["metrics", "no/such"]).starts_with("analysis: no/such does not exist\n"));
}

#[test]
fn a_part_written_by_half_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let part = run.join("part-00000.parquet");
    let bytes = std::fs::read(&part).unwrap();
    for kept in [0, 4, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&part, &bytes[..kept]).unwrap();
        for command in ["metrics", "policy-metrics", "failures", "latency", "simulate"] {
            let text = failure(&[command, run.to_str().unwrap()]);
            assert!(text.contains("part-00000.parquet"), "{command}, {kept} bytes: {text}");
        }
    }
    // Whole at both ends, damaged in between.
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 3;
    damaged[middle..middle + 64].fill(0xff);
    std::fs::write(&part, damaged).unwrap();
    let ended =
        analysis(&["report", "--out", dir.path().join("out").to_str().unwrap(), run.to_str().unwrap()]);
    let output = { ended }.assert().get_output().clone();
    assert!(output.status.code().is_some(), "{output:?}");
}

#[test]
fn a_column_that_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let part = run.join("part-00000.parquet");
    let (_, whole) = batches([Part::File(part.clone())], None).next().unwrap().unwrap();
    let kept = |name: &str| name != "patch" && name != "accepted";
    let kept = (0..whole.num_columns()).filter(|column| kept(whole.schema().field(*column).name()));
    let metadata: HashMap<_, _> = [(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_string())].into();
    let incomplete = whole.project(&kept.collect::<Vec<_>>()).unwrap();
    let schema = incomplete.schema().as_ref().clone().with_metadata(metadata);
    write_batch(&part, &incomplete.with_schema(Arc::new(schema)).unwrap());
    let text = failure(&["metrics", run.to_str().unwrap()]);
    let problems = "foreign schema: column \"patch\" is missing, column \"accepted\" is missing";
    assert!(text.contains("part-00000.parquet") && text.contains(problems), "{text}");
}

#[test]
fn numbers_that_are_none_were_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = ten();
    rows[0].timing.propose_ms = Some(f64::NAN);
    rows[2].timing.propose_ms = Some(f64::INFINITY);
    rows[3].usage.cost_usd = Some(f64::NAN);
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished).display().to_string();
    let output = analysis(&["metrics", &run, "--output", "json"]).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "ignored 3 non-finite timings or prices\n");
    let metrics: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let propose = &metrics["extended"]["latency_ms"]["propose_ms"];
    assert_eq!(
        (&propose["n"], &propose["mean"], &propose["max"]),
        (&json!(1), &json!(1500.0), &json!(1500.0))
    );
    assert_eq!(
        (&metrics["extended"]["cost_usd"], &metrics["extended"]["not_finite"]),
        (&json!(null), &json!(3))
    );
    let latency = json(&["latency", &run, "--output", "json"]);
    assert_eq!((&latency["stages"][0]["count"], &latency["stages"][0]["mean"]), (&json!(1), &json!(1500.0)));
    let policies = json(&["policy-metrics", &run, "--output", "json"]);
    assert_eq!(policies["no_latest_tag"]["expected_time"], 3.5);
}

#[test]
fn an_empty_run_has_figures_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "none", &[], RunState::Finished).display().to_string();
    let metrics = json(&["metrics", &run, "--output", "json"]);
    assert_eq!(
        (&metrics["detections"], &metrics["extended"]["accepted_of_all"]["rate"]),
        (&json!(0), &json!(null))
    );
    for command in
        ["policy-metrics", "failures", "latency", "patch-stats", "tokens", "ablation", "significance"]
    {
        stdout(&[command, &run]);
    }
    assert!(failure(&["simulate", &run]).contains("no judged record"));
}
