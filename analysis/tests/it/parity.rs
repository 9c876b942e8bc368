//! The published files, computed again.

use serde_json::Value;

use crate::paper_files::corpus;
use crate::support::{analysis, failure, json};

fn of<'a>(lines: &'a [Value], file: &str) -> &'a Value {
    lines.iter().find(|line| line["file"] == file).unwrap()
}

#[test]
fn no_published_file_differs() {
    let Some(corpus) = corpus() else { return };
    // Without the larger runs, which take minutes to import unoptimised.
    let empty = tempfile::tempdir().unwrap();
    let (reference, empty) = (corpus.join("reference"), empty.path().display().to_string());
    let args = ["--reference", reference.to_str().unwrap(), "--corpus", &empty, "--output", "json"];
    let lines = json(&[&["parity"][..], &args].concat());
    let lines = lines.as_array().unwrap();
    let count = |status: &str| lines.iter().filter(|line| line["status"] == status).count();
    assert_eq!(count("differs"), 0, "{lines:#?}");
    assert_eq!(count("exact"), 26);
    for file in ["metrics_schedule_compare.json", "metrics_schedule_sweep.json", "metrics_grok5k.json"] {
        assert_eq!(of(lines, file)["status"], "exact", "{file}");
        assert!(of(lines, file)["compared"].as_u64().unwrap() > 10);
    }
    assert_eq!(of(lines, "metrics_rules_full.json")["status"], "inputs_missing");
    assert_eq!(of(lines, "grok200_latency_summary.csv")["status"], "published_wrong");

    let findings = json(&[&["audit"][..], &args].concat());
    let right = |flaw: &str| {
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["flaw"] == flaw).unwrap();
        finding["right"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(right("F1"), "115.0 h → 13.0 h");
    assert!(right("F9").starts_with("4426 of 5000 = 88.52 %"), "{}", right("F9"));
    assert_eq!(right("F13"), "≈ $4.39 (6333948 reasoning tokens)");
}

#[test]
fn a_changed_value_is_a_finding() {
    let Some(corpus) = corpus() else { return };
    let (dir, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = corpus.join("reference");
    std::fs::create_dir_all(dir.path().join("inputs")).unwrap();
    for name in ["inputs/smoke24_detections.json.gz", "kev.json.gz"] {
        std::fs::write(dir.path().join(name), std::fs::read(from.join(name)).unwrap()).unwrap();
    }
    let risk = std::fs::read_to_string(from.join("risk.json")).unwrap();
    std::fs::write(dir.path().join("risk.json"), risk.replacen("85.0", "86.0", 1)).unwrap();
    let place = |dir: &tempfile::TempDir| dir.path().display().to_string();
    let output =
        analysis(&["parity", "--reference", &place(&dir), "--corpus", &place(&empty), "--output", "json"])
            .assert()
            .code(1)
            .get_output()
            .stdout
            .clone();
    let lines: Value = serde_json::from_slice(&output).unwrap();
    let line = of(lines.as_array().unwrap(), "risk.json");
    assert_eq!(line["status"], "differs");
    assert_eq!(line["differences"][0]["place"], "/0/risk");
}

#[test]
fn a_folder_that_is_not_there_is_a_failure() {
    assert!(failure(&["parity", "--reference", "no/such/folder"]).contains("cannot read no/such/folder"));
}
