//! The first question about each record of a corpus, without the run: for batches, which are submitted before it.

use std::time::Instant;

use domain::answer::Question;
use domain::config::RunConfig;
use domain::record::{Record, Slice, SourceDocument};
use engine::propose::dialogue::Step;
use llm::providers::Destination;
use llm::request::{estimated_tokens, prompt_tokens};

use crate::gateway_client::USUAL_ANSWER;
use crate::pipeline::{Asking, plan};

/// Records of a batch, in which each document is parsed once.
const BATCH: usize = 500;

/// A first question. Several records may have the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstQuestion {
    /// The question.
    pub question: Question,
    /// Estimated tokens of its prompt.
    pub prompt_tokens: u64,
    /// Estimated tokens of its answer, reasoning included.
    pub answer_tokens: u64,
}

/// Collects the first questions while a corpus is read. Every sample is a question.
#[derive(Debug)]
pub struct FirstQuestions {
    config: RunConfig,
    destination: Destination,
    slice: Slice,
}

impl FirstQuestions {
    /// For runs of `config`, which has an LLM proposer; its provider is called at `destination`.
    pub fn new(config: RunConfig, destination: Destination) -> Self {
        Self { config, destination, slice: Slice::default() }
    }

    /// Adds the next record; returns the questions that are ready.
    pub fn add(&mut self, record: Record, document: SourceDocument) -> Vec<FirstQuestion> {
        if self.slice.documents.last().is_none_or(|last| last.hash != document.hash) {
            self.slice.documents.push(document);
        }
        self.slice.records.push(record);
        if self.slice.records.len() >= BATCH { self.flush() } else { Vec::new() }
    }

    /// The last questions, at the end of the corpus.
    pub fn flush(&mut self) -> Vec<FirstQuestion> {
        let slice = std::mem::take(&mut self.slice);
        let config = &self.config;
        let Some(model) = config.model() else { return Vec::new() };
        let plan = plan(&slice, config, Instant::now(), None);
        let mut questions = Vec::new();
        for task in &plan.tasks {
            let Step::Ask(messages) =
                task.begin(&task.case(&slice, config, &|| 0.0, &crate::verifier::verify)).1
            else {
                // The document is too long for a prompt.
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
                let prompt_tokens = prompt_tokens(&question);
                let answer_tokens = estimated_tokens(&question, USUAL_ANSWER).saturating_sub(prompt_tokens);
                questions.push(FirstQuestion { question, prompt_tokens, answer_tokens });
            }
        }
        questions
    }
}
