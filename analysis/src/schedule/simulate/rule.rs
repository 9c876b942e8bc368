//! Rules that choose the next job. Most give each job a fixed key; learning rules value whole policies at each choice.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use rand::RngExt as _;
use rand_distr::{Beta, Distribution as _};
use rand_pcg::Pcg64Mcg;

use super::jobs::{Arm, Job};

/// The rule that chooses the next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Fifo,
    Random,
    /// Highest risk first, then oldest.
    RiskOnly,
    /// The paper's score with the policies' true success rates and mean times.
    Told,
    /// The same with learnt rates and times: a draw from each policy's Beta posterior.
    Thompson,
    /// The same with the upper confidence bound of the rate.
    Ucb,
    /// Most risk closed per second, using the future of each job: an upper bound for all rules in a backlog.
    Oracle,
}

impl Rule {
    pub(crate) const ALL: [Self; 7] =
        [Self::Fifo, Self::Random, Self::RiskOnly, Self::Told, Self::Thompson, Self::Ucb, Self::Oracle];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Random => "random",
            Self::RiskOnly => "risk_only",
            Self::Told => "told",
            Self::Thompson => "thompson",
            Self::Ucb => "ucb",
            Self::Oracle => "oracle",
        }
    }

    const fn learns(self) -> bool {
        matches!(self, Self::Thompson | Self::Ucb)
    }
}

/// A waiting job. Greater is served earlier: by key, then older, then lower index.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waiting {
    key: f64,
    arrival: f64,
    job: usize,
}

impl Eq for Waiting {}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key
            .total_cmp(&other.key)
            .then_with(|| other.arrival.total_cmp(&self.arrival))
            .then_with(|| other.job.cmp(&self.job))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Observations of a policy.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    successes: f64,
    failures: f64,
    seconds: f64,
}

/// Waiting jobs of one policy and one risk; the oldest is always the next of them.
#[derive(Debug)]
struct Class {
    arm: usize,
    risk: f64,
    jobs: BinaryHeap<Waiting>,
}

/// The waiting jobs, ordered by a rule.
#[derive(Debug)]
pub(super) struct JobQueue<'a> {
    rule: Rule,
    arms: &'a [Arm],
    alpha: f64,
    /// The unit of time in seconds: the mean service time.
    unit: f64,
    random: Pcg64Mcg,
    by_key: BinaryHeap<Waiting>,
    classes: Vec<Class>,
    places: HashMap<(usize, u64), usize>,
    seen: Vec<Seen>,
    waiting: usize,
}

impl<'a> JobQueue<'a> {
    pub(super) fn new(rule: Rule, arms: &'a [Arm], alpha: f64, unit: f64, random: Pcg64Mcg) -> Self {
        Self {
            rule,
            arms,
            alpha,
            unit,
            random,
            by_key: BinaryHeap::new(),
            classes: vec![],
            places: HashMap::new(),
            seen: vec![Seen::default(); arms.len()],
            waiting: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a job, or adds it again after a failed attempt; its age counts from its arrival.
    pub(super) fn push(&mut self, index: usize, job: &Job) {
        self.waiting += 1;
        if !self.rule.learns() {
            let key = self.key(job);
            self.by_key.push(Waiting { key, arrival: job.arrival, job: index });
            return;
        }
        let classes = &mut self.classes;
        let place = *self.places.entry((job.arm, job.risk.to_bits())).or_insert_with(|| {
            classes.push(Class { arm: job.arm, risk: job.risk, jobs: BinaryHeap::new() });
            classes.len() - 1
        });
        if let Some(class) = classes.get_mut(place) {
            class.jobs.push(Waiting { key: 0.0, arrival: job.arrival, job: index });
        }
    }

    /// The key of a job. Waiting adds the same to all keys, so aging depends on the arrival only.
    fn key(&mut self, job: &Job) -> f64 {
        let aging = -self.alpha * job.arrival / self.unit;
        match self.rule {
            Rule::Fifo => -job.arrival,
            Rule::Random => self.random.random(),
            Rule::RiskOnly => job.risk + aging,
            Rule::Oracle => {
                let (seconds, succeeds) = job.service();
                if succeeds { job.risk * self.unit / seconds } else { 0.0 }
            }
            Rule::Told | Rule::Thompson | Rule::Ucb => {
                let told = self.arms.get(job.arm).map_or(0.0, |arm| arm.probability / (arm.mean / self.unit));
                job.risk * told + aging
            }
        }
    }

    /// Removes and returns the next job.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let next = if self.rule.learns() { self.pop_learnt() } else { self.by_key.pop() };
        self.waiting -= usize::from(next.is_some());
        next.map(|waiting| waiting.job)
    }

    fn pop_learnt(&mut self) -> Option<Waiting> {
        let mut drawn: Vec<Option<f64>> = vec![None; self.seen.len()];
        let mut best: Option<(Waiting, usize)> = None;
        for place in 0..self.classes.len() {
            let Some((arm, risk, head)) =
                self.classes.get(place).and_then(|class| Some((class.arm, class.risk, *class.jobs.peek()?)))
            else {
                continue;
            };
            let known = drawn.get(arm).copied().flatten();
            let worth = known.unwrap_or_else(|| self.worth(arm));
            if let Some(slot) = drawn.get_mut(arm) {
                *slot = Some(worth);
            }
            let key = risk * worth - self.alpha * head.arrival / self.unit;
            let candidate = Waiting { key, ..head };
            if best.is_none_or(|(other, _)| candidate > other) {
                best = Some((candidate, place));
            }
        }
        best.and_then(|(_, place)| self.classes.get_mut(place)?.jobs.pop())
    }

    /// Estimated success rate of a policy divided by its time. The prior is a uniform rate and one unit of time.
    fn worth(&mut self, arm: usize) -> f64 {
        let seen = self.seen.get(arm).copied().unwrap_or_default();
        let tries = seen.successes + seen.failures;
        let time = (seen.seconds / self.unit + 1.0) / (tries + 1.0);
        let share = match self.rule {
            Rule::Ucb => {
                let all: f64 = self.seen.iter().map(|seen| seen.successes + seen.failures).sum();
                let mean = (seen.successes + 1.0) / (tries + 2.0);
                (mean + (2.0 * (all + 1.0).ln() / (tries + 1.0)).sqrt()).min(1.0)
            }
            _ => Beta::new(seen.successes + 1.0, seen.failures + 1.0)
                .map_or(0.5, |posterior| posterior.sample(&mut self.random)),
        };
        share / time.max(f64::MIN_POSITIVE)
    }

    /// Records the result of an attempt.
    pub(super) fn learn(&mut self, arm: usize, seconds: f64, succeeded: bool) {
        if let Some(seen) = self.seen.get_mut(arm) {
            seen.seconds += seconds;
            if succeeded {
                seen.successes += 1.0;
            } else {
                seen.failures += 1.0;
            }
        }
    }
}
