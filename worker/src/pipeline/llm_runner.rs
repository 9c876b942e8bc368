//! Runs the LLM proposer over a slice. Records with equal document, policy and message share one conversation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};

use domain::answer::{Question, Sampling};
use domain::budget::Usage;
use domain::config::{ModelConfig, ProposerMode, RunConfig};
use domain::outcome::{ErrorKind, ModelUsage, Outcome};
use domain::record::{Problem, Slice};
use engine::propose::dialogue::{Case, Dialogue, Step};
use engine::propose::{Decision, prompt};
use engine::verify::{Candidate, Clock};

use super::context::{Context, ms_since, within_bounds};
use super::plan::{Action, PlannedRecord, ProposalTask, SlicePlan, plan};
use super::progress::Progress;
use super::record::FinishedRecord;
use super::repair_result::RepairResult;
use crate::cpu_pool::{CpuPool, Crashed};
use crate::gateway_client::{Completion, LlmClient};
use crate::verifier::verify_asking;

/// Computes one outcome for each record, in the order of the slice; `None` when the run has stopped or the worker ends.
pub(crate) async fn run_llm_slice(
    slice: Arc<Slice>,
    context: Arc<Context>,
    llm_client: &LlmClient,
    pool: &CpuPool,
    progress: &Progress,
) -> Result<Option<Vec<Outcome>>, Crashed> {
    let (planned_slice, planned_context) = (Arc::clone(&slice), Arc::clone(&context));
    let planning = move || {
        let Context { config, arrived, server, .. } = &*planned_context;
        plan(&planned_slice, config, *arrived, server.as_deref())
    };
    let SlicePlan { records, tasks } = pool.run(planning).await?;
    if context.is_stopped() {
        return Ok(None);
    }
    let runner = LlmRunner { slice: Arc::clone(&slice), context: Arc::clone(&context), llm_client, pool };
    let mut running: FuturesUnordered<_> = tasks
        .into_iter()
        .map(|task| {
            let (runner, task) = (&runner, Arc::new(task));
            async move { (task.number, runner.run(task).await) }
        })
        .collect();
    progress.begin(running.len());
    let mut finished = HashMap::new();
    while let Some((number, task)) = running.next().await {
        let Some(task) = task else { return Ok(None) };
        finished.insert(number, task);
        progress.settle();
    }
    let rows = slice.records.iter().zip(records).map(|(record, planned)| {
        let computed = planned.computed();
        let PlannedRecord { policy, identity, action, started_at_us, turn_ms, planned_ms, .. } = planned;
        let (result, queue_ms, total_ms) = match action {
            Action::Skip(result) => (result, turn_ms, planned_ms),
            Action::Ask { task, first } => match finished.get(&task) {
                // The records that share a task wait for the conversation of the first.
                Some(FinishedTask { result, waited_ms, ended_ms }) => {
                    let waited_ms = if first { *waited_ms } else { ended_ms - planned_ms };
                    (Arc::clone(result), turn_ms + waited_ms, *ended_ms)
                }
                // Unreachable: every task has finished.
                None => (Arc::new(RepairResult::no_answer(&[], None)), turn_ms, planned_ms),
            },
        };
        FinishedRecord {
            record,
            policy: &policy,
            identity,
            result,
            computed,
            queue_ms,
            total_ms,
            started_at_us,
        }
        .into_outcome(&context)
    });
    Ok(Some(rows.collect()))
}

/// The LLM request for these messages to `endpoint`, with the sampling of the configuration.
pub(crate) fn question(
    endpoint: &str,
    model: &ModelConfig,
    config: &RunConfig,
    messages: Vec<domain::answer::Message>,
    sample: u32,
) -> Question {
    let proposer = &config.proposer;
    // Without sampling a seed has no effect, and some providers refuse it.
    let draws = proposer.temperature.is_none_or(|temperature| temperature > 0.0) || proposer.samples > 1;
    let sampling = Sampling {
        temperature: proposer.temperature,
        seed: draws.then(|| config.seed.wrapping_add(sample.into())),
        max_tokens: (proposer.max_tokens > 0).then_some(proposer.max_tokens),
        form: prompt::form(proposer.answer_form),
    };
    Question { endpoint: endpoint.to_owned(), model: model.model.clone(), messages, sampling, sample }
}

