//! Figures of a small run, in every form.

use std::path::Path;

use domain::run::RunState;
use serde_json::{Value, json};

use crate::support::{accepted, analysis, failure, json, run_folder, stdout, ten};

fn ten_rows() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    (dir, run)
}

fn write(dir: &Path, name: &str, value: &Value) -> String {
    let path = dir.join(name);
    std::fs::write(&path, value.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn every_command_prints_every_form() {
    let (_dir, run) = ten_rows();
    for command in [
        "patch-stats",
        "latency",
        "tokens",
        "ablation",
        "significance",
        "schedule",
        "compare",
        "sweep",
        "escapes",
        "deceptive",
        "compare-proposers",
        "power",
    ] {
        for (form, mark) in [("text", "─"), ("csv", ","), ("md", "---"), ("tex", "\\toprule")] {
            let printed = stdout(&[command, &run, "--output", form]);
            assert!(printed.contains(mark), "{command} {form}: {printed}");
        }
        assert!(!json(&[command, &run, "--output", "json"]).is_null());
    }
}

#[test]
fn sizes_times_and_gates_of_ten_rows() {
    let (_dir, run) = ten_rows();
    let sizes = json(&["patch-stats", &run, "--output", "json"]);
    // Patches of 1, 3, 2, 6, 1, 1, 1 operations, of which the first four were accepted.
    assert_eq!((&sizes["count"], &sizes["median"], &sizes["max"]), (&json!(7), &json!(1.0), &json!(6.0)));
    assert_eq!(sizes["extended"]["accepted"]["median"], 2.5);

    let times = json(&["latency", &run, "--output", "json"]);
    assert_eq!((&times["stages"][0]["count"], &times["stages"][0]["median"]), (&json!(2), &json!(1000.0)));
    assert_eq!(times["stages"][1]["count"], 0);

    let ablation = json(&["ablation", &run, "--output", "json"]);
    assert_eq!((&ablation["total_patches"], &ablation["baseline_accepted"]), (&json!(7), &json!(4)));
    let scenario = |name: &str| {
        ablation["scenarios"].as_array().unwrap().iter().find(|of| of["name"] == name).unwrap().clone()
    };
    // Two documents were invalid; the third reject failed policy and safety, so no single gate would let it pass.
    assert_eq!(scenario("no_schema")["escapes"], json!({"count": 2, "ids": ["005", "006"]}));
    assert_eq!(scenario("no_safety")["escapes"]["count"], 0);
    let both = json(&["ablation", &run, "--scenario", "both:policy,safety", "--output", "json"]);
    assert_eq!(both["scenarios"][0]["escapes"]["ids"], json!(["007"]));
    assert!(failure(&["ablation", &run, "--scenario", "x:magic"]).contains("unknown gate \"magic\""));

    let tokens =
        json(&["tokens", &run, "--price-prompt", "2", "--price-completion", "4", "--output", "json"]);
    assert_eq!((&tokens["prompt"], &tokens["reasoning"]), (&json!(100), &json!(50)));
    assert!((tokens["priced"].as_f64().unwrap() - 0.0004).abs() < 1e-12);
}

#[test]
fn runs_of_the_same_records_are_paired() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = ten();
    other[0].status = domain::outcome::Status::Rejected;
    let a = run_folder(dir.path(), "a", &[&ten()], RunState::Finished).display().to_string();
    let b = run_folder(dir.path(), "b", &[&other], RunState::Finished).display().to_string();
    let value = json(&["significance", &a, &b, "--output", "json"]);
    assert_eq!(value["runs"][0]["acceptance"]["count"], 4);
    let pair = &value["paired"][0];
    assert_eq!(
        (&pair["pairs"], &pair["mcnemar"]["only_first"], &pair["mcnemar"]["only_second"]),
        (&json!(10), &json!(1), &json!(0))
    );
}

#[test]
fn the_order_of_a_run_is_by_risk_and_rollout_time() {
    let (_dir, run) = ten_rows();
    let order = json(&["schedule", &run, "--output", "json"]);
    let order = order.as_array().unwrap();
    assert_eq!(order.len(), 4);
    assert_eq!(order[0]["R"], 85.0, "{order:#?}");
    // A rollout of ten minutes, and the mean of 1.5 s and 3.5 s.
    let expected = |order: &Value| order.as_array().unwrap().last().unwrap()["Et"].as_f64().unwrap();
    assert!((expected(&json!(order)) - (10.0 + 2.5 / 60.0)).abs() < 1e-12, "{order:#?}");

    let dir = tempfile::tempdir().unwrap();
    let times = dir.path().join("rollout.yaml");
    std::fs::write(&times, "kinds: {Pod: 90s}\n").unwrap();
    let times = times.to_str().unwrap();
    let faster = json(&["schedule", &run, "--rollout", times, "--output", "json"]);
    assert!((expected(&faster) - (1.5 + 2.5 / 60.0)).abs() < 1e-12, "{faster}");
    let text = stdout(&["schedule", &run, "--rollout", times]);
    assert!(text.contains("expected time, min") && text.contains(" 1.5 "), "{text}");
    let file = stdout(&["sweep", &run, "--rollout", times]);
    assert!(file.contains("p95 wait High, h") && !file.contains("e-"), "{file}");
}

#[test]
fn a_long_order_is_printed_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..45).map(|position| accepted(position, "no_privileged", 1)).collect();
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished).display().to_string();
    let records = |args: &[&str]| {
        let text = stdout(&[&["schedule", &run], args].concat());
        let ids = text.lines().filter(|line| line.trim_start().starts_with('0')).count();
        (ids, text)
    };
    let (shown, text) = records(&[]);
    assert!(shown == 20 && text.contains("Order of 45 accepted repairs; rows 1 to 20"), "{text}");
    assert_eq!(records(&["--page", "3"]).0, 5);
    assert_eq!(records(&["--page", "4"]).0, 0);
    assert_eq!(records(&["--all"]).0, 45);
    assert_eq!(stdout(&["schedule", &run, "--output", "csv"]).lines().count(), 46);
}

