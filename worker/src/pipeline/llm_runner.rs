//! Runs the LLM proposer over a slice. Records with equal document, policy and message share one conversation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::answer::{CacheName, Message, Question, Sampling, StickyCache};
use domain::config::{AnswerFormat, ModelConfig, ProposerConfig, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::{ModelUsage, Outcome};
use domain::record::Slice;
use engine::propose::dialogue::{Case, Step};
use engine::propose::prompt;
use llm::providers::Destination;

use super::context::Context;
use super::model_usage::Asked;
use super::plan::ProposalTask;
use super::progress::Progress;
use super::repair_result::RepairResult;
use super::tasks::{FinishedTask, Tasks, conclude};
use crate::cpu_pool::{CpuPool, Crashed};
use crate::gateway_client::{Completion, LlmClient};

/// Computes one outcome for each record, in the order of the slice; `None` when the run has stopped or the worker ends.
pub(crate) async fn run_llm_slice(
    slice: Arc<Slice>,
    context: Arc<Context>,
    llm_client: &LlmClient,
    pool: &CpuPool,
    progress: &Progress,
) -> Result<Option<Vec<Outcome>>, Crashed> {
    let runner = LlmRunner { tasks: Tasks { slice, context, pool }, llm_client };
    runner.tasks.run(progress, |task| runner.run(task)).await
}

/// How the questions about a document are put.
pub(crate) struct Asking<'a> {
    pub(crate) destination: &'a Destination,
    pub(crate) model: &'a ModelConfig,
    pub(crate) proposer: &'a ProposerConfig,
    /// The form that answers are asked in.
    pub(crate) form: AnswerFormat,
    /// The document.
    pub(crate) document: Option<DocumentHash>,
}

impl Asking<'_> {
    /// The LLM request for these messages, with the parameters of the configuration.
    pub(crate) fn question(&self, messages: Vec<Message>, sample: u32) -> Question {
        let Self { destination, model, proposer, form, document } = self;
        let name = document.map(|hash| hash.to_string());
        let sampling = Sampling {
            temperature: proposer.temperature,
            seed: proposer.seed.map(|seed| seed.wrapping_add(sample.into())),
            max_tokens: (proposer.max_tokens > 0).then_some(proposer.max_tokens),
            form: prompt::form(*form),
            api: proposer.api,
            max_tokens_as: proposer.max_tokens_as,
            reasoning_effort: Some(proposer.reasoning_effort.clone()).filter(|effort| !effort.is_empty()),
            service_tier: proposer.service_tier,
            cache_name: match proposer.sticky_cache {
                StickyCache::Off => None,
                StickyCache::PromptCacheKey => name.map(CacheName::PromptCacheKey),
                StickyCache::XGrokConvId => name.map(CacheName::XGrokConvId),
            },
            extra_body: proposer.extra_body.clone(),
            extra_headers: destination.headers.clone(),
        };
        let endpoint = destination.endpoint.clone();
        Question { endpoint, model: model.model.clone(), messages, sampling, sample }
    }
}

/// What the conversations of a slice share.
struct LlmRunner<'r> {
    tasks: Tasks<'r>,
    llm_client: &'r LlmClient,
}

/// One sample: a conversation with the LLM, its usage and its times.
struct Conversation {
    result: RepairResult,
    attempts: u32,
    errors: Vec<String>,
    asked: Asked,
    /// Duration of the calls, failed ones included; `None`: there was none.
    called: Option<Duration>,
    cpu_ms: f64,
    /// Time spent waiting for the CPU pool, for permits, and before retries.
    waited_ms: f64,
}