/// What the conversations of a slice share.
struct LlmRunner<'r> {
    slice: Arc<Slice>,
    context: Arc<Context>,
    llm_client: &'r LlmClient,
    pool: &'r CpuPool,
}

/// The result of a task.
struct FinishedTask {
    result: Arc<RepairResult>,
    /// How long the chosen sample waited, from the end of the plan's turn on.
    waited_ms: f64,
    /// When the last sample ended, ms after the slice arrived.
    ended_ms: f64,
}

/// One sample: a conversation with the LLM, its usage and its times.
struct Conversation {
    result: RepairResult,
    attempts: u32,
    errors: Vec<String>,
    usage: Usage,
    /// Cost of its calls in US dollars; `None`: that of one is not known. Added up by calls, because a long one has another
    /// price.
    cost_usd: Option<f64>,
    answers: u32,
    /// Whether a response came from a call and not from the cache.
    paid: bool,
    /// Duration of the calls, failed ones included; `None`: there was none.
    called: Option<Duration>,
    cpu_ms: f64,
    /// Time spent waiting for the CPU pool, for permits, and before retries.
    waited_ms: f64,
}

impl LlmRunner<'_> {
    /// Holds one conversation for each configured sample; `None`: stopped.
    async fn run(&self, task: Arc<ProposalTask>) -> Option<FinishedTask> {
        let started_ms = self.context.now_ms();
        let samples = self.context.config.proposer.samples;
        let conversations = (0..samples).map(|sample| self.converse(Arc::clone(&task), sample));
        let conversations: Vec<Option<Conversation>> = futures::future::join_all(conversations).await;
        let conversations: Vec<Conversation> = conversations.into_iter().collect::<Option<_>>()?;
        let (result, waited_ms) = combine(conversations, task.decided_ms);
        Some(FinishedTask {
            result: Arc::new(result),
            waited_ms: started_ms - task.planned_ms + waited_ms,
            ended_ms: self.context.now_ms(),
        })
    }

    /// One conversation; `None`: stopped.
    async fn converse(&self, task: Arc<ProposalTask>, sample: u32) -> Option<Conversation> {
        let mut conversation = Conversation::new(&task, &self.context.config);
        let first = self.compute(&task, &mut conversation, |case| Dialogue::begin(&case)).await;
        let Some((mut dialogue, mut step)) = first else { return Some(conversation) };
        while let Step::Ask(messages) = step {
            // What the gates said without an answer of the API server does not count.
            if self.context.is_stopped() {
                return None;
            }
            let (llm_client, config) = (self.llm_client, &self.context.config);
            let question = question(llm_client.endpoint(), llm_client.model(), config, messages, sample);
            let start = Instant::now();
            let completion = self.llm_client.complete(question).await;
            let elapsed = start.elapsed();
            let next = match completion {
                Completion::Stopped => return None,
                Completion::Answered { answer, took } => {
                    conversation.usage += answer.usage;
                    conversation.cost_usd =
                        sum(conversation.cost_usd, llm_client.model().price.of(&answer.usage));
                    conversation.answers += 1;
                    conversation.paid |= took.is_some();
                    conversation.add_call(elapsed, took);
                    let advance = move |case: Case<'_>| {
                        let step = dialogue.answered(&case, &answer.content);
                        (dialogue, step)
                    };
                    self.compute(&task, &mut conversation, advance).await
                }
                Completion::Unanswered { why, took } => {
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
        let mode = self.context.config.proposer.mode;
        let concluded = Arc::clone(&task);
        let result = self
            .compute(&task, &mut conversation, move |case| conclude(&case, &concluded, step, &dialogue, mode))
            .await;
        if let Some(result) = result {
            conversation.result = result;
        }
        (!self.context.is_stopped()).then_some(conversation)
    }

    /// Runs `work` on the CPU pool and counts its time; `None`: it panicked or took too many steps, which becomes the
    /// result.
    async fn compute<T: Send + 'static>(
        &self,
        task: &Arc<ProposalTask>,
        conversation: &mut Conversation,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (slice, context, task) = (Arc::clone(&self.slice), Arc::clone(&self.context), Arc::clone(task));
        let queued = Instant::now();
        let done = self.pool.run(move || {
            let start = Instant::now();
            let clock = || ms_since(start);
            let server = context.server.as_deref();
            let verify = |candidate: Candidate<'_>, config: &RunConfig, clock: Clock<'_>| {
                verify_asking(candidate, config, clock, server)
            };
            let case = task.case(&slice, &context.config, &clock, &verify);
            let value = within_bounds("talking with the model", &context.config.limits, move || work(case));
            (value, clock())
        });
        let done = done.await;
        let elapsed_ms = ms_since(queued);
        let failed = match done {
            Ok((value, ms)) => {
                conversation.cpu_ms += ms;
                conversation.waited_ms += (elapsed_ms - ms).max(0.0);
                match value {
                    Ok(value) => return Some(value),
                    Err(problem) => problem,
                }
            }
            Err(crashed) => Problem { kind: ErrorKind::Internal, message: crashed.to_string() },
        };
        conversation.result = RepairResult::failed(failed);
        None
    }
}

