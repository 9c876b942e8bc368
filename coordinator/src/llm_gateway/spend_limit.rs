//! Spend limit of a run: its LLM policy, its usage so far, what it may still spend.

use std::sync::Arc;

use domain::answer::Answer;
use domain::budget::{BudgetLimits, Pool, Price};
use domain::config::{RunConfig, SpendConfig};
use proto::convert::LlmStatus;

use crate::clock::{Rate, moment, unix_ms};
use crate::llm_gateway::response_cache::{CacheEntry, LlmUsage};

/// What a call may take besides its own longest time: the way there and back, and a slow worker.
const SLACK_S: f64 = 60.0;

/// What a run asks a model under.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LlmPolicy {
    /// Whose budget its calls use.
    pub(crate) pool: Pool,
    /// What it says of that budget.
    pub(crate) limits: BudgetLimits,
    /// What it may spend, and before whom it is served.
    pub(crate) spend: SpendConfig,
    /// What the model costs.
    pub(crate) price: Price,
    /// Where and which model is asked.
    pub(crate) endpoint: String,
    /// How long a call whose worker has gone still counts, in seconds.
    pub(crate) lease_s: f64,
    /// Longest a call may take, in seconds; after that its worker has forgotten it.
    pub(crate) call_s: f64,
    /// When the run was submitted, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
    /// When it was submitted last: of several runs on a pool, the limits of the newest count.
    pub(crate) submitted_at_ms: u64,
}

impl LlmPolicy {
    /// The terms of a run that was submitted first at `created_at_ms`, last at `submitted_at_ms`; `None`: it asks no
    /// model.
    pub(crate) fn of(config: &RunConfig, created_at_ms: u64, submitted_at_ms: u64) -> Option<Self> {
        let model = config.model()?;
        let account = format!("{} {}", model.url(), model.api_key_env);
        let seconds = config.proposer.timeout_seconds + config.proposer.connect_timeout_seconds;
        Some(Self {
            pool: Pool { account, model: model.model.clone() },
            limits: config.limits.budget(),
            spend: config.spend,
            price: model.price,
            endpoint: model.url(),
            lease_s: config.fleet.lease_seconds.into(),
            call_s: f64::from(seconds) + SLACK_S,
            created_at_ms,
            submitted_at_ms,
        })
    }

    /// What a call of about `tokens` tokens costs at most, in US dollars: all of them at the dearer price.
    pub(super) fn estimate(&self, tokens: u64) -> f64 {
        tokens as f64 * self.price.input.max(self.price.output) / 1e6
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

/// Whether a run may ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LlmAccess {
    /// It may, under these terms.
    Allowed(Arc<LlmPolicy>),
    /// It may not, and why.
    Denied(String),
}

/// What is known of a run.
#[derive(Debug)]
pub(super) struct SpendTracker {
    /// `None`: only calls that an earlier process allowed are known of it.
    pub(super) terms: Option<Arc<LlmPolicy>>,
    /// Why it was stopped.
    pub(super) halted: Option<String>,
    /// Since the run began, over all processes.
    pub(super) spent: LlmUsage,
    /// Questions that wait.
    pub(super) waiting: u64,
    /// Calls that are believed to be under way.
    pub(super) under_way: u64,
    /// What these will cost, as estimated.
    pub(super) under_way_usd: f64,
    /// Calls that ended, other than refused ones.
    pub(super) rate: Rate,
}

impl SpendTracker {
    pub(super) fn new(spent: LlmUsage, now: f64) -> Self {
        Self {
            terms: None,
            halted: None,
            spent,
            waiting: 0,
            under_way: 0,
            under_way_usd: 0.0,
            rate: Rate::since(moment(now)),
        }
    }

    /// Why the run may spend no more.
    pub(super) fn exhausted(&self) -> Option<String> {
        let spend = self.terms.as_ref()?.spend;
        if spend.max_requests > 0 && self.spent.calls >= spend.max_requests {
            return Some(format!(
                "the run has made {} calls of {} (spend.max_requests): raise it to go on",
                self.spent.calls, spend.max_requests
            ));
        }
        (spend.max_cost_usd > 0.0 && self.spent.cost_usd >= spend.max_cost_usd).then(|| {
            format!(
                "the run has spent {} USD of {} (spend.max_cost_usd): raise it to go on",
                (self.spent.cost_usd * 1e4).round() / 1e4,
                spend.max_cost_usd
            )
        })
    }

    /// Whether one more call may start: those under way count as if they had ended.
    pub(super) fn may_call(&self) -> bool {
        let Some(terms) = &self.terms else { return false };
        let spend = terms.spend;
        let calls = self.spent.calls + self.under_way;
        self.halted.is_none()
            && (spend.max_requests == 0 || calls < spend.max_requests)
            && (spend.max_cost_usd <= 0.0 || self.spent.cost_usd + self.under_way_usd < spend.max_cost_usd)
    }

    /// What a call is expected to cost: no less than calls of this run have cost so far.
    pub(super) fn estimate(&self, tokens: u64) -> f64 {
        let mean = if self.spent.calls > 0 { self.spent.cost_usd / self.spent.calls as f64 } else { 0.0 };
        self.terms.as_ref().map_or(0.0, |terms| terms.estimate(tokens)).max(mean)
    }

    /// Where it stands; `limit`: calls a minute of its pool, and whether they were learnt.
    pub(super) fn status(&self, now: f64, limit: Option<(f64, bool)>) -> LlmStatus {
        LlmStatus {
            waiting: self.waiting,
            under_way: self.under_way,
            calls_per_min: self.rate.per_second(moment(now)) * 60.0,
            limit_per_min: limit.map(|(limit, _)| limit),
            limit_learnt: limit.is_some_and(|(_, learnt)| learnt),
            ..self.spent.status()
        }
    }
}

/// An answer that has just come, for a run under `terms`; `None`: nobody knows the run any more.
pub(super) fn entry(answer: Answer, terms: Option<&LlmPolicy>) -> CacheEntry {
    CacheEntry {
        answer: Arc::new(answer),
        endpoint: terms.map(|terms| terms.endpoint.clone()).unwrap_or_default(),
        model: terms.map(|terms| terms.pool.model.clone()).unwrap_or_default(),
        created_at_ms: unix_ms(),
        replaces_before_ms: terms.filter(|terms| terms.spend.refresh).map(|terms| terms.created_at_ms),
    }
}
