//! A slice by a model: every matter of it is talked over at the same time, as fast as the budget allows.
//!
//! A *matter* is a policy violated by a document in the scanner's words: records that agree in it share one dialogue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt as _};

use domain::answer::{Question, Sampling};
use domain::budget::Usage;
use domain::config::{Guardrails, ModelConfig, ProposerMode, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::{ErrorKind, Gate, ModelUsage, Outcome, Timing};
use domain::policy::PolicyName;
use domain::record::{Neighbours, Problem, Slice};
use engine::document::Identity;
use engine::k8s::View;
use engine::propose::dialogue::{Case, Dialogue, Step};
use engine::propose::{Decision, prompt, rules};
use engine::verify::Verification;

use super::Context;
use super::desk::{Desk, Opened, row, unix_us};
use super::progress::Progress;
use super::treated::Treated;
use crate::cpu_pool::{CpuPool, Crashed};
use crate::model::{Consultant, Consulted};

/// Makes one outcome for every record, in the order of the slice; `None` when the run has stopped or the worker ends.
pub(crate) async fn run_slice_by_model(
    slice: Arc<Slice>,
    context: Arc<Context>,
    consultant: &Consultant,
    pool: &CpuPool,
    progress: &Progress,
) -> Result<Option<Vec<Outcome>>, Crashed> {
    let (start, started_at_us) = (Instant::now(), unix_us());
    let (shared, around) = (Arc::clone(&slice), Arc::clone(&context));
    let Laid { records, matters } = pool.run(move || lay_out(&shared, &around.config)).await?;
    let table = Table { slice: Arc::clone(&slice), context: Arc::clone(&context), consultant, pool };
    let mut talks: FuturesUnordered<_> = matters
        .into_iter()
        .map(|matter| {
            let (table, matter) = (&table, Arc::new(matter));
            async move { (matter.number, table.settle(matter).await, start.elapsed()) }
        })
        .collect();
    progress.begins(talks.len());
    let mut settled = HashMap::new();
    while let Some((number, treated, after)) = talks.next().await {
        let Some(treated) = treated else { return Ok(None) };
        settled.insert(number, (treated, after));
        progress.settle();
    }
    let rows = slice.records.iter().zip(records).map(|(record, laid)| {
        let (treated, total_ms) = match &laid.way {
            Way::Ready(treated) => (Arc::clone(treated), None),
            Way::Matter { number, first } => match settled.get(number) {
                Some((treated, after)) => (shared_with(treated, *first), Some(after.as_secs_f64() * 1e3)),
                // Every matter was settled.
                None => (Arc::new(Treated::no_answer(&[], None)), None),
            },
        };
        let timing = Timing {
            queue_ms: Some(0.0),
            propose_ms: Some(treated.propose_ms),
            llm_ms: treated.llm_ms,
            verify_ms: Some(treated.verify_ms),
            schema_ms: Some(treated.gates.schema.ms),
            total_ms: total_ms.or(Some(treated.propose_ms + treated.verify_ms)),
            started_at_us,
        };
        row(&context, record, &laid.policy, laid.identity, &treated, timing)
    });
    Ok(Some(rows.collect()))
}

/// What a matter came to, for one of the records that share it: the first paid for it.
fn shared_with(treated: &Arc<Treated>, first: bool) -> Arc<Treated> {
    if first || treated.usage.cache_hit.is_none() {
        return Arc::clone(treated);
    }
    let usage = ModelUsage { cache_hit: Some(true), ..treated.usage.clone() };
    Arc::new(Treated { usage, llm_ms: Some(0.0), ..Treated::clone(treated) })
}

/// A slice before anyone is asked.
pub(crate) struct Laid {
    records: Vec<LaidRecord>,
    /// What a model is to be asked, each once.
    pub(crate) matters: Vec<Matter>,
}

struct LaidRecord {
    policy: PolicyName,
    identity: Identity,
    way: Way,
}

enum Way {
    /// Nobody has to be asked.
    Ready(Arc<Treated>),
    Matter {
        number: usize,
        first: bool,
    },
}

/// A policy violated by a document.
pub(crate) struct Matter {
    number: usize,
    opened: Arc<Opened>,
    /// Index among the slice's documents.
    source: usize,
    policy: PolicyName,
    violation: String,
}

/// Reads the documents of a slice and finds out what a model is to be asked.
pub(crate) fn lay_out(slice: &Slice, config: &RunConfig) -> Laid {
    let mut desk = Desk::new(slice, config);
    let sources: HashMap<DocumentHash, usize> =
        slice.documents.iter().enumerate().map(|(index, source)| (source.hash, index)).collect();
    let mut numbers: HashMap<(DocumentHash, &str, String), usize> = HashMap::new();
    let mut laid = Laid { records: Vec::new(), matters: Vec::new() };
    for record in &slice.records {
        let policy = record.policy();
        let (identity, way) = match desk.open(record) {
            Err(problem) => (Identity::default(), Way::Ready(Arc::new(Treated::failed(problem)))),
            Ok(opened) => {
                let identity = opened.document.identity.clone();
                let way = if let Some(treated) = desk.stand_aside(record, &policy, &opened) {
                    Way::Ready(Arc::new(treated))
                } else {
                    let key = (record.document, record.violation_text.as_str(), policy.as_str().to_owned());
                    let known = numbers.get(&key).copied();
                    let number = known.unwrap_or(laid.matters.len());
                    if known.is_none() {
                        numbers.insert(key, number);
                        laid.matters.push(Matter {
                            number,
                            opened,
                            source: sources.get(&record.document).copied().unwrap_or(usize::MAX),
                            policy: policy.clone(),
                            violation: record.violation_text.clone(),
                        });
                    }
                    Way::Matter { number, first: known.is_none() }
                };
                (identity, way)
            }
        };
        laid.records.push(LaidRecord { policy, identity, way });
    }
    laid
}

impl Laid {
    /// How many records a model is to be asked about.
    pub(crate) fn asking(&self) -> u64 {
        self.records.iter().filter(|laid| matches!(laid.way, Way::Matter { .. })).count() as u64
    }
}

impl Matter {
    pub(crate) fn case<'a>(
        &'a self,
        slice: &'a Slice,
        config: &'a RunConfig,
        clock: &'a dyn Fn() -> f64,
    ) -> Case<'a> {
        Case {
            document: &self.opened.document,
            neighbours: slice
                .documents
                .get(self.source)
                .map_or(&Neighbours::Unknown, |source| &source.neighbours),
            before: &self.opened.before,
            policy: &self.policy,
            violation: &self.violation,
            config,
            verify: crate::verifier::verify,
            clock,
        }
    }
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