impl LlmRunner<'_> {
    /// Holds one conversation for each configured sample; `None`: stopped.
    async fn run(&self, task: Arc<ProposalTask>) -> Option<FinishedTask> {
        let started_ms = self.tasks.context.now_ms();
        let samples = self.tasks.context.config.proposer.samples;
        let conversations = (0..samples).map(|sample| self.converse(Arc::clone(&task), sample));
        let conversations: Vec<Option<Conversation>> = futures::future::join_all(conversations).await;
        let conversations: Vec<Conversation> = conversations.into_iter().collect::<Option<_>>()?;
        let (result, waited_ms) = combine(conversations, self.llm_client.model(), task.decided_ms);
        Some(FinishedTask {
            result: Arc::new(result),
            waited_ms: started_ms - task.planned_ms + waited_ms,
            ended_ms: self.tasks.context.now_ms(),
        })
    }

    /// One conversation; `None`: stopped.
    async fn converse(&self, task: Arc<ProposalTask>, sample: u32) -> Option<Conversation> {
        let mut conversation = Conversation::new(&task, &self.tasks.context.config);
        let begun = Arc::clone(&task);
        let first = self.compute(&task, &mut conversation, move |case| begun.begin(&case)).await;
        let Some((mut dialogue, mut step)) = first else { return Some(conversation) };
        while let Step::Ask(messages) = step {
            // What the gates said without an answer of the API server does not count.
            if self.tasks.context.is_stopped() {
                return None;
            }
            let llm_client = self.llm_client;
            conversation.asked.note_question();
            let start = Instant::now();
            let (completion, form) = self.ask(&task, messages, sample).await;
            let elapsed = start.elapsed();
            let next = match completion {
                Completion::Stopped | Completion::FormRefused => return None,
                Completion::Answered { answer, took } => {
                    conversation.asked.add(&answer, llm_client.model(), form, took.is_some());
                    conversation.add_call(elapsed, took);
                    let advance = move |case: Case<'_>| {
                        let step = dialogue.answered(&case, &answer.content);
                        (dialogue, step)
                    };
                    self.compute(&task, &mut conversation, advance).await
                }
                Completion::Unanswered { why, model, took } => {
                    conversation.asked.note_model(&model, llm_client.model());
                    conversation.add_call(elapsed, took);
                    let advance = move |case: Case<'_>| {
                        let step = dialogue.unanswered(&case, &why);
                        (dialogue, step)
                    };
                    self.compute(&task, &mut conversation, advance).await
                }
            };
            let Some(next) = next else { return Some(conversation) };
            (dialogue, step) = next;
        }
        conversation.attempts = dialogue.attempts();
        conversation.errors = dialogue.errors().to_vec();
        let mode = self.tasks.context.config.proposer.mode;
        let concluded = Arc::clone(&task);
        let conclusion = move |case: Case<'_>| conclude(&case, &concluded, step, dialogue.errors(), mode);
        if let Some(result) = self.compute(&task, &mut conversation, conclusion).await {
            conversation.result = result;
        }
        (!self.tasks.context.is_stopped()).then_some(conversation)
    }

    /// Puts a question in the strictest form that the provider takes; returns that form too.
    async fn ask(
        &self,
        task: &ProposalTask,
        messages: Vec<Message>,
        sample: u32,
    ) -> (Completion, AnswerFormat) {
        let llm_client = self.llm_client;
        let mut asking = Asking {
            destination: llm_client.destination(),
            model: llm_client.model(),
            proposer: &self.tasks.context.config.proposer,
            form: llm_client.form(),
            document: task.document(&self.tasks.slice),
        };
        let mut question = Arc::new(asking.question(messages, sample));
        loop {
            let completion = llm_client.complete(Arc::clone(&question), asking.form).await;
            if completion != Completion::FormRefused {
                return (completion, asking.form);
            }
            asking.form = llm_client.form();
            question = Arc::new(asking.question(question.messages.clone(), sample));
        }
    }

    /// Runs `work` on the CPU pool and counts its time; `None`: it panicked or took too many steps, which becomes the
    /// result.
    async fn compute<T: Send + 'static>(
        &self,
        task: &Arc<ProposalTask>,
        conversation: &mut Conversation,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let computation = self.tasks.compute(task, work).await;
        conversation.cpu_ms += computation.cpu_ms;
        conversation.waited_ms += computation.waited_ms;
        computation.value.map_err(|failed| conversation.result = failed).ok()
    }
}

impl Conversation {
    fn new(task: &ProposalTask, config: &RunConfig) -> Self {
        Self {
            result: RepairResult::no_answer(&[], Some((&task.parsed, config))),
            attempts: 0,
            errors: Vec::new(),
            asked: Asked::default(),
            called: None,
            cpu_ms: 0.0,
            waited_ms: 0.0,
        }
    }

    /// Counts a completion that took `elapsed`, of which its calls took `took` and the rest was waiting.
    fn add_call(&mut self, elapsed: Duration, took: Option<Duration>) {
        if let Some(took) = took {
            self.called = Some(self.called.unwrap_or_default() + took);
        }
        self.waited_ms += elapsed.saturating_sub(took.unwrap_or_default()).as_secs_f64() * 1e3;
    }

    /// CPU time without the gates on the chosen patch.
    fn propose_ms(&self) -> f64 {
        (self.cpu_ms - self.result.verify_ms().unwrap_or(0.0)).max(0.0)
    }

    fn llm_ms(&self) -> Option<f64> {
        self.called.map(|called| called.as_secs_f64() * 1e3)
    }
}

/// Combines the samples of a task into one result, and returns how long the chosen sample waited. Chosen is the first
/// whose own patch was accepted, else the first with an accepted fallback patch, else the first. Usage is that of all
/// samples, times are those of the chosen one.
fn combine(conversations: Vec<Conversation>, model: &ModelConfig, decided_ms: f64) -> (RepairResult, f64) {
    let many = conversations.len() > 1;
    let samples = conversations.len();
    let passed = conversations.iter().filter(|conversation| conversation.result.is_passed_sample()).count();
    let mut asked = Asked::default();
    let (mut attempts, mut errors) = (0, Vec::new());
    let mut best: Option<(RepairResult, f64)> = None;
    for (sample, conversation) in conversations.into_iter().enumerate() {
        attempts += conversation.attempts;
        let (propose_ms, llm_ms) = (conversation.propose_ms(), conversation.llm_ms());
        asked.join(conversation.asked);
        let sample_errors = conversation.errors.into_iter();
        errors.extend(
            sample_errors.map(|error| if many { format!("sample {sample}: {error}") } else { error }),
        );
        let rank = |result: &RepairResult| (result.is_passed_sample(), result.is_accepted());
        if best.as_ref().is_none_or(|(best, _)| rank(best) < rank(&conversation.result)) {
            let propose_ms = Some(decided_ms + propose_ms);
            best = Some((RepairResult { propose_ms, llm_ms, ..conversation.result }, conversation.waited_ms));
        }
    }
    let (result, waited_ms) = best.unwrap_or_else(|| (RepairResult::no_answer(&[], None), 0.0));
    let result = RepairResult {
        attempts,
        attempt_errors: errors,
        usage: ModelUsage {
            samples: u64::try_from(samples).ok(),
            samples_passed: u64::try_from(passed).ok(),
            ..asked.usage(model)
        },
        ..result
    };
    (result, waited_ms)
}
