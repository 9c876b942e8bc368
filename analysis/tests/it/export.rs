//! `export` and `fingerprint`.

use domain::run::RunState;

use crate::support::{failure, import, run_folder, stdout, ten};

#[test]
fn the_fingerprint_is_of_the_rows_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = ten();
    let one = run_folder(dir.path(), "r1", &[&rows], RunState::Finished);
    rows[0].timing.total_ms = Some(1.0);
    let two = run_folder(dir.path(), "r2", &[&rows[5..], &rows[..5]], RunState::Finished);
    rows[0].name = String::from("other");
    let three = run_folder(dir.path(), "r3", &[&rows], RunState::Finished);
    let of = |run: &std::path::Path| stdout(&["fingerprint", run.to_str().unwrap()]);
    let hash = of(&one);
    assert!(hash.len() == 65 && hash.trim_end().chars().all(|c| c.is_ascii_hexdigit()), "{hash:?}");
    assert_eq!(of(&two), hash);
    assert_ne!(of(&three), hash);
}

#[test]
fn an_export_gives_back_what_was_imported() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["detections.json", "patches.json", "verified.json"].map(|name| dir.path().join(name));
    let texts = [
        r#"[{"id": "1", "manifest_path": "a.yaml", "manifest_yaml": "kind: Pod\n", "policy_id": "latest-tag", "violation_text": "v"}]"#,
        r#"[{"id": "1", "policy_id": "no_latest_tag", "source": "rules", "hardened": true, "patch": [{"op": "remove", "path": "/kind"}], "extra": 1}]"#,
        r#"[{"id": "1", "policy_id": "no_latest_tag", "accepted": false, "ok_schema": true, "ok_policy": false, "patched_yaml": null, "errors": ["no"]}]"#,
    ];
    for (file, text) in files.iter().zip(texts) {
        std::fs::write(file, text).unwrap();
    }
    let run = import(dir.path(), "imported", [&files[0], &files[1], &files[2]]);
    let to = dir.path().join("out");
    stdout(&["export", run.to_str().unwrap(), "--to", to.to_str().unwrap()]);
    for (name, text) in ["detections.json", "patches.json", "verified.json"].iter().zip(texts) {
        let exported: serde_json::Value =
            serde_json::from_slice(&std::fs::read(to.join(name)).unwrap()).unwrap();
        assert_eq!(exported, serde_json::from_str::<serde_json::Value>(text).unwrap(), "{name}");
    }
}

#[test]
fn an_export_needs_the_folder_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let part = run.join("part-00000.parquet");
    let text = failure(&["export", part.to_str().unwrap(), "--to", "out"]);
    assert!(text.contains("is not the folder of a run"), "{text}");
    let text = failure(&["export", run.to_str().unwrap(), "--to", "out"]);
    assert!(text.contains("cannot read the run's corpus"), "{text}");
}
