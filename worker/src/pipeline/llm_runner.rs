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

use super::context::{Context, ms_since};
use super::plan::{Action, PlannedRecord, ProposalTask, SlicePlan, plan};
use super::progress::Progress;
use super::record::FinishedRecord;
use super::repair_result::RepairResult;
use crate::cpu_pool::{CpuPool, Crashed};
use crate::gateway_client::{Completion, LlmClient};

/// Makes one outcome for every record, in the order of the slice; `None` when the run has stopped or the worker ends.
pub(crate) async fn run_slice_by_model(
    slice: Arc<Slice>,
    context: Arc<Context>,
    llm_client: &LlmClient,
    pool: &CpuPool,
    progress: &Progress,
) -> Result<Option<Vec<Outcome>>, Crashed> {
    let (shared, around) = (Arc::clone(&slice), Arc::clone(&context));
    let SlicePlan { records, tasks } =
        pool.run(move || plan(&shared, &around.config, around.arrived)).await?;
    let runner = LlmRunner { slice: Arc::clone(&slice), context: Arc::clone(&context), llm_client, pool };
    let mut running: FuturesUnordered<_> = tasks
        .into_iter()
        .map(|task| {
            let (runner, task) = (&runner, Arc::new(task));
            async move { (task.number, runner.run(task).await) }
        })
        .collect();
    progress.begins(running.len());
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
                // What the others wait for is the first one's conversation.
                Some(FinishedTask { result, waited_ms, ended_ms }) => {
                    let waited_ms = if first { *waited_ms } else { ended_ms - planned_ms };
                    (Arc::clone(result), turn_ms + waited_ms, *ended_ms)
                }
                // Cannot be: every task has finished.
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

/// A question with these messages, as the configuration asks it.
pub(crate) fn question(
    model: &ModelConfig,
    config: &RunConfig,
    messages: Vec<domain::answer::Message>,
    sample: u32,
) -> Question {
    let asked = &config.proposer;
    // Where nothing is drawn, a seed says nothing; some providers refuse it.
    let draws = asked.temperature > 0.0 || asked.samples > 1;
    let sampling = Sampling {
        temperature: Some(asked.temperature),
        seed: draws.then(|| config.seed.wrapping_add(sample.into())),
        max_tokens: (asked.max_tokens > 0).then_some(asked.max_tokens),
        form: prompt::form(asked.answer_form),
    };
    Question { endpoint: model.url(), model: model.model.clone(), messages, sampling, sample }
}

/// What every conversation of a slice shares.
struct LlmRunner<'r> {
    slice: Arc<Slice>,
    context: Arc<Context>,
    llm_client: &'r LlmClient,
    pool: &'r CpuPool,
}

/// The result of a task.
struct FinishedTask {
    result: Arc<RepairResult>,
    /// How long the sample that counts waited, from the end of the plan's turn on.
    waited_ms: f64,
    /// When the last sample ended, ms after the slice arrived.
    ended_ms: f64,
}

/// One sample: a conversation with the model, and what it took.
struct Conversation {
    result: RepairResult,
    attempts: u32,
    errors: Vec<String>,
    usage: Usage,
    answers: u32,
    /// Whether an answer was called for, and not there already.
    paid: bool,
    /// How long calls took, failed ones included; `None`: there was none.
    called: Option<Duration>,
    cpu_ms: f64,
    /// Waiting for the CPU pool, for a permit to call, and between tries.
    waited_ms: f64,
}

impl LlmRunner<'_> {
    /// Holds as many conversations about the task as samples are configured; `None`: stopped.
    async fn run(&self, task: Arc<ProposalTask>) -> Option<FinishedTask> {
        let begun_ms = self.context.now_ms();
        let samples = self.context.config.proposer.samples;
        let conversations = (0..samples).map(|sample| self.converse(Arc::clone(&task), sample));
        let conversations: Vec<Option<Conversation>> = futures::future::join_all(conversations).await;
        let conversations: Vec<Conversation> = conversations.into_iter().collect::<Option<_>>()?;
        let (result, waited_ms) = joined(conversations, task.decided_ms, self.llm_client.model());
        Some(FinishedTask {
            result: Arc::new(result),
            waited_ms: begun_ms - task.planned_ms + waited_ms,
            ended_ms: self.context.now_ms(),
        })
    }

    /// One conversation; `None`: stopped.
    async fn converse(&self, task: Arc<ProposalTask>, sample: u32) -> Option<Conversation> {
        let mut talk = Conversation::about(&task);
        let begun = self.compute(&task, &mut talk, |case| Dialogue::begin(&case)).await;
        let Some((mut dialogue, mut step)) = begun else { return Some(talk) };
        while let Step::Ask(messages) = step {
            let question = question(self.llm_client.model(), &self.context.config, messages, sample);
            let start = Instant::now();
            let completion = self.llm_client.complete(question).await;
            let elapsed = start.elapsed();
            let next = match completion {
                Completion::Stopped => return None,
                Completion::Answered { answer, took } => {
                    talk.usage += answer.usage;
                    talk.answers += 1;
                    talk.paid |= took.is_some();
                    talk.completion(elapsed, took);
                    let take = move |case: Case<'_>| {
                        let step = dialogue.answered(&case, &answer.content);
                        (dialogue, step)
                    };
                    self.compute(&task, &mut talk, take).await
                }
                Completion::Unanswered { why, took } => {
                    talk.completion(elapsed, took);
                    let take = move |case: Case<'_>| {
                        let step = dialogue.unanswered(&case, &why);
                        (dialogue, step)
                    };
                    self.compute(&task, &mut talk, take).await
                }
            };
            let Some(next) = next else { return Some(talk) };
            (dialogue, step) = next;
        }
        talk.attempts = dialogue.attempts();
        talk.errors = dialogue.errors().to_vec();
        let mode = self.context.config.proposer.mode;
        let ended = Arc::clone(&task);
        let ending =
            self.compute(&task, &mut talk, move |case| conclude(&case, &ended, step, &dialogue, mode)).await;
        if let Some(result) = ending {
            talk.result = result;
        }
        Some(talk)
    }

    /// Computes something about a task on the CPU pool; `None`: a bug, which becomes the task's result.
    async fn compute<T: Send + 'static>(
        &self,
        task: &Arc<ProposalTask>,
        talk: &mut Conversation,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (slice, context, task) = (Arc::clone(&self.slice), Arc::clone(&self.context), Arc::clone(task));
        let asked = Instant::now();
        let done = self.pool.run(move || {
            let start = Instant::now();
            let clock = || ms_since(start);
            let value = work(task.case(&slice, &context.config, &clock));
            (value, clock())
        });
        let done = done.await;
        let elapsed_ms = ms_since(asked);
        if let Ok((value, ms)) = done {
            talk.cpu_ms += ms;
            talk.waited_ms += (elapsed_ms - ms).max(0.0);
            return Some(value);
        }
        let message =
            "a bug of the harness while talking with the model; please report the record".to_owned();
        talk.result = RepairResult::failed(Problem { kind: ErrorKind::Internal, message });
        None
    }
}

