//! Runs as archives, and their replay without network: the same outcomes, and what is said where they differ.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::ids::RunId;
use domain::outcome::{Fault, Gate, GateResult, Outcome, Status};
use domain::testing::corpus as reference;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use mock_llm::Settings;
use results::part::write_part;
use results::scan::{Part, outcomes};
use serde_json::{Value, json};
use tar::{Archive, Builder, Header};

use crate::model::{closing, corpus, right, start};
use crate::process::{Process, worker_binary};
use crate::provider::{Mock, answers, plain};
use crate::support::{coordinator, detections, final_part_name, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bundles the run `r` of `folder` into `to`.
fn bundle(folder: &Path, to: &Path, more: &[&str]) -> Output {
    let run = folder.join("r");
    let mut arguments = vec!["bundle", run.to_str().unwrap(), "--out", to.to_str().unwrap()];
    arguments.extend(more);
    coordinator(&arguments)
}

fn bundled(folder: &Path, to: &Path, more: &[&str]) {
    let output = bundle(folder, to, more);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).starts_with("same fingerprint: "), "{}", text(&output.stdout));
}

fn replay(file: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["replay", file.to_str().unwrap()];
    arguments.extend(more);
    coordinator(&arguments)
}

/// Replays an archive that comes to the same.
fn same(file: &Path, fingerprint: &Value, more: &[&str]) {
    let output = replay(file, &[&["--output", "json"], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["same"], &found["replayed"]), (&json!(true), fingerprint), "{found}");
}

/// What a replay prints that comes to something else.
fn differs(file: &Path) -> String {
    let output = replay(file, &[]);
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Why an archive cannot be replayed.
fn refused(file: &Path, more: &[&str]) -> String {
    let output = replay(file, more);
    assert_eq!(output.status.code(), Some(2), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

/// The files of an archive, to be changed.
struct Opened {
    folder: PathBuf,
    files: Vec<(String, Vec<u8>)>,
}

impl Opened {
    fn of(path: &Path) -> Self {
        let mut archive = Archive::new(GzDecoder::new(BufReader::new(File::open(path).unwrap())));
        let mut files = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().strip_prefix("r").unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.push((name, bytes));
        }
        Self { folder: path.parent().unwrap().to_owned(), files }
    }

    fn get(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.files.iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    /// The name of its only part.
    fn part(&self) -> String {
        let part = self.files.iter().find(|(name, _)| results::layout::is_final_part(name));
        part.unwrap().0.clone()
    }

    fn edit(mut self, name: &str, edit: impl FnOnce(&str) -> String) -> Self {
        let bytes = self.get(name);
        *bytes = edit(std::str::from_utf8(bytes).unwrap()).into_bytes();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self
    }

    /// Changes the manifest.
    fn manifest(self, change: impl FnOnce(&mut Value)) -> Self {
        self.edit("manifest.json", |manifest| {
            let mut manifest: Value = serde_json::from_str(manifest).unwrap();
            change(&mut manifest);
            manifest.to_string()
        })
    }

    /// Lists the files as they are now.
    fn listed(self) -> Self {
        let sizes: Vec<(String, usize, String)> = self
            .files
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.len(), blake3::hash(bytes).to_hex().to_string()))
            .collect();
        self.manifest(|manifest| {
            for file in manifest["files"].as_array_mut().unwrap() {
                let (_, bytes, hash) = sizes.iter().find(|(name, ..)| file["name"] == name.as_str()).unwrap();
                file["bytes"] = (*bytes).into();
                file["blake3"] = hash.as_str().into();
            }
        })
    }

    fn write(self) -> PathBuf {
        let path = self.folder.join(format!("changed-{}.tar.gz", fastrand::u64(..)));
        let mut archive = Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, bytes) in &self.files {
            let mut header = Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            archive.append_data(&mut header, format!("r/{name}"), bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        path
    }
}

#[test]
fn a_run_of_the_rules_is_replayed_in_a_clean_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 90);
    let summary = run(&corpus, &out, &["--run-id", "r", "--shard-size", "20"]);
    let [one, other] = ["one.tar.gz", "other.tar.gz"].map(|name| folder.path().join(name));
    bundled(&out, &one, &["--licence", "CC0"]);
    bundled(&out, &other, &["--licence", "CC0", "--workers", "3"]);
    assert_eq!(
        std::fs::read(&one).unwrap(),
        std::fs::read(&other).unwrap(),
        "the same run is the same archive"
    );
    let output = bundle(&out, &one, &[]);
    assert_eq!(output.status.code(), Some(2), "nothing is written over");
    let kept = folder.path().join("kept");
    same(&one, &summary["fingerprint"], &["--out", kept.to_str().unwrap()]);
    assert!(kept.join("r/run.json").is_file());
    assert!(refused(&one, &["--out", kept.to_str().unwrap()]).contains("not an empty folder"));
    let mut opened = Opened::of(&one);
    let names: Vec<String> = opened.files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        names,
        ["manifest.json", "README", "NOTICE", "run.json", &final_part_name(&out.join("r")), "corpus.parquet"]
    );
    let readme = text(opened.get("README"));
    assert!(readme.lines().count() == 3 && readme.contains("coordinator replay FILE"), "{readme}");
    assert!(text(opened.get("NOTICE")).contains("Licence of the documents: CC0"));
    let described = text(opened.get("run.json"));
    assert!(!described.contains(folder.path().to_str().unwrap()), "no path of this machine: {described}");
}

