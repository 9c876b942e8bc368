//! Runs a program as the proposer over a slice. Records with equal document, policy and message share its answers.

use std::sync::Arc;
use std::time::Duration;

use domain::ids::DocumentHash;
use domain::outcome::{ModelUsage, Outcome};
use domain::record::Slice;
use engine::propose::dialogue::{Case, Step};
use engine::propose::program::{ProgramDialogue, Returned, Shown};
use proposers::{Answer, Asked, BatchMember, Batches, Failure, Program, Question, Stop, Usage};

use super::context::Context;
use super::plan::ProposalTask;
use super::progress::Progress;
use super::repair_result::RepairResult;
use super::tasks::{FinishedTask, Tasks, conclude};
use crate::cpu_pool::{CpuPool, Crashed};

/// Hexadecimal digits of what identifies a question.
const ID_DIGITS: usize = 16;

/// Computes one outcome for each record, in the order of the slice; `None` when the worker ends.
pub(crate) async fn run_command_slice(
    slice: Arc<Slice>,
    context: Arc<Context>,
    program: &Arc<Program>,
    pool: &CpuPool,
    progress: &Progress,
    stop: &Stop,
) -> Result<Option<Vec<Outcome>>, Crashed> {
    let _working = program.work();
    let runner = CommandRunner { tasks: Tasks { slice, context, pool }, program, stop };
    let batches = Batches::of(program);
    // All join before the first asks.
    runner.tasks.run(progress, |task| runner.run(task, batches.join())).await
}

/// What the tasks of a slice share.
struct CommandRunner<'r> {
    tasks: Tasks<'r>,
    program: &'r Arc<Program>,
    stop: &'r Stop,
}

/// A dialogue with the program, its usage and its times.
struct Exchange {
    member: BatchMember,
    result: RepairResult,
    usage: Option<Usage>,
    cpu_ms: f64,
    /// How long the program worked; of a process for many records, this record's share.
    program_ms: f64,
    /// Time spent waiting for the CPU pool, and for a process of the program.
    waited_ms: f64,
}

