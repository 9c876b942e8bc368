//! Figures of a step, and of a whole probe in the published format.

use std::collections::BTreeMap;

use domain::budget::{Price, Usage};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::drive::{Pace, Step};
use super::knee::Point;
use super::{Findings, Seconds};

/// Sorted latencies in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }
}

impl Sample {
    /// The least value.
    pub fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    /// The greatest value.
    pub fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// Percentile `p` (0 to 100) by linear interpolation: h = p/100 · (n − 1).
    pub fn percentile(&self, p: u32) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let scaled = last * p.min(100) as usize;
        let (below, rest) = (scaled / 100, (scaled % 100) as f64 / 100.0);
        let (low, high) = (self.0.get(below)?, self.0.get((below + 1).min(last))?);
        Some(low + (high - low) * rest)
    }

    /// The ninth decile by the exclusive method, as published for probes: m = n + 1, j = ⌊9m/10⌋ in 1..n,
    /// δ = 9m − 10j. `None` for fewer than two numbers.
    pub fn exclusive_p90(&self) -> Option<f64> {
        let n = self.0.len();
        if n < 2 {
            return None;
        }
        let m = n + 1;
        let j = (9 * m / 10).clamp(1, n - 1);
        let delta = (9 * m) as f64 - (10 * j) as f64;
        Some((self.0.get(j - 1)? * (10.0 - delta) + self.0.get(j)? * delta) / 10.0)
    }
}

/// Figures of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Purpose of the step.
    pub purpose: &'static str,
    /// Pace of the step.
    pub pace: Pace,
    /// Calls in flight: as planned, or on average.
    pub concurrency: f64,
    /// Time from the start of the step to the end of its last call.
    pub seconds: Seconds,
    /// Number of calls.
    pub requests: usize,
    /// Calls with an answer.
    pub answered: usize,
    /// Calls refused because of a limit.
    pub refused: usize,
    /// All other calls.
    pub failed: usize,
    /// Number of calls by HTTP status; `none` for those without one.
    pub statuses: BTreeMap<String, u64>,
    /// Latencies of answered calls.
    pub latency: Sample,
    /// Tokens of all calls.
    pub usage: Usage,
    /// Cost of all calls in US dollars.
    pub cost: f64,
    /// Time from the start of the step to its first 429.
    pub first_429: Option<Seconds>,
}

impl Figures {
    /// Computes the figures of a step.
    pub fn of(number: usize, step: &Step, calls: &[Call], price: &Price) -> Self {
        let mine: Vec<&Call> = calls.iter().filter(|call| call.step == number).collect();
        let end = mine.iter().map(|call| call.sent + call.took).fold(step.began, f64::max);
        let seconds = end - step.began;
        let times = mine.iter().filter(|call| !call.is_throttled()).map(|call| call.took);
        // A sum of nothing is -0.0.
        let busy = times.fold(0.0, |sum, took| sum + took);
        let concurrency = match step.pace {
            Pace::InFlight(number) => number as f64,
            Pace::Rate(_) => busy / seconds.max(1e-9),
        };
        let mut statuses = BTreeMap::new();
        let (mut usage, mut cost) = (Usage::default(), 0.0);
        for call in &mine {
            *statuses
                .entry(call.status.map_or_else(|| "none".to_owned(), |code| code.to_string()))
                .or_default() += 1;
            usage += call.usage;
            cost += crate::plan::cost(price, &call.usage, &call.charge);
        }
        let count = |what: fn(&Call) -> bool| mine.iter().filter(|call| what(call)).count();
        let (answered, refused) = (count(Call::is_answered), count(Call::is_throttled));
        Self {
            purpose: step.purpose,
            pace: step.pace,
            concurrency,
            seconds,
            requests: mine.len(),
            answered,
            refused,
            failed: mine.len() - answered - refused,
            statuses,
            latency: mine.iter().filter(|call| call.is_answered()).map(|call| call.took).collect(),
            usage,
            cost,
            first_429: mine.iter().find(|call| call.is_throttled()).map(|call| call.done() - step.began),
        }
    }

    /// Answers a minute.
    pub fn a_minute(&self) -> f64 {
        self.answered as f64 / self.seconds.max(1e-9) * 60.0
    }

    /// Tokens a minute.
    pub fn tokens_a_minute(&self) -> f64 {
        self.usage.total as f64 / self.seconds.max(1e-9) * 60.0
    }

