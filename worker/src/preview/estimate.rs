//! Estimates the LLM calls and tokens that a run over a corpus needs, before any call is made.

use std::collections::HashSet;
use std::time::Instant;

use domain::config::RunConfig;
use domain::ids::AnswerKey;
use domain::record::{Record, Slice, SourceDocument};
use engine::propose::dialogue::Step;
use llm::providers::Destination;
use llm::request::estimated_tokens;

use crate::gateway_client::USUAL_ANSWER;
use crate::pipeline::{Asking, plan};

/// Records of a batch, in which each document is parsed once.
const BATCH: usize = 500;

/// Counts over a corpus. Tokens are estimates: four bytes of text make about one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Records of the corpus.
    pub records: u64,
    /// Records without an LLM call: unreadable ones, unrendered templates, those with nothing to fix, and those whose
    /// document is too long for a prompt.
    pub unasked: u64,
    /// Records that share the prompt of another.
    pub shared: u64,
    /// Distinct first calls; each sample counts.
    pub questions: u64,
    /// Those of them with a cached response.
    pub known: u64,
    /// Prompt tokens of the calls to make.
    pub prompt_tokens: u64,
    /// Completion tokens of these calls, reasoning included.
    pub answer_tokens: u64,
    /// Tokens of the longest of these prompts.
    pub longest_prompt: u64,
}

/// Accumulates the estimate while a corpus is read.
pub struct Estimator<'k> {
    config: RunConfig,
    destination: Destination,
    slice: Slice,
    seen: HashSet<AnswerKey>,
    is_known: Box<dyn FnMut(&AnswerKey) -> bool + 'k>,
    estimate: Estimate,
}

impl std::fmt::Debug for Estimator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Estimator").field("estimate", &self.estimate).finish_non_exhaustive()
    }
}

impl<'k> Estimator<'k> {
    /// An estimator for runs of `config`, which has an LLM proposer; its provider is called at `destination`. `is_known`
    /// returns whether a response is cached.
    pub fn new(
        config: RunConfig,
        destination: Destination,
        is_known: impl FnMut(&AnswerKey) -> bool + 'k,
    ) -> Self {
        Self {
            config,
            destination,
            slice: Slice::default(),
            seen: HashSet::new(),
            is_known: Box::new(is_known),
            estimate: Estimate::default(),
        }
    }

    /// Adds the next record.
    pub fn add(&mut self, record: Record, document: SourceDocument) {
        if self.slice.documents.last().is_none_or(|last| last.hash != document.hash) {
            self.slice.documents.push(document);
        }
        self.slice.records.push(record);
        if self.slice.records.len() >= BATCH {
            self.flush();
        }
    }

    /// Returns the estimate at the end of the corpus.
    pub fn finish(mut self) -> Estimate {
        self.flush();
        self.estimate
    }

    fn flush(&mut self) {
        let slice = std::mem::take(&mut self.slice);
        let plan = plan(&slice, &self.config, Instant::now(), None);
        let config = &self.config;
        let Some(model) = config.model() else { return };
        let estimate = &mut self.estimate;
        let records = slice.records.len() as u64;
        let llm_records = plan.llm_records();
        estimate.records += records;
        estimate.unasked += records - llm_records;
        estimate.shared += llm_records;
        for task in &plan.tasks {
            let Step::Ask(messages) =
                task.begin(&task.case(&slice, config, &|| 0.0, &crate::verifier::verify)).1
            else {
                // The document is too long for a prompt.
                estimate.unasked += 1;
                estimate.shared -= 1;
                continue;
            };
            let asking = Asking {
                destination: &self.destination,
                model,
                proposer: &config.proposer,
                form: config.proposer.answer_form.first(),
                document: task.document(&slice),
            };
            for sample in 0..config.proposer.samples {
                let question = asking.question(messages.clone(), sample);
                let key = question.key();
                if !self.seen.insert(key) {
                    continue;
                }
                estimate.questions += 1;
                estimate.shared -= u64::from(sample == 0);
                if (self.is_known)(&key) {
                    estimate.known += 1;
                    continue;
                }
                let all = estimated_tokens(&question, USUAL_ANSWER);
                let answer = all - estimated_tokens(&question, 0);
                estimate.prompt_tokens += all - answer;
                estimate.longest_prompt = estimate.longest_prompt.max(all - answer);
                estimate.answer_tokens += answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::config::{Guardrails, ProposerMode};

    use super::*;

    #[test]
    fn each_call_counts_once_and_a_cached_response_costs_nothing() {
        let mut config = RunConfig { guardrails: Guardrails::Merge, ..RunConfig::default() };
        config.proposer.mode = ProposerMode::Vllm;
        let pod = |name: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: 'b:1', securityContext: {{privileged: true}}}}]}}\n"
            )
        };
        let estimate = |config: &RunConfig, known: bool| {
            let mut estimator = Estimator::new(config.clone(), Destination::default(), |_| known);
            for (position, name) in ["a", "a", "b"].iter().enumerate() {
                let (record, document) =
                    domain::testing::record(position as u64, "privileged-container", &pod(name));
                estimator.add(record, document);
            }
            let (record, document) = domain::testing::record(3, "ssh-port", &pod("a"));
            estimator.add(record, document);
            estimator.finish()
        };
        let first = estimate(&config, false);
        assert_eq!((first.records, first.unasked, first.shared, first.questions), (4, 1, 1, 2));
        assert!(first.prompt_tokens > 500 && first.answer_tokens == 2 * USUAL_ANSWER, "{first:?}");
        let known = estimate(&config, true);
        assert_eq!((known.questions, known.known, known.prompt_tokens), (2, 2, 0));
        config.guardrails = Guardrails::None;
        let raw = estimate(&config, false);
        assert_eq!((raw.unasked, raw.questions), (0, 3), "without guardrails there is a call for everything");
    }
}
