//! Plan of a probe: steps, bounds, prompts and expected cost.

use std::time::Duration;

use domain::answer::{Message, Question, Role, Sampling};
use domain::budget::{Charge, Price, Usage, Usd};
use domain::config::{ModelConfig, ProposerConfig};
use llm::providers::Destination;
use serde_json::{Value, json};

/// Expected tokens of an answer: reasoning models use hundreds for a single word, whatever the limit.
const ANSWER_TOKENS: u64 = 500;

/// Tokens of a prompt without padding.
const PROMPT_TOKENS: u64 = 40;

/// Most tokens that a prompt is padded with.
pub const MOST_PADDING: u64 = 8000;

/// A sentence of ten tokens.
const PADDING: &str = "The quick brown fox jumps over the lazy dog. ";

/// Bounds of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Most calls, including refused ones.
    pub requests: u64,
    /// Longest time of sending.
    pub duration: Duration,
    /// Highest cost in US dollars.
    pub cost: f64,
}

/// Plan of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Calls in flight of each step; empty for a search of the limits.
    pub steps: Vec<usize>,
    /// Its bounds.
    pub bounds: Bounds,
}

impl Plan {
    /// Number of calls of each step: its share of the total, weighted by five for each call in flight and at least twenty.
    pub fn shares(&self) -> Vec<u64> {
        let weights: Vec<u64> = self.steps.iter().map(|step| usual(*step)).collect();
        let all: u64 = weights.iter().sum();
        weights.iter().map(|calls| (calls * self.bounds.requests / all.max(1)).max(1)).collect()
    }

    /// Default number of calls of `steps`.
    pub fn usual(steps: &[usize]) -> u64 {
        steps.iter().map(|step| usual(*step)).sum()
    }

    /// Forecast of calls, tokens and cost.
    pub fn outlook(&self, questions: &Questions) -> Outlook {
        let find = self.steps.is_empty();
        let calls = if find {
            self.bounds.requests
        } else {
            self.shares().iter().sum::<u64>().min(self.bounds.requests)
        };
        // A search ends with long prompts; on average half of the padding.
        let padding = if find { MOST_PADDING / 2 } else { 0 };
        let tokens = calls * (PROMPT_TOKENS + padding + ANSWER_TOKENS);
        let cost = calls as f64 * questions.expected_cost(padding);
        Outlook { calls, tokens, cost: cost.min(self.bounds.cost), capped: cost > self.bounds.cost }
    }
}

const fn usual(step: usize) -> u64 {
    let calls = 5 * step as u64;
    if calls > 20 { calls } else { 20 }
}

/// The cost of a call. One whose cost is not known counts as more than any bound, so that the probe ends.
pub(crate) fn cost(price: &Price, call: &Usage, charge: &Charge) -> f64 {
    if *call == Usage::default() && charge.billed.is_none() {
        return 0.0;
    }
    price.of(call, charge).usd().map_or(Price::MOST_USD, Usd::as_f64)
}

const fn expected_usage(padding: u64) -> Usage {
    let prompt = PROMPT_TOKENS + padding;
    Usage {
        prompt,
        completion: ANSWER_TOKENS,
        reasoning: 0,
        cached: 0,
        total: prompt + ANSWER_TOKENS,
        estimated: 0,
    }
}

/// Forecast of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Most calls.
    pub calls: u64,
    /// Expected tokens.
    pub tokens: u64,
    /// Highest cost in US dollars.
    pub cost: f64,
    /// Whether `--max-cost` bounds the cost.
    pub capped: bool,
}

impl Outlook {
    /// The forecast as text.
    pub fn text(&self, plan: &Plan, questions: &Questions) -> String {
        let how = if plan.steps.is_empty() {
            "a search for the limits: a few single calls, then twice the rate until calls are refused, then a rate \
             slightly above the limit until it is known within a few per cent, then the same with long prompts"
                .to_owned()
        } else {
            let steps: Vec<String> = plan
                .steps
                .iter()
                .zip(plan.shares())
                .map(|(step, calls)| format!("{calls} calls with {step} in flight"))
                .collect();
            steps.join(", then ")
        };
        format!(
            "would call {model} at {endpoint}\n  {how}\n  at most {calls} calls, about {tokens} tokens, {seconds} s of sending, \
             {cost:.4} USD{capped}\nnothing was sent\n",
            model = questions.model,
            endpoint = questions.endpoint,
            calls = self.calls,
            tokens = self.tokens,
            seconds = plan.bounds.duration.as_secs(),
            cost = self.cost,
            capped = if self.capped { " (it ends there: --max-cost)" } else { "" },
        )
    }

