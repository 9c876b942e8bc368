//! What the LLM and the program runner share: plans a slice, runs its proposal tasks at the same time, builds the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt as _};

use domain::config::{ProposerMode, RunConfig};
use domain::outcome::{ErrorKind, Outcome};
use domain::record::{Problem, Slice};
use engine::propose::Decision;
use engine::propose::dialogue::{Case, Step};
use engine::verify::{Candidate, Clock};

use super::context::{Context, ms_since, within_bounds};
use super::plan::{Action, PlannedRecord, ProposalTask, SlicePlan, plan};
use super::progress::Progress;
use super::record::FinishedRecord;
use super::repair_result::RepairResult;
use crate::cpu_pool::{CpuPool, Crashed};
use crate::verifier::verify_asking;

/// What the tasks of a slice share.
pub(super) struct Tasks<'r> {
    pub(super) slice: Arc<Slice>,
    pub(super) context: Arc<Context>,
    pub(super) pool: &'r CpuPool,
}

/// The result of a task.
pub(super) struct FinishedTask {
    pub(super) result: Arc<RepairResult>,
    /// How long it waited, from the end of the plan's turn on; of several samples, the chosen one.
    pub(super) waited_ms: f64,
    /// When its last sample ended, ms after the slice arrived.
    pub(super) ended_ms: f64,
}

/// What the CPU pool computed, or the result that its failure is, with the time it took and the time it waited.
pub(super) struct Computation<T> {
    pub(super) value: Result<T, RepairResult>,
    pub(super) cpu_ms: f64,
    pub(super) waited_ms: f64,
}

impl Tasks<'_> {
    /// Computes one outcome for each record, in the order of the slice; `None` when the run has stopped or the worker ends.
    pub(super) async fn run<F: Future<Output = Option<FinishedTask>>>(
        &self,
        progress: &Progress,
        run: impl Fn(Arc<ProposalTask>) -> F,
    ) -> Result<Option<Vec<Outcome>>, Crashed> {
        let (planned_slice, planned_context) = (Arc::clone(&self.slice), Arc::clone(&self.context));
        let planning = move || {
            let Context { config, arrived, server, .. } = &*planned_context;
            plan(&planned_slice, config, *arrived, server.as_deref())
        };
        let SlicePlan { records, tasks } = self.pool.run(planning).await?;
        if self.context.is_stopped() {
            return Ok(None);
        }
        let mut running: FuturesUnordered<_> = tasks
            .into_iter()
            .map(|task| {
                let (number, ended) = (task.number, run(Arc::new(task)));
                async move { (number, ended.await) }
            })
            .collect();
        progress.begin(running.len());
        let mut finished = HashMap::new();
        while let Some((number, task)) = running.next().await {
            let Some(task) = task else { return Ok(None) };
            finished.insert(number, task);
            progress.settle();
        }
        Ok(Some(self.rows(records, &finished)))
    }

    fn rows(&self, records: Vec<PlannedRecord>, finished: &HashMap<usize, FinishedTask>) -> Vec<Outcome> {
        let row = |(record, planned): (_, PlannedRecord)| {
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
            .into_outcome(&self.context)
        };
        self.slice.records.iter().zip(records).map(row).collect()
    }

    /// Runs `work` on the CPU pool, within the steps of a record.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        task: &Arc<ProposalTask>,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Computation<T> {
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
            let value =
                within_bounds("talking with the proposer", &context.config.limits, move || work(case));
            (value, clock())
        });
        let done = done.await;
        let elapsed_ms = ms_since(queued);
        match done {
            Ok((value, cpu_ms)) => Computation {
                value: value.map_err(RepairResult::failed),
                cpu_ms,
                waited_ms: (elapsed_ms - cpu_ms).max(0.0),
            },
            Err(crashed) => {
                let failed = Problem { kind: ErrorKind::Internal, message: crashed.to_string() };
                Computation { value: Err(RepairResult::failed(failed)), cpu_ms: 0.0, waited_ms: 0.0 }
            }
        }
    }
}

/// The result at the end of a dialogue, of which `errors` is one an attempt.
pub(super) fn conclude<Q>(
    case: &Case<'_>,
    task: &ProposalTask,
    step: Step<Q>,
    errors: &[String],
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
            ..RepairResult::no_answer(errors, Some((&task.parsed, case.config)))
        },
    }
}
