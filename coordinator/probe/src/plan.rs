//! What a probe will do, at most: its steps, its bounds, its questions, and what they may cost.

use std::time::Duration;

use domain::answer::{Message, Question, Role, Sampling};
use domain::budget::{Price, Usage};
use domain::config::{ModelConfig, ProposerConfig};
use serde_json::{Value, json};

/// Tokens of an answer that are reckoned with: models that reason use hundreds for a single word, whatever they are
/// allowed.
const ANSWER_TOKENS: u64 = 500;

/// Tokens of a prompt without padding.
const PROMPT_TOKENS: u64 = 40;

/// Most tokens that a prompt is padded with.
pub const MOST_PADDING: u64 = 8000;

/// Ten tokens.
const PADDING: &str = "The quick brown fox jumps over the lazy dog. ";

/// What a probe must not go beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Calls, refused ones among them.
    pub requests: u64,
    /// How long calls are sent.
    pub duration: Duration,
    /// US dollars.
    pub cost: f64,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Calls in flight of each step; empty: the limits are searched for.
    pub steps: Vec<usize>,
    /// The bounds.
    pub bounds: Bounds,
}

impl Plan {
    /// How many calls each step makes: its share of all, by five for each call in flight and at least twenty.
    pub fn shares(&self) -> Vec<u64> {
        let wanted: Vec<u64> = self.steps.iter().map(|step| usual(*step)).collect();
        let all: u64 = wanted.iter().sum();
        wanted.iter().map(|calls| (calls * self.bounds.requests / all.max(1)).max(1)).collect()
    }

    /// Calls that `steps` make by themselves.
    pub fn usual(steps: &[usize]) -> u64 {
        steps.iter().map(|step| usual(*step)).sum()
    }

    /// What it would send, and cost at most.
    pub fn outlook(&self, questions: &Questions) -> Outlook {
        let find = self.steps.is_empty();
        let calls = if find {
            self.bounds.requests
        } else {
            self.shares().iter().sum::<u64>().min(self.bounds.requests)
        };
        // A search ends with long prompts; not all of its calls have one.
        let padding = if find { MOST_PADDING / 2 } else { 0 };
        let tokens = calls * (PROMPT_TOKENS + padding + ANSWER_TOKENS);
        let cost = calls as f64 * questions.price.of(&reckoned(padding));
        Outlook { calls, tokens, cost: cost.min(self.bounds.cost), capped: cost > self.bounds.cost }
    }
}

const fn usual(step: usize) -> u64 {
    let calls = 5 * step as u64;
    if calls > 20 { calls } else { 20 }
}

const fn reckoned(padding: u64) -> Usage {
    let prompt = PROMPT_TOKENS + padding;
    Usage { prompt, completion: ANSWER_TOKENS, reasoning: 0, cached: 0, total: prompt + ANSWER_TOKENS }
}

/// What a probe would use, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Calls.
    pub calls: u64,
    /// Tokens, as far as they can be known before.
    pub tokens: u64,
    /// US dollars.
    pub cost: f64,
    /// Whether it is `--max-cost` that bounds the cost.
    pub capped: bool,
}

impl Outlook {
    /// For people.
    pub fn text(&self, plan: &Plan, questions: &Questions) -> String {
        let how = if plan.steps.is_empty() {
            "a search for the limits: a few calls alone, then twice as many a minute until some are refused, then a \
             little above the limit until it is known within a few per cent, then the same with long prompts"
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
            "would ask {model} at {endpoint}\n  {how}\n  at most {calls} calls, about {tokens} tokens, {seconds} s of sending, \
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

    /// For scripts.
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

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// Where.
    pub endpoint: String,
    /// Whom.
    pub model: String,
    /// How.
    pub sampling: Sampling,
    /// At what price.
    pub price: Price,
}

impl Questions {
    /// Questions to a model of the configuration, with answers of at most `max_tokens` (0: the provider's default).
    pub fn new(model: &ModelConfig, proposer: &ProposerConfig, max_tokens: u32) -> Self {
        let sampling = Sampling {
            temperature: Some(proposer.temperature),
            max_tokens: (max_tokens > 0).then_some(max_tokens),
            ..Sampling::default()
        };
        Self { endpoint: model.url(), model: model.model.clone(), sampling, price: model.price }
    }

    /// Question number `id`, padded with about so many tokens. No two are alike: no cache answers them.
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

    /// What a call may cost, before anything is known of it.
    pub fn reckoned_cost(&self, padding: u64) -> f64 {
        self.price.of(&reckoned(padding))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Questions to nobody.
    pub(crate) fn questions() -> Questions {
        let model = ModelConfig {
            endpoint: "http://127.0.0.1:1".to_owned(),
            model: "mock".to_owned(),
            price: Price { input: 0.2, cached_input: 0.05, output: 0.5 },
            ..ModelConfig::default()
        };
        Questions::new(&model, &ProposerConfig::default(), 16)
    }

    /// Bounds that no test reaches unless it wants to.
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
    fn a_dry_run_says_what_it_would_cost_at_most() {
        let plan = Plan { steps: vec![1, 4, 16], bounds: Bounds { requests: 120, ..wide() } };
        let outlook = plan.outlook(&questions());
        assert_eq!(outlook.calls, 120);
        // 120 calls of 40 tokens in and 500 out.
        assert!((outlook.cost - 120.0 * (40.0 * 0.2 + 500.0 * 0.5) / 1e6).abs() < 1e-9);
        let capped = Plan { bounds: Bounds { cost: 0.01, ..plan.bounds }, ..plan };
        assert!(capped.outlook(&questions()).capped);
    }

    #[test]
    fn padding_makes_a_prompt_as_long_as_it_says() {
        let length = |padding| questions().question(7, padding).bytes();
        assert!(length(0) < 200);
        let tokens = (length(4000) - length(0)) / 4;
        assert!((4000..5000).contains(&tokens), "{tokens} by four bytes each");
        assert_ne!(questions().question(7, 0).key(), questions().question(8, 0).key());
    }
}
