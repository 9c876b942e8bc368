//! Recorded patches of a model as responses to the prompts that a run sends for their records.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use domain::config::RunConfig;
use domain::published;
use mock_llm::PromptAnswers;
use results::input::json::Elements;
use serde_json::{Value, json};

use super::prompts::each_prompt;
use super::secrets::without_secrets;
use corpus::Source;

/// Recorded responses by their prompts.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) answers: PromptAnswers,
    /// Patches whose record has a prompt.
    pub(crate) patches: usize,
    /// Patches whose prompt already has another response, and which are therefore never returned.
    pub(crate) shadowed: usize,
    /// Patches without a detection that has a prompt.
    pub(crate) without_prompt: usize,
}

/// Reads published patches, and builds the prompts of their detections as runs of `config` do.
pub(crate) fn recorded(patches: &Path, detections: PathBuf, config: &RunConfig) -> anyhow::Result<Recorded> {
    let mut by_id = patches_by_id(patches, config)?;
    let mut recorded = Recorded::default();
    let source = Source { corpus: detections, manifests: None };
    each_prompt(&source, config, &mut |prompt| {
        let Some(patch) = by_id.remove(prompt.record.id.as_str()) else { return };
        recorded.patches += 1;
        let patch = without_secrets(&patch, prompt.document, prompt.masked);
        let answer = json!({"patch": patch}).to_string();
        recorded.shadowed += usize::from(!recorded.answers.insert(prompt.text, &answer));
    })?;
    recorded.without_prompt = by_id.len();
    if recorded.patches == 0 {
        let (patches, detections) = (patches.display(), source.corpus.display());
        bail!("no patch of {patches} has a detection with a document in {detections}");
    }
    Ok(recorded)
}

