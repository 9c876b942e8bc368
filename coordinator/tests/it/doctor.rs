//! The doctor: an intact run passes, and every damage is found and named.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::serve;
use crate::support::{coordinator, detections, final_part, final_part_name, run};

/// The exit code and the report of one run.
fn doctor(place: &Path, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["doctor", place.to_str().unwrap(), "--output", "json"];
    arguments.extend(more);
    let output = coordinator(&arguments);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let reports: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {talk}"));
    (output.status.code().unwrap(), reports[0].clone())
}

/// Verdict and finding of one check.
fn check<'r>(report: &'r Value, name: &str) -> (&'r str, &'r str) {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    (check["verdict"].as_str().unwrap(), check["finding"].as_str().unwrap())
}

fn failed(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] == "failed")
        .map(|check| check["check"].as_str().unwrap())
        .collect()
}

/// A finished run of 40 records; returns its folder.
fn finished(folder: &Path) -> PathBuf {
    let (corpus, out) = (folder.join("detections.json"), folder.join("out"));
    detections(&corpus, 40);
    run(&corpus, &out, &["--run-id", "r", "--shard-size", "7"]);
    out.join("r")
}

fn change(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_intact_run_passes_with_and_without_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let place = finished(folder.path());
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report).len()), (0, 0), "{report:#}");
    assert_eq!((&report["run_id"], &report["state"]), (&Value::from("r"), &Value::from("finished")));
    assert_eq!(check(&report, "rows").0, "ok");
    assert_eq!(check(&report, "corpus").0, "ok");
    assert_eq!(check(&report, "parts").1, "1 part, length and hash as committed");
    let outcome = check(&report, "outcome").1;
    assert!(outcome.starts_with("counts as in run.json, fingerprint as in the ledger; "), "{outcome}");
    let (code, _) = doctor(place.parent().unwrap(), &[]);
    assert_eq!(code, 0, "the folder of all runs");

    std::fs::remove_dir_all(place.join(".coordinator")).unwrap();
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, check(&report, "ledger").0), (0, "skipped"), "{report:#}");
    assert_eq!(check(&report, "records").0, "ok");

    let none = coordinator(&["doctor", "no-such-run"]);
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn every_damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = finished(folder.path());
    let part = final_part(&place);
    let name = final_part_name(&place);
    let (good_part, good_file) =
        (std::fs::read(&part).unwrap(), std::fs::read(place.join("run.json")).unwrap());

    change(&part, 100);
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report)), (1, vec!["parts"]), "{report:#}");
    assert!(
        check(&report, "parts").1.contains(&format!("{name} has changed since it was committed")),
        "{report:#}"
    );

    std::fs::remove_file(&part).unwrap();
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, check(&report, "parts")), (1, ("failed", format!("{name} is missing").as_str())));
    std::fs::write(&part, &good_part).unwrap();

    let mut file: Value = serde_json::from_slice(&good_file).unwrap();
    let accepted = file["counts"]["accepted"].as_u64().unwrap();
    file["counts"]["accepted"] = Value::from(accepted + 1);
    std::fs::write(place.join("run.json"), file.to_string()).unwrap();
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report)), (1, vec!["run.json", "outcome"]), "{report:#}");
    std::fs::write(place.join("run.json"), b"{").unwrap();
    assert_eq!(check(&doctor(&place, &[]).1, "run.json").0, "failed");
    let mut other = good_file.clone();
    other.push(b'\n');
    std::fs::write(place.join("run.json"), &other).unwrap();
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report)), (1, vec!["run.json"]), "{report:#}");
    assert!(
        check(&report, "run.json").1.contains("not the one with which the run was finished"),
        "{report:#}"
    );
    std::fs::write(place.join("run.json"), &good_file).unwrap();

    change(&place.join("corpus.parquet"), 200);
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, check(&report, "corpus").0), (1, "failed"), "{report:#}");
    change(&place.join("corpus.parquet"), 200);

    std::fs::create_dir(place.join("parts")).unwrap();
    for name in ["part-00001.parquet", "parts/0000000001-0000000002-abc.parquet", "parts/.unfinished"] {
        std::fs::write(place.join(name), "left over").unwrap();
    }
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report)), (1, vec!["orphans"]), "{report:#}");
    assert!(check(&report, "orphans").1.contains("part-00001.parquet"), "{report:#}");
    let (code, report) = doctor(&place, &["--repair"]);
    assert_eq!(code, 0, "{report:#}");
    assert!(!place.join("part-00001.parquet").exists() && part.exists());

    let ledger = place.join(".coordinator/ledger.sqlite");
    // The write-ahead log would repair the damage.
    let _ = std::fs::remove_file(ledger.with_extension("sqlite-wal"));
    let _ = std::fs::remove_file(ledger.with_extension("sqlite-shm"));
    change(&ledger, 0);
    let (code, report) = doctor(&place, &[]);
    assert_eq!((code, failed(&report)), (1, vec!["ledger"]), "{report:#}");
    assert!(check(&report, "ledger").1.contains("ledger.sqlite"), "{report:#}");
}

#[test]
fn rows_that_are_not_the_corpus_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let place = finished(folder.path());
    // Rows of another run: every hash fits, and the records are others.
    let (corpus, out) = (folder.path().join("other.json"), folder.path().join("out"));
    detections(&corpus, 41);
    run(&corpus, &out, &["--run-id", "other"]);
    let part = final_part_name(&out.join("other"));
    std::fs::remove_file(final_part(&place)).unwrap();
    for name in [part.as_str(), "corpus.parquet"] {
        std::fs::copy(out.join("other").join(name), place.join(name)).unwrap();
    }
    let other: Value = serde_json::from_slice(&std::fs::read(out.join("other/run.json")).unwrap()).unwrap();
    let path = place.join("run.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["parts"] = other["parts"].clone();
    std::fs::write(&path, file.to_string()).unwrap();
    let (code, report) = doctor(&place, &[]);
    assert_eq!(code, 1);
    for name in ["run.json", "corpus", "rows", "outcome"] {
        assert_eq!(check(&report, name).0, "failed", "{name}: {report:#}");
    }
}

#[test]
fn an_active_run_is_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 8);
    let state = folder.path().join("state");
    let (_served, url) = serve(&state, &[]);
    let arguments = ["submit", "--to", &url, "--corpus", corpus.to_str().unwrap(), "--run-id", "live"];
    assert!(coordinator(&arguments).status.success());
    let parts = state.join("results/live/parts");
    std::fs::create_dir_all(&parts).unwrap();
    std::fs::write(parts.join("0000000000-0000000009-abc.parquet"), "being uploaded").unwrap();
    let (code, report) = doctor(&state, &[]);
    assert_eq!((code, &report["state"]), (0, &Value::from("running")), "{report:#}");
    assert_eq!(check(&report, "run.json").0, "skipped");
    let (verdict, finding) = check(&report, "outcome");
    assert!(verdict == "skipped" && !finding.contains("as recorded"), "nothing is recorded: {finding}");
    assert_eq!(check(&report, "parts").1, "none is committed yet");
    assert_eq!(check(&report, "rows").1, "none is committed yet");
    let refused = coordinator(&["doctor", state.to_str().unwrap(), "--repair"]);
    assert_eq!(refused.status.code(), Some(2), "nothing is deleted while a coordinator works");
    assert!(parts.join("0000000000-0000000009-abc.parquet").exists());
}
