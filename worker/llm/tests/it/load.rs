//! A provider that follows a load curve, simulated event by event, so that results do not depend on the machine.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "simulated times are small")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use llm::limit::{Controller, Scarce, Signal, Ticket, Turn};
use serde::Deserialize;

/// How long a refusal takes to arrive.
pub(crate) const ROUND_TRIP: f64 = 0.08;

/// Warm-up time, which is not evaluated.
pub(crate) const WARM: f64 = 60.0;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Curve {
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) requests_per_second: Vec<Step>,
    #[serde(default)]
    pub(crate) burst: f64,
    #[serde(default)]
    pub(crate) tokens_per_second: f64,
    #[serde(default)]
    pub(crate) token_burst: f64,
    pub(crate) tokens: Option<Spread>,
    pub(crate) latency: Spread,
    /// Calls that are processed at the same time; the others queue.
    pub(crate) servers: Option<usize>,
    pub(crate) neighbours: Option<Neighbours>,
    pub(crate) stall: Option<Stall>,
    pub(crate) window: Option<Window>,
    /// Wait that every refusal asks for, instead of the time until the next call is allowed.
    pub(crate) retry_after: Option<f64>,
    pub(crate) expect: Expect,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) from: f64,
    pub(crate) limit: f64,
}

/// Log-normal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) spread: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Neighbours {
    pub(crate) every: f64,
    pub(crate) r#for: f64,
    pub(crate) take: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stall {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    calls: f64,
    seconds: f64,
}

/// What must hold after the warm-up.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Least share of what was allowed.
    pub(crate) share: f64,
    /// Greatest share of refused calls, warm-up included.
    pub(crate) refused: f64,
    /// Greatest mean latency as a multiple of the unloaded one.
    pub(crate) latency: Option<f64>,
    /// Most calls under way.
    pub(crate) under_way: Option<u64>,
    /// Seconds after a drop within which the limit is kept.
    pub(crate) follows_down: Option<f64>,
    /// Seconds after a rise within which the limit is used.
    pub(crate) follows_up: Option<f64>,
}

impl Spread {
    fn draw(self, random: &mut fastrand::Rng) -> f64 {
        // A sum of uniforms approximates a normal variable.
        let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        self.median * (normal * self.spread).exp()
    }

    pub(crate) fn mean(self) -> f64 {
        self.median * (self.spread * self.spread / 2.0).exp()
    }
}

/// The provider.
struct Provider<'c> {
    curve: &'c Curve,
    level: f64,
    tokens: f64,
    at: f64,
    window: (f64, f64),
    busy: BinaryHeap<Reverse<u64>>,
}

enum Verdict {
    /// Answered then.
    Answer(f64),
    /// Refused, with a wait.
    Refuse(f64, Scarce),
}

impl<'c> Provider<'c> {
    fn new(curve: &'c Curve) -> Self {
        let (level, tokens) = (curve.burst, curve.token_burst);
        Self { curve, level, tokens, at: 0.0, window: (0.0, 0.0), busy: BinaryHeap::new() }
    }

    /// Calls a second that are allowed at `now`.
    fn limit(&self, now: f64) -> f64 {
        let curve = self.curve;
        if curve.stall.is_some_and(|stall| (stall.from..stall.to).contains(&now)) {
            return 0.0;
        }
        if let Some(window) = curve.window {
            return window.calls / window.seconds;
        }
        if let (true, Some(tokens)) = (curve.tokens_per_second > 0.0, curve.tokens) {
            return curve.tokens_per_second / tokens.mean();
        }
        if let Some(servers) = curve.servers {
            return servers as f64 / curve.latency.mean();
        }
        let steps = &curve.requests_per_second;
        let limit = steps.iter().rev().find(|step| step.from <= now).map_or(0.0, |step| step.limit);
        match curve.neighbours {
            Some(others) if now % others.every >= others.every - others.r#for => limit * (1.0 - others.take),
            _ => limit,
        }
    }

    fn arrive(&mut self, now: f64, tokens: f64, random: &mut fastrand::Rng) -> Verdict {
        let since = now - self.at;
        self.at = now;
        let curve = self.curve;
        if !curve.requests_per_second.is_empty() {
            // A stalled provider accepts calls as before, and answers none.
            let limit = self.limit(now).max(if curve.stall.is_some() {
                curve.requests_per_second[0].limit
            } else {
                0.0
            });
            self.level = (self.level + since * limit).min(curve.burst);
            if self.level < 1.0 {
                let wait = ((1.0 - self.level) / limit).ceil().max(1.0);
                return Verdict::Refuse(curve.retry_after.unwrap_or(wait), Scarce::Requests);
            }
            self.level -= 1.0;
        }
        if curve.tokens_per_second > 0.0 {
            self.tokens = (self.tokens + since * curve.tokens_per_second).min(curve.token_burst);
            if self.tokens < tokens {
                let wait = ((tokens - self.tokens) / curve.tokens_per_second).ceil().max(1.0);
                return Verdict::Refuse(wait, Scarce::Tokens);
            }
            self.tokens -= tokens;
        }
        if let Some(window) = curve.window {
            let index = (now / window.seconds).floor();
            if index > self.window.0 {
                self.window = (index, 0.0);
            }
            if self.window.1 >= window.calls {
                return Verdict::Refuse(((index + 1.0) * window.seconds - now).ceil(), Scarce::Requests);
            }
            self.window.1 += 1.0;
        }
        Verdict::Answer(self.answered_at(now, random))
    }