    /// The step as a point for the knee.
    pub fn point(&self) -> Option<Point> {
        let latency = self.latency.percentile(50)?;
        Some(Point { concurrency: self.concurrency, throughput: self.a_minute() / 60.0, latency })
    }

    /// The figures as JSON; the keys are a stable interface.
    pub fn json(&self) -> Value {
        let latency = &self.latency;
        json!({
            "purpose": self.purpose,
            "concurrency": self.concurrency,
            "sent_per_minute": match self.pace { Pace::Rate(rate) => Some(rate * 60.0), Pace::InFlight(_) => None },
            "requests": self.requests,
            "answered": self.answered,
            "refused": self.refused,
            "failed": self.failed,
            "status_counts": self.statuses,
            "seconds": self.seconds,
            "latency_sec": {
                "min": latency.min(), "median": latency.percentile(50), "p90": latency.percentile(90),
                "p95": latency.percentile(95), "p99": latency.percentile(99), "max": latency.max(),
            },
            "answers_per_minute": self.a_minute(),
            "tokens_per_minute": self.tokens_a_minute(),
            "tokens": {
                "prompt": self.usage.prompt, "completion": self.usage.completion,
                "reasoning": self.usage.reasoning, "total": self.usage.total,
            },
            "cost_usd": self.cost,
            "first_429_sec": self.first_429,
        })
    }
}

/// Tokens of a call in the published sense: the total, else the answer's, else the prompt's.
pub fn usage_tokens(usage: &Usage) -> Option<u64> {
    [usage.total, usage.completion, usage.prompt].into_iter().find(|tokens| *tokens > 0)
}

/// The published `summary`, with exactly its keys.
pub fn summary(found: &Findings) -> Value {
    let calls = &found.calls;
    let latency: Sample = calls.iter().map(|call| call.took).collect();
    let tokens: Sample =
        calls.iter().filter_map(|call| usage_tokens(&call.usage)).map(|tokens| tokens as f64).collect();
    let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
    for code in calls.iter().filter_map(|call| call.status) {
        *codes.entry(code).or_default() += 1;
    }
    let codes: Map<String, Value> =
        codes.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
    let failures = calls.iter().filter(|call| call.error.is_some()).count();
    let whole = |tokens: Option<f64>| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
        tokens.map(|tokens| tokens as u64)
    };
    json!({
        "total_requests": calls.len(),
        "success": calls.len() - failures,
        "failures": failures,
        "status_counts": codes,
        "latency_sec": {
            "min": latency.min(), "median": latency.percentile(50), "p90": latency.exclusive_p90(), "max": latency.max(),
        },
        "token_usage": {"min": whole(tokens.min()), "median": tokens.percentile(50), "max": whole(tokens.max())},
        "wall_clock_sec": found.seconds,
        "concurrency": found.concurrency,
    })
}

#[cfg(test)]
mod tests {
    use llm::limit::Scarce;

    use super::super::call::Ended;
    use super::super::call::testing::call;
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_spec() {
        let sample: Sample = (1..=20).map(f64::from).collect();
        assert_eq!((sample.min(), sample.percentile(50), sample.max()), (Some(1.0), Some(10.5), Some(20.0)));
        assert!((sample.percentile(95).unwrap() - 19.05).abs() < 1e-9);
        // m = 21, j = 18, δ = 9: (x[17] + 9 · x[18]) / 10.
        assert!((sample.exclusive_p90().unwrap() - 18.9).abs() < 1e-9);
        let one: Sample = [3.0].into_iter().collect();
        assert_eq!((one.percentile(99), one.exclusive_p90()), (Some(3.0), None));
        assert_eq!(Sample::default().percentile(50), None);
    }

    #[test]
    fn refused_calls_do_not_count_as_latency() {
        let step = Step { purpose: "step", pace: Pace::InFlight(2), began: 10.0, ended: 20.0 };
        let refused = call(11.0, 0.01, Ended::Throttled(Scarce::Requests));
        let calls = [call(10.0, 2.0, Ended::Answered), refused, call(12.0, 4.0, Ended::Answered)];
        let figures = Figures::of(0, &step, &calls, &Price::flat(0.0, None, 1.0));
        assert_eq!((figures.answered, figures.refused, figures.failed), (2, 1, 0));
        assert_eq!(figures.latency.percentile(50), Some(3.0));
        assert_eq!(figures.statuses["429"], 1);
        assert!((figures.seconds - 6.0).abs() < 1e-9 && (figures.a_minute() - 20.0).abs() < 1e-9);
        assert!((figures.first_429.unwrap() - 1.01).abs() < 1e-9);
    }
}
