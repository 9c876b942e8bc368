//! The rules' patches as responses to the prompts of a corpus, so that a run against the simulated provider behaves
//! like one against an LLM.

use domain::config::RunConfig;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use mock_llm::{EMPTY_PATCH, PromptAnswers};
use serde_json::json;

use super::prompts::{Prompt, each_prompt};
use corpus::Source;

/// The rules' responses to the prompts of a corpus.
pub(crate) struct ByRules {
    pub(crate) answers: PromptAnswers,
    /// Records that have a prompt.
    pub(crate) records: u64,
}

/// Builds a response by the rules for every prompt of the corpus.
pub(crate) fn by_rules(corpus: &Source, config: &RunConfig) -> anyhow::Result<ByRules> {
    let (mut answers, mut records) = (PromptAnswers::default(), 0);
    each_prompt(corpus, config, &mut |prompt| {
        records += 1;
        // Records with equal prompts share the response.
        if !answers.contains(prompt.text) {
            answers.insert(prompt.text, &answer(prompt, config));
        }
    })?;
    Ok(ByRules { answers, records })
}

/// The rules' patch for the document as it is shown, secrets masked; an empty patch where the rules have none.
fn answer(prompt: &Prompt<'_>, config: &RunConfig) -> String {
    let Ok(document) = Document::from_value(prompt.masked.value.clone()) else {
        return EMPTY_PATCH.to_owned();
    };
    let view = View::new(&document, &Neighbours::Unknown);
    match rules::propose(&view, prompt.policy, &config.rules) {
        Decision::Repair(proposal) => json!({"patch": proposal.patch}).to_string(),
        Decision::NeedsReview { .. } | Decision::NotApplicable { .. } | Decision::NoRule => {
            EMPTY_PATCH.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::propose::parse;

    use super::*;

    #[test]
    fn a_prompt_gets_the_patch_of_its_policy() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("detections.json");
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: nginx, \
                   securityContext: {privileged: true}}]}";
        let detection = |id: &str, policy: &str| json!({"id": id, "manifest_yaml": pod, "policy_id": policy, "violation_text": "x"});
        let detections = json!([
            detection("1", "no_privileged"),
            detection("2", "dangling_service"),
            detection("3", "no_privileged"),
        ]);
        std::fs::write(&corpus, detections.to_string()).unwrap();
        let (source, config) = (Source { corpus, manifests: None }, RunConfig::default());
        let ByRules { answers, records } = by_rules(&source, &config).unwrap();
        assert_eq!((records, answers.len()), (3, 2));
        each_prompt(&source, &config, &mut |prompt| {
            let answer = answers.answer(prompt.text).unwrap();
            if prompt.record.id.as_str() == "2" {
                assert_eq!(answer, EMPTY_PATCH);
            } else {
                let patch = parse::parse(answer).unwrap();
                assert!(
                    patch.to_json().contains("/spec/containers/0/securityContext/privileged"),
                    "{patch:?}"
                );
            }
        })
        .unwrap();
        assert_eq!(answers.answer("Reply with the single word OK."), None);
    }
}