#[test]
fn what_would_be_written_is_said_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 10);
    run(&corpus, &out, &["--run-id", "r"]);
    let to = folder.path().join("b.tar.gz");
    let output = bundle(&out, &to, &["--dry-run"]);
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(talk.contains(" corpus.parquet") && talk.contains("in all, before it is packed"), "{talk}");
    assert!(!to.exists());
    let by_name = ["bundle", "r", "--results", out.to_str().unwrap(), "--out", to.to_str().unwrap()];
    assert_eq!(coordinator(&by_name).status.code(), Some(0));
    assert!(to.is_file());
    let leftovers = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(leftovers, 3, "corpus, results, archive: no folder of the rehearsal is left");
}

/// A run of a model, bundled; its provider has ended.
fn of_a_model(folder: &Path, records: usize) -> (PathBuf, Value) {
    corpus(&folder.join("detections.json"), records);
    // One record needs a second try.
    let asked = AtomicBool::new(false);
    let answer = move |prompt: &str| {
        let first = prompt.contains("name: p1\n") && !asked.swap(true, Ordering::SeqCst);
        if first { "no patch".to_owned() } else { right() }
    };
    let mock = Mock::start(Settings { answers: answers(answer), ..plain() }, None);
    let ended = start(folder, &mock, &[]).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let file = folder.join("run.tar.gz");
    let endpoint = format!("grok.endpoint={}", mock.url);
    drop(mock);
    bundled(folder, &file, &["--set", &endpoint, "--set", "grok.api_key_env="]);
    // Another URL, other keys: nothing is written that could not be replayed.
    for more in [&["--set", "grok.endpoint=http://127.0.0.1:1/v1"][..], &[]] {
        let to = folder.join("wrong.tar.gz");
        let wrong = bundle(folder, &to, more);
        let talk = text(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(2), "{talk}");
        assert!(
            talk.contains("none of the recorded answers") && talk.contains("--set grok.endpoint=URL"),
            "{talk}"
        );
        assert!(!to.exists());
    }
    (file, closing(&ended)["fingerprint"].clone())
}

