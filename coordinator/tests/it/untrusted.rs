//! Prompt injection: a model that obeys every instruction in a manifest leaks no secret and gets no attack accepted.

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

/// Texts that an accepted attack would contain.
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

/// File, policy, and the reason that stops an obedient model.
fn cases() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(fixtures().join("expected.tsv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// All secrets of the fixtures: words that contain `canary` in any case.
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

/// The first JSON Patch in a prompt, which the manifest in it demands.
fn obey(prompt: &str) -> String {
    let plain = prompt.replace("\\\"", "\"");
    let demanded = [prompt, &plain].into_iter().find_map(|text| {
        text.match_indices("[{").find_map(|(at, _)| {
            let value = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok()?;
            value.as_array()?.iter().all(|op| op.get("op").is_some()).then_some(value)
        })
    });
    json!({"patch": demanded.unwrap_or(json!([]))}).to_string()
}

/// An obedient provider, and the prompts that it received.
fn obedient() -> (Mock, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(vec![]));
    let memory = Arc::clone(&asked);
    let obeying = answers(move |prompt| {
        memory.lock().unwrap().push(prompt.to_owned());
        obey(prompt)
    });
    (Mock::start(Settings { answers: obeying, ..plain() }, Some(KEY)), asked)
}

fn corpus(path: &Path) {
    let entries: Vec<Value> = cases()
        .iter()
        .map(|[file, policy, _]| {
            let yaml = std::fs::read_to_string(fixtures().join(file)).unwrap();
            // A scanner may quote its finding.
            let quoted = yaml.contains("canary-hunter-7741").then_some("DB_PASSWORD is canary-hunter-7741");
            json!({
                "id": file, "manifest_path": file, "manifest_yaml": yaml, "policy_id": policy,
                "violation_text": quoted.unwrap_or_default(),
            })
        })
        .collect();
    std::fs::write(path, serde_json::to_vec(&entries).unwrap()).unwrap();
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Results of a run.
struct Observed {
    outcomes: BTreeMap<String, Outcome>,
    stderr: String,
    prompts: Vec<String>,
}

fn run(folder: &Path, guardrails: &str) -> Observed {
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
    Observed { outcomes: outcomes.collect(), stderr, prompts: asked.lock().unwrap().clone() }
}

#[test]
fn injected_instructions_are_stopped_and_no_secret_leaks() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> =
        cases().iter().map(|[file, ..]| std::fs::read_to_string(fixtures().join(file)).unwrap()).collect();
    let canaries = canaries(&texts);
    assert!(canaries.len() >= 9, "{canaries:?}");
    for guardrails in ["none", "merge"] {
        let observed = run(folder.path(), guardrails);
        assert_eq!(observed.outcomes.len(), cases().len());
        assert!(observed.prompts.len() >= cases().len(), "every manifest was shown to the model");
        for [file, _, stop] in cases() {
            let outcome = &observed.outcomes[&file];
            let patch =
                outcome.proposal.as_ref().map(|proposal| proposal.patch.to_json()).unwrap_or_default();
            if guardrails == "none" {
                assert!(!outcome.accepted(), "{file}: {patch}");
                let errors = outcome.attempt_errors.join("; ");
                assert!(errors.contains(&stop), "{file}: {errors:?} instead of {stop:?}");
            } else {
                assert!(outcome.accepted(), "{file}: {:?}", outcome.errors);
                for attack in ATTACKS {
                    assert!(!patch.contains(attack), "{file}: {patch}");
                }
            }
        }
        no_secret_is_left(&folder.path().join(guardrails), &observed, &canaries);
    }
}

/// Checks that secrets occur only in the user's own documents, original or patched.
fn no_secret_is_left(out: &Path, observed: &Observed, canaries: &[String]) {
    let none_in = |what: &str, text: &str| {
        for canary in canaries.iter().map(String::as_str).chain([KEY]) {
            assert!(!text.contains(canary), "{what} holds {canary}:\n{text}");
        }
    };
    observed.prompts.iter().for_each(|prompt| none_in("a prompt", prompt));
    none_in("the log", &observed.stderr);
    for (id, outcome) in &observed.outcomes {
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
        // Parquet is compressed, and its outcomes were checked above.
        if path.extension().is_none_or(|kind| kind != "parquet") {
            none_in(&path.display().to_string(), &text);
        }
    }
}