#[test]
fn labels_score_detections() {
    let dir = tempfile::tempdir().unwrap();
    let found = |path: &str, policy: &str| json!({"id": "1", "manifest_path": path, "policy_id": policy});
    let detections =
        json!([found("a", "latest-tag"), found("a", "latest-tag"), found("a", "hostpath"), found("z", "x")]);
    let detections = write(dir.path(), "d.json", &detections);
    let labels = write(dir.path(), "l.json", &json!({"a": ["no_latest_tag"], "b": ["no_latest_tag"]}));
    let value =
        json(&["detector-eval", "--detections", &detections, "--labels", &labels, "--output", "json"]);
    assert_eq!((&value["tp"], &value["fp"], &value["fn"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(value["f1"], 0.5);
    assert_eq!(value["extended"]["labelled_policies_only"]["fp"], 0);
}

#[test]
fn a_probe_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let latency = json!({"median": 0.5, "p90": 0.8, "p99": 1.1});
    let step = |concurrency: u64| json!({"concurrency": concurrency, "latency_sec": latency});
    let probe = json!({"model": "m", "results": [], "steps": [step(1), step(2)], "knee": null});
    let probe = write(dir.path(), "probe.json", &probe);
    let svg = dir.path().join("latency.svg");
    let printed = stdout(&["probe-report", &probe, "--svg", svg.to_str().unwrap()]);
    assert!(printed.starts_with("Latency and rate by calls in flight"), "{printed}");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("m: latency over calls in flight (n = 2 steps)"));
    let text = failure(&["probe-report", &probe, &probe, "--svg", svg.to_str().unwrap()]);
    assert!(text.contains("--svg draws a single probe, 2 were given"), "{text}");
    let empty = write(dir.path(), "old.json", &json!({"results": []}));
    assert!(failure(&["probe-report", &empty, "--svg", svg.to_str().unwrap()]).contains("nothing to draw"));
}

#[test]
fn files_of_other_shapes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let object = write(dir.path(), "o.json", &json!({}));
    assert!(failure(&["fairness", &object]).contains("o.json: is not a JSON list"));
    let list = write(dir.path(), "list.json", &json!([]));
    assert!(failure(&["multi-seed", &list]).contains("is not a JSON object"));
    let counts = dir.path().join("counts.csv");
    std::fs::write(&counts, "corpus,accepted,total\na,5,4\n").unwrap();
    assert!(
        failure(&["significance", "--counts", counts.to_str().unwrap()])
            .contains("a: accepted exceeds total")
    );
    analysis(&["significance"]).assert().code(2);
}