    fn answered_at(&mut self, now: f64, random: &mut fastrand::Rng) -> f64 {
        let work = self.curve.latency.draw(random);
        if let Some(servers) = self.curve.servers {
            let nanos = |seconds: f64| (seconds * 1e9) as u64;
            while self.busy.len() >= servers
                && self.busy.peek().is_some_and(|Reverse(free)| *free <= nanos(now))
            {
                self.busy.pop();
            }
            let begin = if self.busy.len() < servers {
                now
            } else {
                self.busy.pop().map_or(now, |Reverse(free)| free as f64 / 1e9)
            };
            self.busy.push(Reverse(nanos(begin + work)));
            return begin + work;
        }
        match self.curve.stall {
            Some(stall) if now + work > stall.from && now < stall.to => stall.to + work,
            _ => now + work,
        }
    }
}

/// A limiter under test: ours, or the one to compare with.
pub(crate) trait Strategy {
    fn start(&mut self, now: f64, tokens: f64) -> Turn;
    fn finish(&mut self, now: f64, ticket: Ticket, signal: Signal);
}

impl Strategy for Controller {
    fn start(&mut self, now: f64, tokens: f64) -> Turn {
        Controller::start(self, now, tokens)
    }
    fn finish(&mut self, now: f64, ticket: Ticket, signal: Signal) {
        Controller::finish(self, now, ticket, signal);
    }
}

/// Result of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) accepted_at: Vec<f64>,
    pub(crate) refused_at: Vec<f64>,
    pub(crate) latency: Vec<f64>,
    pub(crate) under_way: u64,
}

/// Simulates a curve with more calls to make than are ever allowed.
pub(crate) fn play(curve: &Curve, strategy: &mut dyn Strategy, seed: u64) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut provider = Provider::new(curve);
    let (mut observed, mut under_way) = (Seen::default(), 0_u64);
    let mut calls: Vec<Option<(Ticket, f64, Signal)>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut now = 0.0;
    let size = curve.tokens.unwrap_or(Spread { median: 1000.0, spread: 0.0 });
    let mut tokens = size.draw(&mut random);
    while now < curve.seconds {
        let next = match strategy.start(now, tokens) {
            Turn::Go(ticket) => {
                let (end, signal) = match provider.arrive(now, tokens, &mut random) {
                    Verdict::Answer(end) => {
                        observed.accepted_at.push(now);
                        (end, Signal::Answered { tokens })
                    }
                    Verdict::Refuse(wait, scarce) => {
                        observed.refused_at.push(now);
                        (now + ROUND_TRIP, Signal::Throttled { retry_after: Some(wait), scarce })
                    }
                };
                ends.push(Reverse(((end * 1e9) as u64, calls.len())));
                calls.push(Some((ticket, now, signal)));
                under_way += 1;
                assert!(under_way < 100_000, "no bound at {now}");
                observed.under_way = observed.under_way.max(under_way);
                tokens = size.draw(&mut random);
                continue;
            }
            Turn::At(then) => then.max(now + 1e-6),
            Turn::Full => f64::INFINITY,
        };
        let end = ends.peek().map_or(f64::INFINITY, |Reverse((end, _))| *end as f64 / 1e9);
        assert!(next.is_finite() || end.is_finite(), "nothing to wait for at {now}");
        if end <= next {
            now = now.max(end);
            let Some(Reverse((_, index))) = ends.pop() else { continue };
            let Some((ticket, began, signal)) = calls[index].take() else { continue };
            if matches!(signal, Signal::Answered { .. }) && began >= WARM {
                observed.latency.push(now - began);
            }
            under_way -= 1;
            strategy.finish(now, ticket, signal);
        } else {
            now = next;
        }
    }
    observed
}

impl Seen {
    pub(crate) fn accepted(&self, from: f64, to: f64) -> f64 {
        self.accepted_at.iter().filter(|at| (from..to).contains(*at)).count() as f64
    }

    /// The share of what was allowed from `from` to `to`.
    pub(crate) fn share(&self, curve: &Curve, from: f64, to: f64) -> f64 {
        let provider = Provider::new(curve);
        let steps = ((to - from) * 10.0) as u32;
        let allowed: f64 = (0..steps).map(|step| provider.limit(from + f64::from(step) / 10.0) / 10.0).sum();
        self.accepted(from, to) / allowed
    }

    pub(crate) fn refused(&self) -> f64 {
        self.refused_at.len() as f64 / (self.refused_at.len() + self.accepted_at.len()).max(1) as f64
    }
}

pub(crate) fn curve(name: &str) -> Curve {
    let path = format!("{}/tests/limit/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}