    /// The forecast as JSON; its keys are a stable interface.
    pub fn json(&self, plan: &Plan, questions: &Questions) -> Value {
        json!({
            "dry_run": true,
            "endpoint": questions.endpoint,
            "model": questions.model,
            "find": plan.steps.is_empty(),
            "steps": plan.steps.iter().zip(plan.shares()).map(|(step, calls)| {
                json!({"concurrency": step, "requests": calls})
            }).collect::<Vec<_>>(),
            "requests_at_most": self.calls,
            "tokens_about": self.tokens,
            "duration_sec_at_most": plan.bounds.duration.as_secs_f64(),
            "cost_usd_at_most": self.cost,
        })
    }
}

/// Prompts of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// Endpoint of the provider.
    pub endpoint: String,
    /// Name of the model.
    pub model: String,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Price of tokens.
    pub price: Price,
}

impl Questions {
    /// Prompts to a model at `destination`, with answers of at most `max_tokens` (0: the provider's default).
    pub fn new(
        destination: &Destination,
        model: &ModelConfig,
        proposer: &ProposerConfig,
        max_tokens: u32,
    ) -> Self {
        let sampling = Sampling {
            temperature: proposer.temperature,
            max_tokens: (max_tokens > 0).then_some(max_tokens),
            max_tokens_as: proposer.max_tokens_as,
            api: proposer.api,
            reasoning_effort: Some(proposer.reasoning_effort.clone()).filter(|effort| !effort.is_empty()),
            service_tier: proposer.service_tier,
            extra_body: proposer.extra_body.clone(),
            extra_headers: destination.headers.clone(),
            ..Sampling::default()
        };
        let endpoint = destination.endpoint.clone();
        Self { endpoint, model: model.model.clone(), sampling, price: model.price }
    }

    /// Prompt number `id`, padded with about `padding` tokens. All prompts differ, so that no cache answers them.
    pub fn question(&self, id: u64, padding: u64) -> Question {
        let mut text =
            format!("This is call {id} of a probe of the rate limit. Reply with the single word OK.");
        if padding > 0 {
            text.push_str(" Pay no attention to the rest. ");
            text.push_str(&PADDING.repeat(usize::try_from(padding / 10).unwrap_or_default()));
        }
        Question {
            endpoint: self.endpoint.clone(),
            model: self.model.clone(),
            messages: vec![Message::new(Role::User, text)],
            sampling: self.sampling.clone(),
            sample: 0,
        }
    }

    /// Expected cost of a call.
    pub fn expected_cost(&self, padding: u64) -> f64 {
        cost(&self.price, &expected_usage(padding), &Charge::default())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Prompts to an endpoint that does not exist.
    pub(crate) fn questions() -> Questions {
        let model = ModelConfig { model: "mock".to_owned(), price: Price::flat(0.2, Some(0.05), 0.5) };
        let endpoint = "http://127.0.0.1:1".to_owned();
        let destination = Destination { endpoint, ..Destination::default() };
        Questions::new(&destination, &model, &ProposerConfig::default(), 16)
    }

    /// Bounds that no test reaches by accident.
    pub(crate) fn wide() -> Bounds {
        Bounds { requests: 100_000, duration: Duration::from_secs(3600), cost: f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{questions, wide};
    use super::*;

    #[test]
    fn steps_share_the_calls() {
        let plan = |requests| Plan { steps: vec![1, 4, 16], bounds: Bounds { requests, ..wide() } };
        assert_eq!(plan(120).shares(), [20, 20, 80]);
        assert_eq!(plan(600).shares(), [100, 100, 400]);
        assert_eq!(plan(60).shares(), [10, 10, 40]);
        assert_eq!(plan(1).shares(), [1, 1, 1]);
    }

    #[test]
    fn a_dry_run_forecasts_the_highest_cost() {
        let plan = Plan { steps: vec![1, 4, 16], bounds: Bounds { requests: 120, ..wide() } };
        let outlook = plan.outlook(&questions());
        assert_eq!(outlook.calls, 120);
        // 120 calls of 40 tokens in and 500 out.
        assert!((outlook.cost - 120.0 * (40.0 * 0.2 + 500.0 * 0.5) / 1e6).abs() < 1e-9);
        let capped = Plan { bounds: Bounds { cost: 0.01, ..plan.bounds }, ..plan };
        assert!(capped.outlook(&questions()).capped);
    }

    #[test]
    fn padding_has_the_requested_length() {
        let length = |padding| questions().question(7, padding).bytes();
        assert!(length(0) < 200);
        let tokens = (length(4000) - length(0)) / 4;
        assert!((4000..5000).contains(&tokens), "{tokens} by four bytes each");
        assert_ne!(questions().question(7, 0).key(), questions().question(8, 0).key());
    }
}