#[test]
fn counts_are_compared_pair_by_pair() {
    let dir = tempfile::tempdir().unwrap();
    let counts = dir.path().join("counts.csv");
    std::fs::write(&counts, "corpus,accepted,total\na,1264,1264\nb,13589,13656\n").unwrap();
    let value = json(&["significance", "--counts", counts.to_str().unwrap(), "--output", "json"]);
    let extended = &value["acceptance"][0]["extended"];
    assert!((extended["fisher"].as_f64().unwrap() - 0.0063).abs() < 1e-4, "{value}");
}

#[test]
fn the_simulation_is_decided_by_its_seed() {
    let (_dir, run) = ten_rows();
    let args =
        ["simulate", &run, "--jobs", "50", "--repetitions", "3", "--servers", "1,2", "--output", "json"];
    let once = json(&args);
    assert_eq!(once, json(&args));
    let other = json(&[&args[..], &["--seed", "7"]].concat());
    assert_ne!(once["cells"], other["cells"]);
    let (records, unmeasured) =
        (once["records"].as_u64().unwrap(), once["unmeasured_records"].as_u64().unwrap());
    assert_eq!(records - unmeasured, 2);
    assert!(once["mean_service"].as_f64().unwrap() > 600.0, "a rollout takes ten minutes: {once}");
    // Rules × servers × loads.
    assert_eq!(once["cells"].as_array().unwrap().len(), 7 * 2 * 3);
    assert!(stdout(&["simulate", &run, "--jobs", "20", "--output", "md"]).contains("| thompson |"));
    let dir = tempfile::tempdir().unwrap();
    let unmeasured = run_folder(dir.path(), "r2", &[&ten()[2..]], RunState::Finished);
    let unmeasured = unmeasured.to_str().unwrap();
    let minutes = dir.path().join("rollout.yaml");
    std::fs::write(&minutes, "default: 2m\n").unwrap();
    let minutes = minutes.to_str().unwrap();
    let by_rollout = json(&["simulate", unmeasured, "--rollout", minutes, "--jobs", "5", "--output", "json"]);
    assert_eq!(by_rollout["mean_service"], 120.0);
}

