//! Builds the prompts of a corpus as a run builds them.

use std::sync::Arc;

use domain::answer::Role;
use domain::config::{Guardrails, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::GateResult;
use domain::policy::PolicyName;
use domain::record::Record;
use engine::document::Document;
use engine::propose::dialogue::{Case, Dialogue, Step};
use engine::propose::mask::Masked;
use engine::verify::Before;
use serde_json::Value;

use corpus::{Source, read};

/// The first prompt of a record's conversation.
pub(super) struct Prompt<'p> {
    pub(super) record: &'p Record,
    pub(super) policy: &'p PolicyName,
    /// The first user message, which later attempts repeat.
    pub(super) text: &'p str,
    /// Document with its secrets.
    pub(super) document: &'p Value,
    /// Document as the prompt shows it.
    pub(super) masked: &'p Masked,
}

/// Calls `each` with the prompt of every record of `source`, for runs of `config`. Records without a prompt are left
/// out: those that cannot be read, and those whose document is too long for a prompt.
pub(super) fn each_prompt(
    source: &Source,
    config: &RunConfig,
    each: &mut dyn FnMut(&Prompt<'_>),
) -> anyhow::Result<()> {
    // Without guardrails only the prompt is computed.
    let prompting = RunConfig { guardrails: Guardrails::None, ..config.clone() };
    // The prompt does not depend on the findings.
    let before = Before { findings: Vec::new(), schema: GateResult::NOT_RUN, server: None };
    let mut last: Option<(DocumentHash, Option<Document>)> = None;
    read::<anyhow::Error>(source, config, &mut |record, source| {
        if record.problem.is_some() {
            return Ok(());
        }
        if last.as_ref().is_none_or(|(hash, _)| *hash != source.hash) {
            last = Some((source.hash, Document::parse(&source.text, &config.limits).ok()));
        }
        let Some((_, Some(document))) = &last else { return Ok(()) };
        let policy = record.policy();
        let case = Case {
            document,
            neighbours: &source.neighbours,
            before: &before,
            policy: &policy,
            violation: &record.violation_text,
            config: &prompting,
            clock: &|| 0.0,
            verify: &crate::verifier::verify,
        };
        let masked = Arc::new(Dialogue::masked_document(&document.value, &prompting));
        let (dialogue, step) = Dialogue::begin(&case, masked);
        let Step::Ask(messages) = step else { return Ok(()) };
        let Some(message) = messages.iter().find(|message| message.role == Role::User) else { return Ok(()) };
        each(&Prompt {
            record: &record,
            policy: &policy,
            text: &message.content,
            document: &document.value,
            masked: dialogue.masked(),
        });
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use domain::config::ProposerMode;
    use domain::record::Slice;

    use super::*;
    use crate::pipeline::plan;

    /// The prompts built here are those that the proposer sends.
    #[test]
    fn the_prompts_are_those_of_the_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("detections.json");
        let pod = "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: [{name: a, image: 'nginx:1', \
                   env: [{name: PASSWORD, value: hunter2}], securityContext: {privileged: true}}]}\n";
        let detection = |id: &str, policy: &str, yaml: &str| serde_json::json!({"id": id, "manifest_yaml": yaml, "policy_id": policy, "violation_text": "it holds hunter2"});
        let detections = serde_json::json!([
            detection("1", "privileged-container", pod),
            detection("2", "latest-tag", pod),
            detection("3", "latest-tag", "a: [b"),
        ]);
        std::fs::write(&corpus, detections.to_string()).unwrap();
        let source = Source { corpus, manifests: None };
        let mut config = RunConfig { guardrails: Guardrails::None, ..RunConfig::default() };
        config.proposer.mode = ProposerMode::Vllm;
        let mut built = Vec::new();
        each_prompt(&source, &config, &mut |prompt| {
            built.push((prompt.record.id.to_string(), prompt.text.to_owned()));
        })
        .unwrap();
        let mut slice = Slice::default();
        read::<anyhow::Error>(&source, &config, &mut |record, document| {
            slice.records.push(record);
            slice.documents.push(document);
            Ok(())
        })
        .unwrap();
        let plan = plan(&slice, &config, Instant::now(), None);
        let sent: Vec<String> = plan
            .tasks
            .iter()
            .filter_map(|task| {
                match task.begin(&task.case(&slice, &config, &|| 0.0, &crate::verifier::verify)).1 {
                    Step::Ask(messages) => Some(messages[1].content.to_string()),
                    _ => None,
                }
            })
            .collect();
        assert_eq!(built.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(built.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), sent);
        assert!(sent.iter().all(|text| !text.contains("hunter2")));
    }
}