#[test]
fn a_run_of_a_model_is_replayed_without_its_provider() {
    let folder = tempfile::tempdir().unwrap();
    let (file, fingerprint) = of_a_model(folder.path(), 12);
    same(&file, &fingerprint, &[]);
    let lines = text(Opened::of(&file).get("answers.jsonl"));
    assert!(lines.lines().count() >= 12, "{lines}");
    let keys: Vec<&str> = lines.lines().collect();
    assert!(keys.is_sorted(), "in the order of their keys");

    let changed = Opened::of(&file)
        .edit("answers.jsonl", |lines| lines.replacen("\\\"value\\\":false", "\\\"value\\\":true", 1));
    let path = changed.write();
    let why = refused(&path, &[]);
    assert!(why.contains("answers.jsonl of the bundle was changed"), "{why}");

    let said = differs(&Opened::of(&path).listed().write());
    assert!(said.contains("another fingerprint") && said.contains("1 of 12 records differ"), "{said}");
    // The other answer is refused, so the model would be asked once more, which it was not in the run.
    let asked = said.contains("1 have a question without a recorded answer");
    assert!(asked && said.contains("accepted before, now rejected"), "{said}");
    assert!(said.contains("the same release made the run"), "{said}");

    let lacking =
        Opened::of(&file).edit("answers.jsonl", |lines| lines.split_inclusive('\n').skip(1).collect());
    let said = differs(&lacking.listed().write());
    assert!(said.contains("have a question without a recorded answer"), "{said}");

    let why = refused(&Opened::of(&file).without("answers.jsonl").write(), &[]);
    assert!(why.contains("lacks answers.jsonl"), "{why}");
    let part = Opened::of(&file).part();
    let why = refused(&Opened::of(&file).without(&part).write(), &[]);
    assert!(why.contains(&format!("lacks {part}")), "{why}");
    let why = refused(&Opened::of(&file).without("corpus.parquet").write(), &[]);
    assert!(why.contains("lacks corpus.parquet"), "{why}");
    let why = refused(&Opened::of(&file).manifest(|manifest| manifest["format"] = 2.into()).write(), &[]);
    assert!(why.contains("format 2") && why.contains("use a newer program"), "{why}");
    let newer = Opened::of(&file).edit("run.json", |run| run.replacen("\"format\": 1", "\"format\": 2", 1));
    let why = refused(&newer.listed().write(), &[]);
    assert!(why.contains("use a newer program"), "{why}");
}

/// As a release would have judged whose policies ask for more.
fn judged_otherwise(mut rows: Vec<Outcome>) -> Vec<Outcome> {
    let row = rows.iter_mut().find(|row| row.status == Status::Accepted).unwrap();
    let mut gates = (*row.gates).clone();
    gates.policy = GateResult::from_errors(vec!["a newer policy wants more".to_owned()]);
    row.gates = gates.into();
    row.errors = vec!["a newer policy wants more".to_owned()];
    (row.status, row.fault, row.patched_yaml) = (Status::Rejected, Fault::Patch, None);
    rows
}

#[test]
fn outcomes_of_another_release_are_told_by_record_gate_and_version() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 30);
    run(&corpus, &out, &["--run-id", "r"]);
    let file = folder.path().join("run.tar.gz");
    bundled(&out, &file, &[]);
    let mut opened = Opened::of(&file);
    let name = final_part_name(&out.join("r"));
    let part = Part::from(bytes::Bytes::from(opened.get(&name).clone()));
    let rows: Vec<Outcome> = outcomes([part]).map(Result::unwrap).collect();
    let rows = judged_otherwise(rows);
    let newer = write_part(&RunId::new("r").unwrap(), &rows).unwrap();
    let fingerprint = results::fingerprint::fingerprint([Part::from(newer.clone())]).unwrap().to_string();
    *opened.get(&name) = newer.to_vec();
    let without_name = opened.listed().write();
    let why = refused(&without_name, &[]);
    assert!(why.contains("the outcomes in the archive have the fingerprint"), "{why}");
    let newer = Opened::of(&without_name).manifest(|manifest| {
        manifest["fingerprint"] = fingerprint.as_str().into();
        manifest["versions"]["program"] = "9.9.9".into();
    });
    let said = differs(&newer.write());
    assert!(said.contains(&format!("judged otherwise by the gate {}", Gate::Policy)), "{said}");
    assert!(said.contains("failed before, now passed: a newer policy wants more"), "{said}");
    assert!(said.contains("version: 9.9.9 made the run"), "{said}");
}