/// What every dialogue of a slice shares.
struct Table<'t> {
    slice: Arc<Slice>,
    context: Arc<Context>,
    consultant: &'t Consultant,
    pool: &'t CpuPool,
}

/// How a dialogue ended.
struct Talk {
    treated: Treated,
    attempts: u32,
    errors: Vec<String>,
    usage: Usage,
    answers: u32,
    /// How long calls took; `None`: there was none.
    called: Option<std::time::Duration>,
    cpu_ms: f64,
}

impl Table<'_> {
    /// Has the matter talked over, as often as samples are wanted; `None`: stopped. The first sample that passes every
    /// gate counts.
    async fn settle(&self, matter: Arc<Matter>) -> Option<Arc<Treated>> {
        let samples = self.context.config.proposer.samples;
        let talks = (0..samples).map(|sample| self.talk(Arc::clone(&matter), sample));
        let talks: Vec<Option<Talk>> = futures::future::join_all(talks).await;
        let talks: Vec<Talk> = talks.into_iter().collect::<Option<_>>()?;
        Some(Arc::new(joined(talks, self.consultant.model())))
    }

    /// One dialogue; `None`: stopped.
    async fn talk(&self, matter: Arc<Matter>, sample: u32) -> Option<Talk> {
        let mut talk = Talk {
            treated: Treated::no_answer(&[], Some(&matter.opened)),
            attempts: 0,
            errors: Vec::new(),
            usage: Usage::default(),
            answers: 0,
            called: None,
            cpu_ms: 0.0,
        };
        let begun = self.compute(&matter, &mut talk, |case| Dialogue::begin(&case)).await;
        let Some((mut dialogue, mut step)) = begun else { return Some(talk) };
        while let Step::Ask(messages) = step {
            let question = question(self.consultant.model(), &self.context.config, messages, sample);
            let consulted = self.consultant.consult(question).await;
            let next = match consulted {
                Consulted::Stopped => return None,
                Consulted::Answered { answer, took } => {
                    talk.usage += answer.usage;
                    talk.answers += 1;
                    if let Some(took) = took {
                        talk.called = Some(talk.called.unwrap_or_default() + took);
                    }
                    let take = move |case: Case<'_>| {
                        let step = dialogue.answered(&case, &answer.content);
                        (dialogue, step)
                    };
                    self.compute(&matter, &mut talk, take).await
                }
                Consulted::Unanswered(why) => {
                    let take = move |case: Case<'_>| {
                        let step = dialogue.unanswered(&case, &why);
                        (dialogue, step)
                    };
                    self.compute(&matter, &mut talk, take).await
                }
            };
            let Some(next) = next else { return Some(talk) };
            (dialogue, step) = next;
        }
        talk.attempts = dialogue.attempts();
        talk.errors = dialogue.errors().to_vec();
        let mode = self.context.config.proposer.mode;
        let ended = Arc::clone(&matter);
        let ending = self
            .compute(&matter, &mut talk, move |case| conclude(&case, &ended, step, &dialogue, mode))
            .await;
        if let Some(treated) = ending {
            talk.treated = treated;
        }
        Some(talk)
    }

    /// Computes something about a matter where there is room; `None`: a bug, which becomes the matter's outcome.
    async fn compute<T: Send + 'static>(
        &self,
        matter: &Arc<Matter>,
        talk: &mut Talk,
        work: impl FnOnce(Case<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (slice, context, matter) =
            (Arc::clone(&self.slice), Arc::clone(&self.context), Arc::clone(matter));
        let done = self.pool.run(move || {
            let start = Instant::now();
            let clock = || start.elapsed().as_secs_f64() * 1e3;
            let value = work(matter.case(&slice, &context.config, &clock));
            (value, clock())
        });
        if let Ok((value, ms)) = done.await {
            talk.cpu_ms += ms;
            return Some(value);
        }
        let message =
            "a bug of the harness while talking with the model; please report the record".to_owned();
        talk.treated = Treated::failed(Problem { kind: ErrorKind::Internal, message });
        None
    }
}