impl Conversation {
    fn about(task: &ProposalTask) -> Self {
        Self {
            result: RepairResult::no_answer(&[], Some(&task.parsed)),
            attempts: 0,
            errors: Vec::new(),
            usage: Usage::default(),
            answers: 0,
            paid: false,
            called: None,
            cpu_ms: 0.0,
            waited_ms: 0.0,
        }
    }

    /// A question ended after `elapsed`, of which calls took `took`; the rest was waiting.
    fn completion(&mut self, elapsed: Duration, took: Option<Duration>) {
        if let Some(took) = took {
            self.called = Some(self.called.unwrap_or_default() + took);
        }
        self.waited_ms += elapsed.saturating_sub(took.unwrap_or_default()).as_secs_f64() * 1e3;
    }

    /// What was computed, apart from the gates on the patch that counts.
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
            RepairResult { source: mode, ..RepairResult::judged(judged.proposal, judged.verification) }
        }
        Step::Fallback(Some(Decision::Repair(proposal))) => {
            let verification = case.verify(&proposal);
            RepairResult::judged(proposal, verification)
        }
        Step::Fallback(Some(decision @ (Decision::NeedsReview { .. } | Decision::NotApplicable { .. }))) => {
            RepairResult::without_proposal(decision, &task.policy, &task.parsed)
        }
        Step::Fallback(_) | Step::Ask(_) => {
            RepairResult { source: mode, ..RepairResult::no_answer(dialogue.errors(), Some(&task.parsed)) }
        }
    }
}

/// The samples of a task as one, and how long the one that counts waited: the first whose own patch was accepted, before
/// a rule's patch in the place of one, before anything else. Usage is that of all, times are those of the one.
fn joined(conversations: Vec<Conversation>, decided_ms: f64, model: &ModelConfig) -> (RepairResult, f64) {
    let many = conversations.len() > 1;
    let samples = conversations.len();
    let passed = conversations.iter().filter(|talk| talk.result.is_passed_sample()).count();
    let (mut usage, mut answers, mut paid) = (Usage::default(), 0, false);
    let (mut attempts, mut errors) = (0, Vec::new());
    let mut best: Option<(RepairResult, f64)> = None;
    for (sample, talk) in conversations.into_iter().enumerate() {
        usage += talk.usage;
        answers += talk.answers;
        attempts += talk.attempts;
        paid |= talk.paid;
        let (propose_ms, llm_ms) = (talk.propose_ms(), talk.llm_ms());
        let said = talk.errors.into_iter();
        errors.extend(said.map(|error| if many { format!("sample {sample}: {error}") } else { error }));
        let worth = |result: &RepairResult| (result.is_passed_sample(), result.is_accepted());
        if best.as_ref().is_none_or(|(best, _)| worth(best) < worth(&talk.result)) {
            let propose_ms = Some(decided_ms + propose_ms);
            best = Some((RepairResult { propose_ms, llm_ms, ..talk.result }, talk.waited_ms));
        }
    }
    let (result, waited_ms) = best.unwrap_or_else(|| (RepairResult::no_answer(&[], None), 0.0));
    let result = RepairResult {
        attempts,
        attempt_errors: errors,
        usage: ModelUsage {
            samples: u64::try_from(samples).ok(),
            samples_passed: u64::try_from(passed).ok(),
            ..if answers == 0 { ModelUsage::default() } else { used(usage, model, !paid) }
        },
        ..result
    };
    (result, waited_ms)
}

fn used(usage: Usage, model: &ModelConfig, cache_hit: bool) -> ModelUsage {
    ModelUsage {
        prompt_tokens: Some(usage.prompt),
        completion_tokens: Some(usage.completion),
        reasoning_tokens: Some(usage.reasoning),
        total_tokens: Some(usage.total),
        cost_usd: Some(model.price.of(&usage)),
        cache_hit: Some(cache_hit),
        ..ModelUsage::default()
    }
}
