//! The first question about each record of a corpus, without the run: for batches, which are submitted before it.

use std::time::Instant;

use corpus::parallel;
use domain::config::{ModelConfig, RunConfig};
use domain::ids::AnswerKey;
use domain::record::{Record, Slice, SourceDocument};
use engine::propose::dialogue::Step;
use llm::batch;
use llm::providers::Destination;
use llm::request::{estimated_tokens, prompt_tokens};

use crate::gateway_client::USUAL_ANSWER;
use crate::pipeline::{Asking, plan};

/// Records of a slice, in which each document is parsed once.
const SLICE: usize = 125;

/// Slices that are worked on together.
const TOGETHER: usize = 8;

/// A first question. Several records may have the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstQuestion {
    /// Its key in the response cache.
    pub key: AnswerKey,
    /// Its line in the file of a batch.
    pub line: Vec<u8>,
    /// Estimated tokens of its prompt.
    pub prompt_tokens: u64,
    /// Estimated tokens of its answer, reasoning included.
    pub answer_tokens: u64,
}

/// Collects the first questions while a corpus is read, on as many threads as the machine has. Every sample is a question.
#[derive(Debug)]
pub struct FirstQuestions {
    config: RunConfig,
    destination: Destination,
    full: Vec<Slice>,
    slice: Slice,
}

impl FirstQuestions {
    /// For runs of `config`, which has an LLM proposer; its provider is called at `destination`.
    pub fn new(config: RunConfig, destination: Destination) -> Self {
        Self { config, destination, full: Vec::new(), slice: Slice::default() }
    }

    /// Adds the next record; returns the questions that are ready, in the order of the records.
    pub fn add(&mut self, record: Record, document: SourceDocument) -> Vec<FirstQuestion> {
        if self.slice.documents.last().is_none_or(|last| last.hash != document.hash) {
            self.slice.documents.push(document);
        }
        self.slice.records.push(record);
        if self.slice.records.len() < SLICE {
            return Vec::new();
        }
        self.full.push(std::mem::take(&mut self.slice));
        if self.full.len() < TOGETHER { Vec::new() } else { self.flush() }
    }

    /// The last questions, at the end of the corpus.
    pub fn flush(&mut self) -> Vec<FirstQuestion> {
        let mut slices = std::mem::take(&mut self.full);
        slices.push(std::mem::take(&mut self.slice));
        let Some(model) = self.config.model() else { return Vec::new() };
        let questions = parallel::map(&slices, |slice| self.of_slice(slice, model));
        questions.into_iter().flatten().collect()
    }

    fn of_slice(&self, slice: &Slice, model: &ModelConfig) -> Vec<FirstQuestion> {
        let config = &self.config;
        let mut questions = Vec::new();
        for task in &plan(slice, config, Instant::now(), None).tasks {
            let Step::Ask(messages) =
                task.begin(&task.case(slice, config, &|| 0.0, &crate::verifier::verify)).1
            else {
                // The document is too long for a prompt.
                continue;
            };
            let asking = Asking {
                destination: &self.destination,
                model,
                proposer: &config.proposer,
                form: config.proposer.answer_form.first(),
                document: task.document(slice),
            };
            for sample in 0..config.proposer.samples {
                let question = asking.question(messages.clone(), sample);
                let prompt_tokens = prompt_tokens(&question);
                let answer_tokens = estimated_tokens(&question, USUAL_ANSWER).saturating_sub(prompt_tokens);
                let key = question.key();
                let line = batch::line(&key, &question);
                questions.push(FirstQuestion { key, line, prompt_tokens, answer_tokens });
            }
        }
        questions
    }
}