impl Conversation {
    fn new(task: &ProposalTask, config: &RunConfig) -> Self {
        Self {
            result: RepairResult::no_answer(&[], Some((&task.parsed, config))),
            attempts: 0,
            errors: Vec::new(),
            usage: Usage::default(),
            cost_usd: Some(0.0),
            answers: 0,
            paid: false,
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

/// The result at the end of a dialogue.
fn conclude(
    case: &Case<'_>,
    task: &ProposalTask,
    step: Step,
    dialogue: &Dialogue,
    mode: ProposerMode,
) -> RepairResult {
    match step {
        Step::Done(judged) => {
            RepairResult::judged(mode, judged.proposal, judged.verification, &task.parsed, case.config)
        }
        Step::Fallback(Some(Decision::Repair(proposal))) => {
            let verification = case.verify(&proposal);
            RepairResult::judged(ProposerMode::Rules, proposal, verification, &task.parsed, case.config)
        }
        Step::Fallback(Some(decision @ (Decision::NeedsReview { .. } | Decision::NotApplicable { .. }))) => {
            RepairResult::without_proposal(decision, &task.policy, &task.parsed, case.config)
        }
        Step::Fallback(_) | Step::Ask(_) => RepairResult {
            source: mode,
            ..RepairResult::no_answer(dialogue.errors(), Some((&task.parsed, case.config)))
        },
    }
}

/// Combines the samples of a task into one result, and returns how long the chosen sample waited. Chosen is the first
/// whose own patch was accepted, else the first with an accepted fallback patch, else the first. Usage is that of all
/// samples, times are those of the chosen one.
fn combine(conversations: Vec<Conversation>, decided_ms: f64) -> (RepairResult, f64) {
    let many = conversations.len() > 1;
    let samples = conversations.len();
    let passed = conversations.iter().filter(|conversation| conversation.result.is_passed_sample()).count();
    let (mut usage, mut cost_usd, mut answers, mut paid) = (Usage::default(), Some(0.0), 0, false);
    let (mut attempts, mut errors) = (0, Vec::new());
    let mut best: Option<(RepairResult, f64)> = None;
    for (sample, conversation) in conversations.into_iter().enumerate() {
        usage += conversation.usage;
        cost_usd = sum(cost_usd, conversation.cost_usd);
        answers += conversation.answers;
        attempts += conversation.attempts;
        paid |= conversation.paid;
        let (propose_ms, llm_ms) = (conversation.propose_ms(), conversation.llm_ms());
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
            ..if answers == 0 { ModelUsage::default() } else { used(usage, cost_usd, !paid) }
        },
        ..result
    };
    (result, waited_ms)
}

/// The sum of two costs; `None` where one is not known.
fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? + other?)
}

/// The usage as a row has it. No prompt has 0 tokens: such a count beside a total means that the provider counted the total
/// alone.
fn used(usage: Usage, cost_usd: Option<f64>, cache_hit: bool) -> ModelUsage {
    let is_split = usage.prompt > 0 || usage.total == 0;
    let told = |count: u64| (is_split || count > 0).then_some(count);
    ModelUsage {
        prompt_tokens: told(usage.prompt),
        completion_tokens: told(usage.completion),
        reasoning_tokens: told(usage.reasoning),
        total_tokens: Some(usage.total),
        estimated_tokens: Some(usage.estimated),
        cost_usd,
        cache_hit: Some(cache_hit),
        ..ModelUsage::default()
    }
}
