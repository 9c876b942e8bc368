//! Spend limit of a run: its LLM policy, its usage so far, and what it may still spend.

use std::sync::Arc;

use domain::answer::{Answer, ServedModel};
use domain::budget::{BudgetLimits, Pool, Price, Usd};
use domain::config::{OnModelMismatch, RunConfig, SpendConfig};
use proto::convert::LlmStatus;

use crate::clock::{Rate, moment, unix_ms};
use crate::llm_gateway::response_cache::{CacheEntry, FailureCounts, LlmUsage};

/// Added to the longest time of a call, for both ways of the messages and a slow worker.
const SLACK_S: f64 = 60.0;

/// Questions after which the share of failed ones counts.
const COUNTED_FROM: u64 = 20;

/// Questions of a run that have ended since it was submitted last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct QuestionCounts {
    /// By a call or from the cache.
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// By a call.
    pub(super) called: u64,
}

impl QuestionCounts {
    /// Whether more than `share` of them failed.
    pub(super) fn is_above(self, share: f64) -> bool {
        let all = self.answered + self.failed;
        all >= COUNTED_FROM && self.failed as f64 > share * all as f64
    }
}

/// Conditions under which a run calls a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LlmPolicy {
    /// Account and model whose rate limit its calls share.
    pub(crate) pool: Pool,
    /// Rate limits that its configuration sets.
    pub(crate) limits: BudgetLimits,
    /// Spend limit and priority.
    pub(crate) spend: SpendConfig,
    /// Price of the model.
    pub(crate) price: Price,
    /// What happens when another model answers.
    pub(crate) on_model_mismatch: OnModelMismatch,
    /// How long a call counts after its worker has disconnected, in seconds.
    pub(crate) lease_s: f64,
    /// Longest time of a call, in seconds; after that its worker has ended it.
    pub(crate) call_s: f64,
    /// Longest time of a question with its retries, and longest pause that a 429 causes, in seconds.
    pub(crate) retry_s: f64,
    /// Longest time without any answer, in seconds.
    pub(crate) outage_s: f64,
    /// Largest share of failed questions.
    pub(crate) max_failed_share: f64,
    /// When the run was submitted first, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
    /// When it was submitted last. Of several runs on a pool, the limits of the newest one count.
    pub(crate) submitted_at_ms: u64,
}

impl LlmPolicy {
    /// The policy of a run that was submitted first at `created_at_ms`, last at `submitted_at_ms`; `None` where
    /// it does not use a model.
    pub(crate) fn of(config: &RunConfig, created_at_ms: u64, submitted_at_ms: u64) -> Option<Self> {
        let model = config.model()?;
        let provider = config.proposer.mode.as_str();
        let seconds = config.proposer.timeout_seconds + config.proposer.connect_timeout_seconds;
        Some(Self {
            pool: Pool { account: provider.to_owned(), model: model.model.clone() },
            limits: config.limits.budget(),
            spend: config.spend,
            price: model.price,
            on_model_mismatch: config.proposer.on_model_mismatch,
            lease_s: config.fleet.lease_seconds.into(),
            call_s: f64::from(seconds) + SLACK_S,
            retry_s: config.proposer.retry_seconds.into(),
            outage_s: f64::from(config.proposer.outage_minutes) * 60.0,
            max_failed_share: config.proposer.max_failed_share,
            created_at_ms,
            submitted_at_ms,
        })
    }

    /// Highest cost of a call of about `tokens` tokens by the table; nothing where it is not known.
    pub(super) fn estimate(&self, tokens: u64) -> Usd {
        self.price.at_most(tokens).unwrap_or_default()
    }

    /// The other model, where an answer names one; `None`: it is the requested one, or not disclosed.
    pub(super) fn other_model<'a>(&self, answered: &'a str) -> Option<&'a str> {
        match ServedModel::of(&self.pool.model, answered) {
            ServedModel::Other(served) => Some(served),
            ServedModel::Same(_) | ServedModel::NotDisclosed => None,
        }
    }

    /// What the run may spend; `None`: it is not bounded.
    pub(super) fn most(&self) -> Option<Usd> {
        (self.spend.max_cost_usd > 0.0).then(|| Usd::from_f64(self.spend.max_cost_usd))
    }
}

/// Active run: its policy, and whether it was stopped.
#[derive(Debug)]
pub(super) struct RunPolicy {
    /// `None`: the run uses no model.
    pub(super) policy: Option<Arc<LlmPolicy>>,
    /// Why the run was stopped, until it is submitted again.
    pub(super) halted: Option<String>,
}

/// Whether a run may call a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LlmAccess {
    /// It may, under this policy.
    Allowed(Arc<LlmPolicy>),
    /// It may not, for this reason.
    Denied(String),
}