/// What the end of a dialogue comes to.
fn conclude(
    case: &Case<'_>,
    matter: &Matter,
    step: Step,
    dialogue: &Dialogue,
    mode: ProposerMode,
) -> Treated {
    match step {
        Step::Done(judged) => {
            let verify_ms = gate_ms(&judged.verification);
            let treated = Treated::judged(judged.proposal, judged.verification, 0.0, verify_ms);
            Treated { source: mode, ..treated }
        }
        Step::Fallback(Some(Decision::Repair(proposal))) => {
            let verification = case.verify(&proposal);
            let verify_ms = gate_ms(&verification);
            Treated::judged(proposal, verification, 0.0, verify_ms)
        }
        Step::Fallback(Some(decision @ (Decision::NeedsReview { .. } | Decision::NotApplicable { .. }))) => {
            Treated::without_proposal(decision, &matter.policy, &matter.opened, 0.0)
        }
        Step::Fallback(_) | Step::Ask(_) => {
            let treated = Treated::no_answer(dialogue.errors(), Some(&matter.opened));
            Treated { source: mode, ..treated }
        }
    }
}

fn gate_ms(verification: &Verification) -> f64 {
    Gate::ALL.iter().map(|gate| verification.gates.of(*gate).ms).sum()
}

/// The samples of a matter as one: the first whose own patch was accepted counts, before a rule's patch in the place of
/// one, before anything else. All were paid for.
fn joined(talks: Vec<Talk>, model: &ModelConfig) -> Treated {
    let many = talks.len() > 1;
    let (samples, passed) =
        (talks.len(), talks.iter().filter(|talk| talk.treated.is_passed_sample()).count());
    let (mut usage, mut answers, mut called) = (Usage::default(), 0, None);
    let (mut attempts, mut errors, mut cpu_ms) = (0, Vec::new(), 0.0);
    let mut best: Option<Treated> = None;
    for (sample, talk) in talks.into_iter().enumerate() {
        usage += talk.usage;
        answers += talk.answers;
        attempts += talk.attempts;
        cpu_ms += talk.cpu_ms;
        if let Some(took) = talk.called {
            called = Some(called.unwrap_or_default() + took);
        }
        let said = talk.errors.into_iter();
        errors.extend(said.map(|error| if many { format!("sample {sample}: {error}") } else { error }));
        let worth = |treated: &Treated| (treated.is_passed_sample(), treated.is_accepted());
        if best.as_ref().is_none_or(|best| worth(best) < worth(&talk.treated)) {
            best = Some(talk.treated);
        }
    }
    let treated = best.unwrap_or_else(|| Treated::no_answer(&[], None));
    Treated {
        attempts,
        attempt_errors: errors,
        propose_ms: (cpu_ms - treated.verify_ms).max(0.0),
        llm_ms: Some(called.map_or(0.0, |took: std::time::Duration| took.as_secs_f64() * 1e3)),
        usage: ModelUsage {
            samples: u64::try_from(samples).ok(),
            samples_passed: u64::try_from(passed).ok(),
            ..if answers == 0 { ModelUsage::default() } else { used(usage, model, called.is_none()) }
        },
        ..treated
    }
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

/// Whether nobody has to be asked: a template that was never rendered, or nothing to fix. A model without guardrails is
/// asked about everything: what it makes of such records is part of what is measured.
pub(super) fn stands_aside(
    opened: &Opened,
    neighbours: &Neighbours,
    policy: &PolicyName,
    config: &RunConfig,
) -> Option<Decision> {
    if config.guardrails == Guardrails::None {
        return None;
    }
    if let Some(reason) = &opened.unrendered {
        return Some(Decision::NeedsReview { reason: reason.clone() });
    }
    let decision = rules::propose(&View::new(&opened.document, neighbours), policy, &config.rules);
    matches!(decision, Decision::NotApplicable { .. }).then_some(decision)
}