#[test]
fn documents_with_secrets_need_a_word_and_may_stay_away() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: main\n    image: nginx\n    \
                env:\n    - name: DB_PASSWORD\n      value: hunter2-s3cret\n";
    let record = json!({"id": "1", "manifest_path": "p.yaml", "manifest_yaml": yaml, "policy_id": "latest-tag", "violation_text": ""});
    std::fs::write(&corpus, json!([record]).to_string()).unwrap();
    let summary = run(&corpus, &out, &["--run-id", "r"]);
    let at = |name: &str| folder.path().join(name);
    let output = bundle(&out, &at("refused.tar.gz"), &[]);
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains("1 of the 1 documents") && talk.contains("--with-secrets"), "{talk}");
    assert!(talk.contains("--without-corpus") && !talk.contains("hunter2"), "{talk}");
    bundled(&out, &at("whole.tar.gz"), &["--with-secrets"]);
    same(&at("whole.tar.gz"), &summary["fingerprint"], &[]);
    let notice = text(Opened::of(&at("whole.tar.gz")).get("NOTICE"));
    assert!(notice.contains("1 OF THEM HOLD WHAT COUNTS AS A SECRET"), "{notice}");

    let without = at("without.tar.gz");
    bundled(&out, &without, &["--without-corpus", "--corpus-source", "https://example.org/d.json"]);
    for (name, bytes) in Opened::of(&without).files {
        assert!(!text(&bytes).contains("hunter2") && name != "corpus.parquet", "{name}");
    }
    let why = refused(&without, &[]);
    assert!(
        why.contains("does not hold the documents") && why.contains("https://example.org/d.json"),
        "{why}"
    );
    same(&without, &summary["fingerprint"], &["--corpus", corpus.to_str().unwrap()]);
    std::fs::write(at("other.json"), json!([record, record]).to_string()).unwrap();
    let why = refused(&without, &["--corpus", at("other.json").to_str().unwrap()]);
    assert!(why.contains("the corpus is not that of the run"), "{why}");
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("b.tar.gz");
    let output = bundle(folder.path(), &to, &[]);
    assert!(text(&output.stderr).contains("there is no finished run"), "{}", text(&output.stderr));
    std::fs::write(folder.path().join("x.tar.gz"), "no archive").unwrap();
    let why = refused(&folder.path().join("x.tar.gz"), &[]);
    assert!(why.contains("is not a bundle"), "{why}");
    assert!(refused(&folder.path().join("missing.tar.gz"), &[]).contains("cannot read"), "named");
}

#[test]
fn the_published_corpus_under_the_rules_is_replayed() {
    let Some(detections) = reference("rules_full/detections.json.gz") else { return };
    let folder = tempfile::tempdir().unwrap();
    let summary = run(&detections, folder.path(), &["--run-id", "r"]);
    assert_eq!(summary["records"], 13_656);
    let file = folder.path().join("rules_full.tar.gz");
    bundled(folder.path(), &file, &["--with-secrets"]);
    same(&file, &summary["fingerprint"], &[]);
}

#[test]
fn the_published_answers_of_a_model_are_replayed() {
    let Some(published) = reference("grok_5k_dev") else { return };
    let Some(worker) = worker_binary() else { return };
    let at = |name: &str| published.join(name).display().to_string();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/mock.yaml");
    let (detections, patches) = (at("detections.json.gz"), at("patches.json.gz"));
    let mut arguments = vec!["mock-llm", "--listen", "127.0.0.1:0", "--config", config];
    arguments.extend(["--replay", &patches, "--replay-detections", &detections]);
    let mut mock = Process::start(&worker, &arguments);
    let line = mock.wait_for("/v1/chat/completions");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let endpoint = format!("grok.endpoint={}", url.trim_end_matches([',', ';']));
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--config", config, "--set", &endpoint];
    let summary = run(
        Path::new(&detections),
        folder.path(),
        &[&["--run-id", "r", "--set", "proposer.max_failed_share=1"][..], &settings].concat(),
    );
    assert_eq!(summary["records"], 2462);
    assert!(summary["model_calls"].as_u64().unwrap() > 1000, "{summary}");
    drop(mock);
    let file = folder.path().join("grok_5k_dev.tar.gz");
    bundled(folder.path(), &file, &[&["--with-secrets"][..], &settings].concat());
    same(&file, &summary["fingerprint"], &[]);
}
