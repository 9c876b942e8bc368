//! The command line: output and exit codes.

use serde_json::Value;

use crate::support::{coordinator, detections, final_part_name, run};

#[test]
fn a_corpus_becomes_a_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 40);
    let closing = run(&corpus, &out, &["--run-id", "r1", "--shard-size", "7", "--workers", "2"]);
    for key in [
        "run_id",
        "path",
        "records",
        "accepted",
        "rejected",
        "needs_review",
        "errors",
        "wall_s",
        "cpu_s",
        "peak_rss_mb",
        "fingerprint",
    ] {
        assert!(!closing[key].is_null(), "{key} in {closing}");
    }
    let count = |key: &str| closing[key].as_u64().unwrap();
    assert_eq!(closing["records"], 40);
    let sum = count("accepted")
        + count("rejected")
        + count("needs_review")
        + count("errors")
        + count("not_applicable");
    assert_eq!(sum, 40, "{closing}");
    assert!(count("accepted") > 0 && count("errors") > 0, "{closing}");

    let run_folder = out.join("r1");
    let described: Value =
        serde_json::from_slice(&std::fs::read(run_folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(described["state"], "finished");
    assert_eq!(described["counts"]["accepted"], closing["accepted"]);
    assert_eq!(described["parts"][0]["rows"], 40);
    let mut names: Vec<String> = std::fs::read_dir(&run_folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".coordinator", ".k8s-auto-fix-run", "corpus.parquet", &final_part_name(&run_folder), "run.json"],
        "nothing else is left"
    );

    // The same command again only prints the summary.
    let again = run(&corpus, &out, &["--run-id", "r1"]);
    assert_eq!((&again["fingerprint"], &again["accepted"]), (&closing["fingerprint"], &closing["accepted"]));
}

#[test]
fn a_run_is_not_resumed_with_another_configuration_or_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 4);
    run(&corpus, &out, &["--run-id", "r1"]);
    let (path, place) = (corpus.to_str().unwrap(), out.to_str().unwrap());
    let base = ["run", "--corpus", path, "--out", place, "--run-id", "r1"];

    let output = coordinator(&[&base[..], &["--set", "rules.default_tag=v1"]].concat());
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(talk.contains("another configuration") && talk.contains("rules.default_tag"), "{talk}");

    detections(&corpus, 5);
    let output = coordinator(&base);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(talk.contains("another corpus") && talk.contains("another run id"), "{talk}");
}

#[test]
fn errors_name_the_cause_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let out = folder.path().join("out");
    let (empty, out) = (empty.to_str().unwrap(), out.to_str().unwrap());
    for (arguments, needed) in [
        (&["run", "--corpus", empty, "--out", out] as &[&str], "no record"),
        (&["run", "--corpus", "no-such-file.json", "--out", out], "no-such-file.json"),
        (&["run", "--corpus", empty, "--out", out, "--set", "sede=1"], "seed"),
        (&["serve", "--listen", "0.0.0.0:0", "--state", out], "--insecure"),
        (&["status", "--from", "http://127.0.0.1:1"], "coordinator serve"),
        (&["status", "--from", "127.0.0.1:1"], "http://127.0.0.1:7070"),
    ] {
        let output = coordinator(arguments);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
        assert!(talk.starts_with("coordinator: ") && talk.contains(needed), "{arguments:?}: {talk}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_broken_corpus_does_not_become_a_shorter_run() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 40);
    let whole = std::fs::read(&corpus).unwrap();
    std::fs::write(&corpus, &whole[..whole.len() - 100]).unwrap();
    let output = coordinator(&[
        "run",
        "--corpus",
        corpus.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--run-id",
        "r1",
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&corpus, &whole).unwrap();
    assert_eq!(run(&corpus, &out, &["--run-id", "r1"])["records"], 40);
}

#[test]
fn the_configuration_is_shown_with_its_origins() {
    let output = coordinator(&["config", "show", "--set", "seed=7", "--output", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["seed"]["value"], 7);
    assert!(shown["seed"]["origin"].as_str().unwrap().contains("--set"));
    assert_eq!(shown["max_attempts"]["origin"], "default");
}

#[test]
fn published_files_become_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let (detected, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&detected, 3);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let patches = write(
        "patches.json",
        r#"[{"id": "0001", "policy_id": "no_latest_tag", "source": "rules", "patch": []}]"#,
    );
    let verified =
        write("verified.json", r#"[{"id": "0001", "accepted": true, "ok_policy": true}, {"id": "0009"}]"#);
    let arguments = [
        "import",
        "--detections",
        detected.to_str().unwrap(),
        "--patches",
        &patches,
        "--verified",
        &verified,
        "--out",
        out.to_str().unwrap(),
        "--run-id",
        "i1",
        "--output",
        "json",
    ];
    let output = coordinator(&arguments);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{talk}");
    assert!(talk.contains("0009"), "{talk}");
    let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&closing["records"], &closing["accepted"]), (&Value::from(3), &Value::from(1)));
    let described: Value = serde_json::from_slice(&std::fs::read(out.join("i1/run.json")).unwrap()).unwrap();
    assert_eq!(described["imported_from"]["entries"]["verified"], 2);
    assert_eq!(coordinator(&arguments).status.code(), Some(2), "a run is not imported over another");
    let over =
        ["run", "--corpus", detected.to_str().unwrap(), "--out", out.to_str().unwrap(), "--run-id", "i1"];
    let output = coordinator(&over);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains("another run id"), "{talk}");
}

#[cfg(unix)]
#[test]
fn too_few_file_descriptors_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    crate::support::detections(&corpus, 3);
    let out = folder.path().join("out").display().to_string();
    let corpus = corpus.display().to_string();
    for arguments in [
        vec!["run", "--corpus", &corpus, "--out", &out],
        vec!["serve", "--listen", "127.0.0.1:0", "--state", &out],
    ] {
        let output = std::process::Command::new("sh")
            .args(["-c", r#"ulimit -n 24; exec "$0" "$@""#])
            .arg(assert_cmd::cargo::cargo_bin!("coordinator"))
            .args(&arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("may open 24 files and connections") && stderr.contains("ulimit -n"),
            "{stderr}"
        );
        assert!(!std::path::Path::new(&out).exists(), "nothing was begun");
    }
}

#[test]
fn the_version_names_every_format() {
    let output = coordinator(&["--version"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    for name in [
        "coordinator",
        "commit",
        "protocol",
        "results format",
        "ledger layout",
        "ledger layout in PostgreSQL",
        "layout of cached answers",
    ] {
        let said =
            stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
        assert!(!said.is_empty() && !said.contains(char::is_whitespace), "{name}: {stdout}");
    }
}

#[test]
fn the_deployment_gives_flags_that_exist() {
    let help = String::from_utf8(coordinator(&["serve", "--help"]).stdout).unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/deploy");
    let files = [
        "base/coordinator.yaml",
        "overlays/postgres/kustomization.yaml",
        "overlays/standbys/kustomization.yaml",
        "systemd/k8s-auto-fix-coordinator.service",
    ];
    for file in files {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let words = text.split_whitespace().filter(|word| word.starts_with("--") && !word.starts_with("---"));
        let flags: Vec<&str> =
            words.map(|word| word.split_once('=').map_or(word, |(flag, _)| flag)).collect();
        assert!(!flags.is_empty(), "{file}");
        for flag in flags {
            assert!(help.contains(&format!("      {flag}")), "{file}: {flag}");
        }
    }
}
