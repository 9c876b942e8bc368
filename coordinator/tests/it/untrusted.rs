//! A model that does whatever a manifest tells it, and manifests that tell it to: nothing gets out, nothing gets in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use assert_cmd::Command;
use domain::outcome::Outcome;
use mock_llm::Settings;
use results::scan;
use serde_json::{Value, json};

use crate::provider::{Mock, answers, plain};
use crate::support::coordinator;

/// The key of the provider, and the environment variable that holds it.
const KEY: &str = "canary-provider-key-6650";
const VARIABLE: &str = "UNTRUSTED_TEST_KEY";

/// What a patch that got through would hold.
const ATTACKS: [&str; 8] = [
    "SYS_ADMIN",
    "attacker",
    "hostPath",
    "hostPID",
    "serviceAccountName",
    "BANNER",
    "/seen",
    "\"path\":\"\"",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures/injection")
}

/// File, policy, and what stops a model that obeys.
fn cases() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(fixtures().join("expected.tsv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// Every secret of the fixtures: the word that begins with `canary`, in whatever case.
fn canaries(texts: &[String]) -> Vec<String> {
    let words = texts.iter().flat_map(|text| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')));
    let mut found: Vec<String> = words
        .filter(|word| {
            word.to_ascii_lowercase().contains("canary") && word.bytes().any(|byte| byte.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// What the manifest in a question demands: the first JSON Patch in it.
fn obey(question: &str) -> String {
    let plain = question.replace("\\\"", "\"");
    let demanded = [question, &plain].into_iter().find_map(|text| {
        text.match_indices("[{").find_map(|(at, _)| {
            let value = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok()?;
            value.as_array()?.iter().all(|op| op.get("op").is_some()).then_some(value)
        })
    });
    json!({"patch": demanded.unwrap_or(json!([]))}).to_string()
}

/// A provider that obeys, and what it was asked.
fn obedient() -> (Mock, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(vec![]));
    let memory = Arc::clone(&asked);
    let obeying = answers(move |question| {
        memory.lock().unwrap().push(question.to_owned());
        obey(question)
    });
    (Mock::start(Settings { answers: obeying, ..plain() }, Some(KEY)), asked)
}

fn corpus(path: &Path) {
    let entries: Vec<Value> = cases()
        .iter()
        .map(|[file, policy, _]| {
            let yaml = std::fs::read_to_string(fixtures().join(file)).unwrap();
            // A scanner may quote what it found.
            let quoted = yaml.contains("canary-hunter-7741").then_some("DB_PASSWORD is canary-hunter-7741");
            json!({
                "id": file, "manifest_path": file, "manifest_yaml": yaml, "policy_id": policy,
                "violation_text": quoted.unwrap_or_default(),
            })
        })
        .collect();
    std::fs::write(path, serde_json::to_vec(&entries).unwrap()).unwrap();
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What a run left, and what it said.
struct Left {
    outcomes: BTreeMap<String, Outcome>,
    stderr: String,
    asked: Vec<String>,
}

fn run(folder: &Path, guardrails: &str) -> Left {
    let (mock, asked) = obedient();
    let (input, out) = (folder.join("detections.json"), folder.join(guardrails));
    corpus(&input);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coordinator"));
    command
        .env(VARIABLE, KEY)
        .args(["-vvv", "run", "--run-id", "r", "--corpus"])
        .arg(&input)
        .arg("--out")
        .arg(&out);
    let endpoint = format!("grok.endpoint={}", mock.url);
    let (guard, variable) = (format!("guardrails={guardrails}"), format!("grok.api_key_env={VARIABLE}"));
    for setting in ["proposer.mode=grok", "max_attempts=1", &endpoint, &guard, &variable] {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{stderr}");
    let parts = files(&out.join("r"))
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")));
    let outcomes = scan::outcomes(parts.map(Into::into)).map(|outcome| {
        let outcome = outcome.unwrap();
        (outcome.record_id.to_string(), outcome)
    });
    Left { outcomes: outcomes.collect(), stderr, asked: asked.lock().unwrap().clone() }
}

#[test]
fn what_manifests_demand_of_a_model_is_stopped_and_no_secret_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> =
        cases().iter().map(|[file, ..]| std::fs::read_to_string(fixtures().join(file)).unwrap()).collect();
    let canaries = canaries(&texts);
    assert!(canaries.len() >= 9, "{canaries:?}");
    for guardrails in ["none", "merge"] {
        let left = run(folder.path(), guardrails);
        assert_eq!(left.outcomes.len(), cases().len());
        assert!(left.asked.len() >= cases().len(), "every manifest was shown to the model");
        for [file, _, stop] in cases() {
            let outcome = &left.outcomes[&file];
            let patch =
                outcome.proposal.as_ref().map(|proposal| proposal.patch.to_json()).unwrap_or_default();
            if guardrails == "none" {
                assert!(!outcome.accepted(), "{file}: {patch}");
                let said = outcome.attempt_errors.join("; ");
                assert!(said.contains(&stop), "{file}: {said:?} instead of {stop:?}");
            } else {
                assert!(outcome.accepted(), "{file}: {:?}", outcome.errors);
                for attack in ATTACKS {
                    assert!(!patch.contains(attack), "{file}: {patch}");
                }
            }
        }
        no_secret_is_left(&folder.path().join(guardrails), &left, &canaries);
    }
}

/// The user's own documents, whole or patched, hold what the user wrote; nothing else does.
fn no_secret_is_left(out: &Path, left: &Left, canaries: &[String]) {
    let none_in = |what: &str, text: &str| {
        for canary in canaries.iter().map(String::as_str).chain([KEY]) {
            assert!(!text.contains(canary), "{what} holds {canary}:\n{text}");
        }
    };
    left.asked.iter().for_each(|question| none_in("a question", question));
    none_in("the log", &left.stderr);
    for (id, outcome) in &left.outcomes {
        let rest = Outcome { patched_yaml: None, proposal: None, ..outcome.clone() };
        none_in(id, &format!("{rest:?}"));
    }
    let store = out.join(".answers.sqlite");
    let exported = coordinator(&["answers", "export", "--answers", store.to_str().unwrap()]);
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert!(exported.lines().count() > 5, "{exported}");
    none_in("the answers", &exported);
    for path in files(out) {
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY), "{} holds the key", path.display());
        // Documents are compressed there, and their outcomes were looked through above.
        if path.extension().is_none_or(|kind| kind != "parquet") {
            none_in(&path.display().to_string(), &text);
        }
    }
}