impl CommandRunner<'_> {
    /// Holds the dialogue about a task; `None`: stopped.
    async fn run(&self, task: Arc<ProposalTask>, member: BatchMember) -> Option<FinishedTask> {
        let context = &self.tasks.context;
        let started_ms = context.now_ms();
        let result = RepairResult::no_answer(&[], Some((&task.parsed, &context.config)));
        let mut exchange =
            Exchange { member, result, usage: None, cpu_ms: 0.0, program_ms: 0.0, waited_ms: 0.0 };
        self.converse(&task, &mut exchange).await?;
        let Exchange { member: _, result, usage, cpu_ms, program_ms, waited_ms } = exchange;
        let own_ms = (cpu_ms - result.verify_ms().unwrap_or(0.0)).max(0.0);
        let result = RepairResult {
            usage: usage.map_or_else(ModelUsage::default, reported),
            propose_ms: Some(task.decided_ms + own_ms + program_ms),
            ..result
        };
        Some(FinishedTask {
            result: Arc::new(result),
            waited_ms: started_ms - task.planned_ms + waited_ms,
            ended_ms: context.now_ms(),
        })
    }

    /// `None`: stopped.
    async fn converse(&self, task: &Arc<ProposalTask>, exchange: &mut Exchange) -> Option<()> {
        let secrets = self.program.config().secrets;
        let begin = move |case: Case<'_>| (ProgramDialogue::begin(&case, secrets), subject(&case));
        let Some(((mut dialogue, mut step), subject)) = self.compute(task, exchange, begin).await else {
            return Some(());
        };
        while let Step::Ask(shown) = step {
            if self.tasks.context.is_stopped() || (self.stop)() {
                return None;
            }
            let answer = self.ask(question(&subject, task, shown), exchange).await?;
            let advance = move |case: Case<'_>| {
                let step = match answer {
                    Ok(returned) => dialogue.answered(&case, &returned),
                    Err(why) => dialogue.unanswered(&case, &why),
                };
                (dialogue, step)
            };
            let Some(next) = self.compute(task, exchange, advance).await else { return Some(()) };
            (dialogue, step) = next;
        }
        let (attempts, errors) = (dialogue.attempts(), dialogue.errors().to_vec());
        let (concluded, mode) = (Arc::clone(task), self.tasks.context.config.proposer.mode);
        let conclusion = move |case: Case<'_>| conclude(&case, &concluded, step, dialogue.errors(), mode);
        if let Some(result) = self.compute(task, exchange, conclusion).await {
            exchange.result = RepairResult { attempts, attempt_errors: errors, ..result };
        }
        // What the gates said without an answer of the API server does not count.
        (!self.tasks.context.is_stopped()).then_some(())
    }

    /// What the program returned, or why it returned nothing; `None`: stopped.
    async fn ask(&self, question: Question, exchange: &mut Exchange) -> Option<Result<Returned, String>> {
        let asked_ms = self.tasks.context.now_ms();
        let Asked { answer, took } = exchange.member.ask(question, Arc::clone(self.stop)).await;
        let took_ms = milliseconds(took);
        exchange.program_ms += took_ms;
        exchange.waited_ms += (self.tasks.context.now_ms() - asked_ms - took_ms).max(0.0);
        match answer {
            Err(Failure::Stopped) => None,
            Err(Failure::Failed(why)) => Some(Err(why)),
            Ok(answer) => {
                exchange.usage = total(exchange.usage, answer.usage);
                Some(returned(answer))
            }
        }
    }

    /// Runs `work` on the CPU pool and counts its time; `None`: it panicked or took too many steps, which becomes the
    /// result.
    async fn compute<T: Send + 'static>(
        &self,
        task: &Arc<ProposalTask>,
        exchange: &mut Exchange,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let computation = self.tasks.compute(task, work).await;
        exchange.cpu_ms += computation.cpu_ms;
        exchange.waited_ms += computation.waited_ms;
        computation.value.map_err(|failed| exchange.result = failed).ok()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What identifies a task, whatever shard it stands in.
fn subject(case: &Case<'_>) -> String {
    let text = format!("{}\0{}\0{}", case.document.value, case.policy.as_str(), case.violation);
    DocumentHash::of(text.as_bytes()).to_string().chars().take(ID_DIGITS).collect()
}

fn question(subject: &str, task: &ProposalTask, shown: Shown) -> Question {
    Question {
        id: format!("{subject}-{}", shown.attempt),
        attempt: shown.attempt,
        policy_id: task.policy.as_str().to_owned(),
        violation_text: shown.violation,
        manifest_yaml: shown.manifest,
        feedback: shown.feedback,
    }
}

fn returned(answer: Answer) -> Result<Returned, String> {
    match (answer.patch, answer.patched_yaml) {
        (Some(patch), _) => Ok(Returned::Patch(patch)),
        (None, Some(document)) => Ok(Returned::Document(document)),
        (None, None) => {
            let why = answer.explanation.unwrap_or_default();
            let why: String = why.chars().filter(|c| !c.is_control()).take(500).collect();
            let why = if why.is_empty() { why } else { format!(": {why}") };
            Err(format!("the program has no repair{why}"))
        }
    }
}

/// The sum of what two answers cost; what one does not say is not known of both.
fn total(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
    let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
    Some(Usage {
        prompt_tokens: sum(one.prompt_tokens, other.prompt_tokens),
        completion_tokens: sum(one.completion_tokens, other.completion_tokens),
        reasoning_tokens: sum(one.reasoning_tokens, other.reasoning_tokens),
        total_tokens: sum(one.total_tokens, other.total_tokens),
        cost_usd: one.cost_usd.zip(other.cost_usd).map(|(one, other)| one + other),
    })
}

/// The usage as a row has it: the program's own count, no part of which we estimate.
fn reported(usage: Usage) -> ModelUsage {
    ModelUsage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        total_tokens: usage.total_tokens,
        cost_usd: usage.cost_usd,
        cache_hit: Some(false),
        ..ModelUsage::default()
    }
}