/// Answers each connection with the next of some bodies, and says under which address.
fn serve(bodies: Vec<(u16, Vec<u8>)>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (status, body) in bodies {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    format!("http://{address}/feed")
}

#[test]
fn feeds_are_fetched_only_when_told_and_named_with_date_and_hash() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "spec: {containers: [{image: 'a:1'}]}";
    let detections = json!([{"id": "001", "policy_id": "latest-tag", "manifest_yaml": manifest}]);
    let detections = write(dir.path(), "detections.json", &detections);
    let scan = json!({"Results": [{"Vulnerabilities": [{"VulnerabilityID": "CVE-1", "Severity": "HIGH"}]}]});
    let scan = format!("a:1={}", write(dir.path(), "scan.json", &scan));
    let feeds = dir.path().join("feeds");
    let asked =
        ["risk", &detections, "--scan", &scan, "--feeds", feeds.to_str().unwrap(), "--output", "json"];

    let offline = json(&asked);
    assert_eq!(offline["entries"][0]["risk"], 63.0);
    assert_eq!(offline["feeds"].as_array().unwrap().len(), 1, "the scan alone");
    assert!(!feeds.exists());

    let catalogue = json!({"dateReleased": "2025-10-06T00:00:00Z", "vulnerabilities": [{"cveID": "CVE-1"}]});
    let kev = serve(vec![(200, catalogue.to_string().into_bytes())]);
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    let scores =
        "#model_version:v3,score_date:2025-10-07T00:00:00+0000\ncve,epss,percentile\nCVE-1,0.5,0.9\n";
    std::io::Write::write_all(&mut packed, scores.as_bytes()).unwrap();
    let epss = serve(vec![(200, packed.finish().unwrap())]);
    let fetched = json(&[&asked[..], &["--fetch", "--kev-url", &kev, "--epss-url", &epss]].concat());
    assert_eq!((&fetched["entries"][0]["risk"], &fetched["entries"][0]["kev"]), (&json!(78.0), &json!(true)));
    let dates: Vec<&Value> = fetched["feeds"].as_array().unwrap().iter().map(|feed| &feed["date"]).collect();
    assert_eq!(dates, [&json!("2025-10-06T00:00:00Z"), &json!("2025-10-07T00:00:00+0000"), &Value::Null]);
    assert_eq!(fetched["feeds"][0]["sha256"].as_str().unwrap().len(), 64);
    // What was fetched stays, and is read without asking again.
    assert_eq!(json(&asked), fetched);

    // A refusal leaves what is there as it is.
    let gone = serve(vec![(503, b"no".to_vec())]);
    let text = failure(&[&asked[..], &["--fetch", "--kev-url", &gone, "--epss-url", &epss]].concat());
    assert!(text.contains("cannot fetch") && text.contains("hint: without --fetch"), "{text}");
    assert_eq!(json(&asked), fetched);

    // And the schedule reads what `risk` wrote.
    let (_runs, run) = ten_rows();
    let risk = write(dir.path(), "risk.json", &fetched);
    let schedule = json(&["schedule", &run, "--risk", &risk, "--output", "json"]);
    let first = schedule.as_array().unwrap().iter().find(|entry| entry["id"] == "001").unwrap().clone();
    assert_eq!((&first["R"], &first["kev"]), (&json!(78.0), &json!(true)));
}

#[test]
fn the_learnt_order_spares_the_top_band_most_of_the_wait() {
    let dir = tempfile::tempdir().unwrap();
    // One in twenty is of the top band; the times differ, so that the order matters.
    let policies = ["no_latest_tag", "read_only_root_fs", "run_as_non_root", "set_requests_limits"];
    let rows: Vec<_> = (0..800_u64)
        .map(|place| {
            let top = place % 20 == 7;
            let policy = if top { "no_privileged" } else { policies[usize::try_from(place % 4).unwrap()] };
            let mut row = accepted(place, policy, 1);
            row.timing.propose_ms = Some(1.0 + (place % 13) as f64);
            row.timing.verify_ms = Some(2.0 + (place % 7) as f64);
            row
        })
        .collect();
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished).display().to_string();
    let asked = ["simulate", &run, "--load", "0", "--jobs", "4000", "--output", "json"];
    let value = json(&asked);
    let cell = |rule: &str| {
        value["cells"].as_array().unwrap().iter().find(|cell| cell["rule"] == rule).unwrap().clone()
    };
    for rule in ["thompson", "ucb"] {
        let of = cell(rule);
        let gain = &of["top_p95_against_fifo"];
        // Five times and more on average, and better in all but one repetition in forty.
        assert!(
            gain["mean"].as_f64().unwrap() >= 5.0 && gain["low"].as_f64().unwrap() > 1.0,
            "{rule}: {gain}"
        );
        let regret = &of["regret"];
        assert!((-1e-9..0.5).contains(&regret["mean"].as_f64().unwrap()), "{rule}: {regret}");
    }
    // On one thread and on four, and once more, the same figures.
    for threads in ["1", "4"] {
        let output =
            analysis(&asked).env("RAYON_NUM_THREADS", threads).assert().success().get_output().stdout.clone();
        assert_eq!(serde_json::from_slice::<Value>(&output).unwrap(), value, "{threads} threads");
    }
}