fn patches_by_id(path: &Path, config: &RunConfig) -> anyhow::Result<HashMap<String, Value>> {
    let mut by_id = HashMap::new();
    let mut elements = Elements::open(&path.display().to_string(), &config.limits)?;
    while let Some(element) = elements.next_element::<published::Patch>()? {
        if let Ok(patch) = element.content {
            by_id.insert(patch.id, patch.patch);
        }
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests {
    use engine::propose::parse;

    use super::*;

    const POD: &str = "
kind: Pod
apiVersion: v1
metadata: {name: web}
spec:
  containers:
  - name: hunter2
    image: nginx
    args: [--db-password=hunter2]
    env: [{name: DB_PASSWORD, value: hunter2}, {name: NOTE, value: LONG}]
";

    /// Detections and their patches in a folder; an id may have a patch or none.
    fn folder(records: &[(&str, &str, &str, Option<Value>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let detection = |(number, (policy, violation, yaml, _)): (usize, &(&str, &str, &str, _))| json!({"id": number.to_string(), "manifest_yaml": yaml, "policy_id": policy, "violation_text": violation});
        let detections: Vec<Value> = records.iter().enumerate().map(detection).collect();
        let patch = |(number, (.., patch)): (usize, &(_, _, _, Option<Value>))| {
            patch.as_ref().map(|patch| json!({"id": number.to_string(), "patch": patch}))
        };
        let patches: Vec<Value> = records.iter().enumerate().filter_map(patch).collect();
        std::fs::write(folder.path().join("detections.json"), json!(detections).to_string()).unwrap();
        std::fs::write(folder.path().join("patches.json"), json!(patches).to_string()).unwrap();
        folder
    }

    fn open(folder: &Path, config: &RunConfig) -> Recorded {
        recorded(&folder.join("patches.json"), folder.join("detections.json"), config).unwrap()
    }

    /// The response to each record's prompt.
    fn answers(recorded: &Recorded, folder: &Path, config: &RunConfig) -> Vec<Option<String>> {
        let source = Source { corpus: folder.join("detections.json"), manifests: None };
        let mut answers = Vec::new();
        each_prompt(&source, config, &mut |prompt| {
            answers.push(recorded.answers.answer(prompt.text).map(str::to_owned));
        })
        .unwrap();
        answers
    }

    #[test]
    fn records_of_one_document_are_distinguished_by_their_violation() {
        let patch = |path: &str| Some(json!([{"op": "remove", "path": path}]));
        let other = POD.replace("web", "wep");
        let folder = folder(&[
            ("unset-cpu-requirements", "no cpu", POD, patch("/a")),
            ("unset-cpu-requirements", "no memory", POD, patch("/b")),
            ("unset-cpu-requirements", "no memory", POD, patch("/c")),
            ("unset-cpu-requirements", "something else", POD, None),
            ("latest-tag", "no cpu", POD, None),
            ("unset-cpu-requirements", "no cpu", &other, None),
        ]);
        let config = RunConfig::default();
        let recorded = open(folder.path(), &config);
        assert_eq!((recorded.patches, recorded.shadowed, recorded.without_prompt), (3, 1, 0));
        let answers = answers(&recorded, folder.path(), &config);
        let removal = |path: &str| Some(format!(r#"{{"patch":[{{"op":"remove","path":"{path}"}}]}}"#));
        assert_eq!(answers, [removal("/a"), removal("/b"), removal("/b"), None, None, None]);
    }

    #[test]
    fn a_secret_is_replaced_by_its_token_and_only_at_its_own_place() {
        let yaml = POD.replace("LONG", &"word ".repeat(200)).replace("- name: hunter2", "- name: main");
        let patch = json!([
            {"op": "test", "path": "/spec/containers/0/env/0/value", "value": "hunter2"},
            {"op": "replace", "path": "/spec/containers/0/env/0", "value": {"name": "DB_PASSWORD", "value": "hunter2"}},
            {"op": "replace", "path": "/spec/containers/0/args/0", "value": "--db-password=hunter2"},
            {"op": "add", "path": "/metadata/labels", "value": {"pet": "hunter2"}},
        ]);
        let records = [("env-var-secret", "DB_PASSWORD holds hunter2", yaml.as_str(), Some(patch.clone()))];
        let folder = folder(&records);
        for prompt_bytes in [60_000, 3000] {
            let mut config = RunConfig::default();
            config.proposer.prompt_bytes = prompt_bytes;
            let recorded = open(folder.path(), &config);
            let source = Source { corpus: folder.path().join("detections.json"), manifests: None };
            let mut seen = 0;
            each_prompt(&source, &config, &mut |prompt| {
                seen += 1;
                let answer = recorded.answers.answer(prompt.text).unwrap();
                let given = parse::parse(answer).unwrap();
                let shown = serde_json::to_value(&given).unwrap();
                assert_eq!(shown[1]["value"]["value"], format!("{}1", prompt.masked.prefix()), "{answer}");
                assert_eq!(
                    answer.matches("hunter2").count(),
                    1,
                    "a label is not the place of the secret: {answer}"
                );
                let restored = prompt.masked.restore(&given).unwrap();
                assert_eq!(serde_json::to_value(restored).unwrap(), patch, "masking is reversible");
            })
            .unwrap();
            assert_eq!(seen, 1, "{prompt_bytes}");
        }
    }

    /// Every record of the published run has a response.
    #[test]
    fn the_published_run_can_be_replayed() {
        let Some(folder) = domain::testing::corpus("grok_5k_dev") else { return };
        let (patches, detections) = (folder.join("patches.json.gz"), folder.join("detections.json.gz"));
        let config = RunConfig::default();
        let recorded = recorded(&patches, detections.clone(), &config).unwrap();
        assert_eq!((recorded.patches, recorded.without_prompt), (2462, 0));
        assert!(recorded.shadowed <= 1, "{}", recorded.shadowed);
        let (mut prompts, mut restored, mut masked_documents, mut repeats) = (0, 0, 0, 0);
        each_prompt(&Source { corpus: detections, manifests: None }, &config, &mut |prompt| {
            prompts += 1;
            let answer = recorded.answers.answer(prompt.text);
            let answer = answer.unwrap_or_else(|| panic!("no response for {}", prompt.record.id));
            let patch = parse::parse(answer).unwrap();
            match prompt.masked.restore(&patch) {
                Ok(_) => restored += 1,
                Err(error) => println!("{}: {error}", prompt.record.id),
            }
            masked_documents += usize::from(!prompt.masked.is_empty());
            repeats += usize::from(answer.contains(prompt.masked.prefix()));
        })
        .unwrap();
        println!("{masked_documents} masked, {restored} of {prompts} restored, {repeats} repeat a token");
        assert_eq!(prompts, 2462);
        assert!(restored * 100 >= prompts * 99, "{restored}");
    }
}
