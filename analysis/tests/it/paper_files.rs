//! The published numbers, from the published files. Skipped where these are not at hand.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{import, json, stdout};

/// The folder of the reference data, unless the test is skipped.
#[track_caller]
pub(crate) fn corpus() -> Option<PathBuf> {
    domain::testing::corpus("")
}

fn read(path: &Path) -> Value {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    let mut reader: Box<dyn std::io::Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    reader.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn import_folder(dir: &Path, name: &str, folder: &Path) -> PathBuf {
    let file = |name: &str| folder.join(name);
    import(dir, name, [&file("detections.json.gz"), &file("patches.json.gz"), &file("verified.json.gz")])
}

/// The CSV lines of a data set in a reference file.
fn lines(path: &Path, dataset: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let ours = |line: &&str| line.starts_with(&format!("{dataset},"));
    text.lines().filter(ours).map(str::to_owned).collect()
}

fn taxonomy(run: &str, dataset: &str, corpus: &Path) {
    for (table, file) in [
        ("messages", "taxonomy_counts.csv"),
        ("summary", "taxonomy_summary.csv"),
        ("policies", "policy_failures.csv"),
    ] {
        let args = ["failures", run, "--taxonomy", table, "--label", dataset, "--output", "csv"];
        let printed: Vec<String> = stdout(&args).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(printed, lines(&corpus.join("reference/failures").join(file), dataset), "{file}");
    }
}

#[test]
fn the_full_rules_run() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = corpus.join("rules_full");
    let run = import_folder(dir.path(), "rules_full", &folder);
    let run = run.to_str().unwrap();

    let mut metrics = json(&["metrics", run, "--output", "json"]);
    let reference = read(&corpus.join("reference/metrics_rules_full.json"));
    assert_eq!(json(&["metrics", run, "--output", "json", "--published"]), reference);
    let more = metrics.as_object_mut().unwrap().remove("extended").unwrap();
    assert_eq!(metrics, reference);
    assert_eq!(more["effective_of_accepted"]["of"], 0, "nobody audited the published repairs");
    assert_eq!(more["documents"], 3234);
    taxonomy(run, "rules_full", &corpus);

    // Learnt on the way, the order spares the top band at least four fifths of FIFO's p95 wait, in 95 % of repetitions.
    let queue = json(&["simulate", run, "--load", "0", "--jobs", "2000", "--output", "json"]);
    for cell in queue["cells"].as_array().unwrap() {
        if ["thompson", "ucb"].contains(&cell["rule"].as_str().unwrap()) {
            assert!(cell["top_p95_against_fifo"]["low"].as_f64().unwrap() >= 5.0, "{cell}");
            assert!(cell["regret"]["mean"].as_f64().unwrap() < 1.0, "{cell}");
        }
    }

    let to = dir.path().join("out");
    stdout(&["export", run, "--to", to.to_str().unwrap()]);
    for name in ["detections", "patches", "verified"] {
        let (ours, theirs) =
            (read(&to.join(format!("{name}.json"))), read(&folder.join(format!("{name}.json.gz"))));
        let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn the_supported_set() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = import_folder(dir.path(), "supported", &corpus.join("supported"));
    let metrics = json(&["metrics", run.to_str().unwrap(), "--output", "json", "--published"]);
    let model_usage = json!({"prompt_tokens": 0.0, "completion_tokens": 0.0, "total_tokens": 0.0});
    assert_eq!(
        metrics,
        json!({
            "detections": 1278, "patches": 1278, "verified": 1278, "accepted": 1259,
            "auto_fix_rate": 0.9851, "median_patch_ops": 3,
            "failed_policy": 7, "failed_schema": 0, "failed_safety": 0, "failed_rescan": 0,
            "model_usage": model_usage,
        })
    );
    taxonomy(run.to_str().unwrap(), "supported", &corpus);
}

#[test]
fn the_model_run() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = corpus.join("grok_5k_dev");
    let run = import_folder(dir.path(), "grok_5k_dev", &folder);
    let run = run.to_str().unwrap();
    let metrics = json(&["metrics", run, "--output", "json", "--published"]);
    let expected = read(&folder.join("expected.json"));
    assert_eq!(metrics["detections"], expected["n"]);
    assert_eq!(metrics["accepted"], expected["accepted"]);
    assert_eq!(metrics["median_patch_ops"], expected["median_patch_ops_accepted"]);
    for (key, gate) in [
        ("failed_policy", "ok_policy"),
        ("failed_schema", "ok_schema"),
        ("failed_safety", "ok_safety"),
        ("failed_rescan", "ok_rescan"),
    ] {
        assert_eq!(metrics[key], expected["failed"][gate], "{key}");
    }
    for tokens in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        let published = expected["tokens"][tokens].as_f64();
        assert_eq!(metrics["model_usage"][tokens].as_f64(), published, "{tokens}");
    }
    let policies = json(&["policy-metrics", run, "--output", "json"]);
    for (policy, counts) in expected["per_policy"].as_object().unwrap() {
        let status = &policies[policy]["extended"]["status"];
        assert_eq!(json!([policies[policy]["extended"]["records"], status["accepted"]]), *counts, "{policy}");
    }
}

#[test]
fn the_policy_metrics_with_measured_times() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let inputs = corpus.join("reference/inputs");
    // The detections of that run were not published: its verdicts name the same records.
    let verified = inputs.join("grok200_verified.json.gz");
    let detections: Vec<Value> = read(&verified)
        .as_array()
        .unwrap()
        .iter()
        .map(
            |entry| json!({"id": entry["id"], "policy_id": entry["policy_id"], "manifest_yaml": "kind: Pod"}),
        )
        .collect();
    let detections_file = dir.path().join("detections.json");
    std::fs::write(&detections_file, serde_json::to_vec(&detections).unwrap()).unwrap();
    let run =
        import(dir.path(), "grok200", [&detections_file, &inputs.join("grok200_patches.json.gz"), &verified]);
    let run = run.to_str().unwrap();
    assert_eq!(
        json(&["policy-metrics", run, "--output", "json", "--published"]),
        read(&inputs.join("published/policy_metrics_grok200.json"))
    );
    let metrics = json(&["metrics", run, "--output", "json", "--published"]);
    let reference = read(&inputs.join("published/metrics_grok200.json"));
    for key in ["patches", "verified", "accepted", "median_patch_ops", "model_usage"] {
        assert_eq!(metrics[key], reference[key], "{key}");
    }
}