/// Spend tracker of a run: its usage, its open requests and its policy.
#[derive(Debug)]
pub(super) struct SpendTracker {
    /// `None`: the run has ended, or does not use a model.
    pub(super) policy: Option<Arc<LlmPolicy>>,
    /// Why the run was stopped.
    pub(super) halted: Option<String>,
    /// Usage since the run began, over all processes.
    pub(super) spent: LlmUsage,
    /// Requests that are waiting.
    pub(super) waiting: u64,
    /// Requests that are calling, and orphaned calls.
    pub(super) calling: u64,
    /// Estimated cost of these calls.
    pub(super) calling_cost: Usd,
    /// Rate of ended calls without throttled ones.
    pub(super) rate: Rate,
    /// Why calls failed, since this process knows the run.
    pub(super) failures: FailureCounts,
    /// Questions that ended, since the run was submitted last.
    pub(super) questions: QuestionCounts,
    /// Since when the run makes requests.
    pub(super) asking_since: f64,
    /// Its last request, or last result.
    pub(super) active_at: f64,
    /// Whether the log says that another model answers.
    pub(super) warned: bool,
}

impl SpendTracker {
    pub(super) fn new(spent: LlmUsage, now: f64) -> Self {
        Self {
            policy: None,
            halted: None,
            spent,
            waiting: 0,
            calling: 0,
            calling_cost: Usd::ZERO,
            rate: Rate::since(moment(now)),
            failures: FailureCounts::default(),
            questions: QuestionCounts::default(),
            asking_since: now,
            active_at: now,
            warned: false,
        }
    }

    /// Why the run must stop at an answer of the model that names itself so: it is another one. Where the run goes on all the same, the log says it once.
    pub(super) fn mismatch(&mut self, answered: &str) -> Option<String> {
        let policy = self.policy.as_ref()?;
        let served = policy.other_model(answered)?;
        let Pool { account, model } = &policy.pool;
        match policy.on_model_mismatch {
            OnModelMismatch::Stop => Some(format!(
                "{model} was asked and {served} answered, another model at another price: set {account}.model to the one that is \
                 meant, or proposer.on_model_mismatch to warn to take the answers of {served}"
            )),
            OnModelMismatch::Warn => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        requested = model,
                        served,
                        "another model answers than the one that was asked"
                    );
                }
                None
            }
        }
    }

    /// Which spend limit the run has reached.
    pub(super) fn exhausted(&self) -> Option<String> {
        let policy = self.policy.as_ref()?;
        let spend = policy.spend;
        if spend.max_requests > 0 && self.spent.calls >= spend.max_requests {
            return Some(format!(
                "the run has made {} calls of {} (spend.max_requests): raise it to go on",
                self.spent.calls, spend.max_requests
            ));
        }
        let most = policy.most()?;
        if self.spent.unpriced > 0 {
            return Some(format!(
                "the cost of {} calls of the run is not known, so that spend.max_cost_usd cannot be kept: set the price of the \
                 model, with long_factor for long prompts, or bound the calls instead (spend.max_requests)",
                self.spent.unpriced
            ));
        }
        (self.spent.cost >= most).then(|| {
            format!(
                "the run has spent {} USD of {most} (spend.max_cost_usd): raise it to go on",
                self.spent.cost
            )
        })
    }

    /// Whether one more call may start; calls under way count as ended.
    pub(super) fn may_call(&self) -> bool {
        let Some(policy) = &self.policy else { return false };
        let spend = policy.spend;
        let calls = self.spent.calls + self.calling;
        self.halted.is_none()
            && (spend.max_requests == 0 || calls < spend.max_requests)
            && policy
                .most()
                .is_none_or(|most| self.spent.unpriced == 0 && self.spent.cost.plus(self.calling_cost) < most)
    }

    /// Expected cost of a call: at least the mean of the run's calls so far.
    pub(super) fn estimate(&self, tokens: u64) -> Usd {
        let mean =
            self.spent.cost.ticks().checked_div(self.spent.calls).map(Usd::from_ticks).unwrap_or_default();
        self.policy.as_ref().map(|policy| policy.estimate(tokens)).unwrap_or_default().max(mean)
    }

    /// LLM status; `limit` is the rate limit of its pool in calls a minute, and whether it was measured.
    pub(super) fn status(&self, now: f64, limit: Option<(f64, bool)>) -> LlmStatus {
        LlmStatus {
            waiting: self.waiting,
            under_way: self.calling,
            calls_per_min: self.rate.per_second(moment(now)) * 60.0,
            limit_per_min: limit.map(|(limit, _)| limit),
            limit_learnt: limit.is_some_and(|(_, learnt)| learnt),
            failures: self.failures.listed(),
            ..self.spent.status()
        }
    }
}

/// Cache entry of an answer that has just arrived; `policy` is `None` where the run is not known any more.
pub(super) fn entry(answer: Answer, policy: Option<&LlmPolicy>) -> CacheEntry {
    CacheEntry {
        answer: Arc::new(answer),
        provider: policy.map(|policy| policy.pool.account.clone()).unwrap_or_default(),
        model: policy.map(|policy| policy.pool.model.clone()).unwrap_or_default(),
        created_at_ms: unix_ms(),
        replaces_before_ms: policy.filter(|policy| policy.spend.refresh).map(|policy| policy.created_at_ms),
    }
}
