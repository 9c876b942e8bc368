//! Driver of a probe: sends calls at a pace, records the replies, and stops at every bound.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cli_support::progress::{Progress, Standing};
use domain::answer::{FailureKind, Question};
use llm::client::{Client, Reply};
use llm::refusals::kind;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::call::{Call, Ended};
use super::plan::{Bounds, Questions, cost};
use super::{Seconds, concurrency_limit};

/// Most calls in flight.
const MOST_IN_FLIGHT: usize = 4000;

/// Refusals in a row after which `Retry-After` is obeyed.
const ROW: usize = 6;

/// Shortest wait that is obeyed: many providers always send one second.
const SHORTEST_WAIT: Seconds = 1.5;

/// Longest wait that is obeyed.
const LONGEST_WAIT: Seconds = 120.0;

/// Failures at the start, without an answer, that end a probe.
const HOPELESS: usize = 5;

/// Results so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answered: usize,
    refused: usize,
    failed: usize,
}

/// A provider of completions.
pub trait Ask: Send + Sync + 'static {
    /// Makes one attempt of a call.
    fn ask(&self, question: Question) -> impl Future<Output = Reply> + Send;
}

impl Ask for Client {
    async fn ask(&self, question: Question) -> Reply {
        Self::ask(self, &question).await
    }
}

/// Pace at which calls are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// With so many in flight; after a refusal, after the provider's `Retry-After`.
    InFlight(usize),
    /// So many a second, evenly spaced.
    Rate(f64),
}

/// A step of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Purpose of the step.
    pub purpose: &'static str,
    /// Initial pace.
    pub pace: Pace,
    /// When it began.
    pub began: Seconds,
    /// When its last call had ended.
    pub ended: Seconds,
}

/// Why a probe ended early.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The limit on calls was reached.
    #[error("the limit of --requests {0} was reached")]
    Requests(u64),
    /// The limit on time was reached.
    #[error("the limit of --duration {} s was reached", .0.as_secs())]
    Duration(Duration),
    /// The next call could pass the limit on cost.
    #[error("the limit of --max-cost {0} USD was reached")]
    Cost(f64),
    /// Interrupted by the user.
    #[error("interrupted")]
    Interrupted,
    /// No call can succeed.
    #[error("{0}")]
    Fatal(String),
}

/// A running probe.
pub struct Drive<A> {
    ask: Arc<A>,
    questions: Questions,
    bounds: Bounds,
    /// Number of interrupts by the user.
    stop: watch::Receiver<u32>,
    progress: Progress,
    began: Instant,
    flying: JoinSet<(usize, Reply)>,
    due: Seconds,
    hold: Seconds,
    row: usize,
    fatal: Option<String>,
    counts: Counts,
    padding: u64,
    dearest: f64,
    /// Calls in the order of sending.
    pub calls: Vec<Call>,
    /// Steps so far.
    pub steps: Vec<Step>,
    /// Times at which the probe paused.
    pub breaks: Vec<Seconds>,
    /// Times at which waits by `Retry-After` ended.
    pub opened: Vec<Seconds>,
    /// Cost so far in US dollars.
    pub cost: f64,
}

impl<A: Ask> Drive<A> {
    /// Starts a probe.
    pub fn new(
        ask: A,
        questions: Questions,
        bounds: Bounds,
        stop: watch::Receiver<u32>,
        progress: Progress,
    ) -> Self {
        Self {
            ask: Arc::new(ask),
            dearest: questions.expected_cost(0),
            questions,
            bounds,
            stop,
            progress,
            began: Instant::now(),
            flying: JoinSet::new(),
            due: 0.0,
            hold: 0.0,
            row: 0,
            fatal: None,
            counts: Counts::default(),
            padding: 0,
            calls: Vec::new(),
            steps: Vec::new(),
            breaks: Vec::new(),
            opened: Vec::new(),
            cost: 0.0,
        }
    }

    /// Seconds since the start.
    pub fn now(&self) -> Seconds {
        self.began.elapsed().as_secs_f64()
    }

    /// The prompts that it sends.
    pub const fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Begins a step whose prompts are padded with `padding` tokens.
    pub fn begin(&mut self, purpose: &'static str, pace: Pace, padding: u64) {
        let now = self.now();
        self.steps.push(Step { purpose, pace, began: now, ended: now });
        (self.due, self.row) = (now, 0);
        if padding != self.padding {
            (self.padding, self.dearest) = (padding, self.questions.expected_cost(padding));
        }
    }

    /// The calls of the current step.
    pub fn of_step(&self) -> impl Iterator<Item = &Call> {
        let step = self.steps.len().saturating_sub(1);
        let first = self.calls.partition_point(|call| call.step < step);
        self.calls.iter().skip(first)
    }

    /// Sends at `pace` until `done` returns true, or until a bound is reached.
    pub async fn go(&mut self, pace: Pace, done: impl Fn(&Self) -> bool) -> Result<(), Stop> {
        while !done(self) {
            self.check()?;
            let now = self.now();
            let free = self.flying.len() < MOST_IN_FLIGHT;
            let next = match pace {
                Pace::InFlight(most) => (self.flying.len() < most).then_some(self.hold),
                Pace::Rate(_) => free.then_some(self.due.max(self.hold)),
            };
            // Due within the clock's resolution.
            if next.is_some_and(|next| next <= now + 1e-6) {
                self.send(now);
                if let Pace::Rate(rate) = pace {
                    // A small delay is caught up; a larger one would cause a burst.
                    self.due = (self.due + 1.0 / rate).max(now - 3.0 / rate);
                }
                continue;
            }
            let wait = next.map_or(Duration::MAX, |next| seconds(next - now));
            let wait = wait.min(self.bounds.duration.saturating_sub(self.began.elapsed()));
            tokio::select! {
                Some(ended) = self.flying.join_next() => self.take(ended, Some(pace)),
                () = sleep(wait) => {}
                Ok(()) = self.stop.changed() => {}
            }
        }
        Ok(())
    }

    /// Waits for the calls in flight, and ends the step. After a second interrupt it does not wait.
    pub async fn settle(&mut self) {
        while !self.flying.is_empty() && *self.stop.borrow() < 2 {
            tokio::select! {
                Some(ended) = self.flying.join_next() => self.take(ended, None),
                Ok(()) = self.stop.changed() => {}
            }
        }
        self.flying.abort_all();
        let now = self.now();
        if let Some(step) = self.steps.last_mut() {
            step.ended = now;
        }
        self.breaks.push(now);
    }

    /// Removes the calls that were not waited for; returns their number.
    pub fn discard_pending(&mut self) -> usize {
        let before = self.calls.len();
        self.calls.retain(|call| call.ended != Ended::Pending);
        before - self.calls.len()
    }

    /// Time up to which the replies to all refused calls have arrived.
    pub fn horizon(&self) -> Seconds {
        let slowest =
            self.calls.iter().filter(|call| call.is_throttled()).map(|call| call.took).fold(0.0, f64::max);
        self.now() - 2.0 * slowest
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    fn check(&mut self) -> Result<(), Stop> {
        if *self.stop.borrow_and_update() > 0 {
            return Err(Stop::Interrupted);
        }
        if self.began.elapsed() >= self.bounds.duration {
            return Err(Stop::Duration(self.bounds.duration));
        }
        if self.calls.len() as u64 >= self.bounds.requests {
            return Err(Stop::Requests(self.bounds.requests));
        }
        // Each call in flight, and the next one, may cost as much as the most expensive so far.
        if self.cost + self.dearest * (self.flying.len() + 1) as f64 > self.bounds.cost {
            return Err(Stop::Cost(self.bounds.cost));
        }
        match &self.fatal {
            Some(why) => Err(Stop::Fatal(why.clone())),
            None => Ok(()),
        }
    }

    fn send(&mut self, now: Seconds) {
        let index = self.calls.len();
        let id = index as u64 + 1;
        self.calls.push(Call::sent(id, self.steps.len().saturating_sub(1), now));
        let (ask, question) = (Arc::clone(&self.ask), self.questions.question(id, self.padding));
        self.flying.spawn(async move { (index, ask.ask(question).await) });
    }

    fn take(&mut self, ended: Result<(usize, Reply), tokio::task::JoinError>, pace: Option<Pace>) {
        let Ok((index, reply)) = ended else { return };
        let now = self.now();
        let Some(call) = self.calls.get_mut(index) else { return };
        call.end(&reply);
        let (ended, asked) = (call.ended, call.retry_after);
        let cost = cost(&self.questions.price, &reply.usage, &reply.charge);
        self.cost += cost;
        self.dearest = self.dearest.max(cost);
        match ended {
            Ended::Throttled(_) => {
                self.counts.refused += 1;
                self.refused(now, asked, pace);
            }
            Ended::Answered => {
                self.counts.answered += 1;
                self.row = 0;
            }
            Ended::Failed | Ended::Pending => self.counts.failed += 1,
        }
        if let (Ended::Failed, Err(failure)) = (ended, &reply.result) {
            if matches!(kind(failure), FailureKind::Key | FailureKind::Account) {
                self.fatal = Some(failure.to_string());
            } else if self.counts.answered + self.counts.refused == 0 && self.counts.failed >= HOPELESS {
                self.fatal = Some(format!("the first {HOPELESS} calls failed: {failure}"));
            }
        }
        self.show();
    }

    fn refused(&mut self, now: Seconds, asked: Option<Seconds>, pace: Option<Pace>) {
        self.row += 1;
        let wait = asked.unwrap_or(1.0).min(LONGEST_WAIT);
        match pace {
            Some(Pace::InFlight(_)) => {
                self.hold = self.hold.max(now + wait);
                self.breaks.push(now);
            }
            // Several refusals in a row mean that the provider counts in windows of time: further calls are useless
            // until the next window opens.
            Some(Pace::Rate(rate))
                if self.row >= ROW && wait > SHORTEST_WAIT.max(4.0 / rate) && self.hold < now =>
            {
                self.hold = now + wait;
                self.opened.push(self.hold);
                self.breaks.push(now);
                self.row = 0;
            }
            _ => {}
        }
    }

    fn show(&self) {
        let count = |count: usize| count as u64;
        self.progress.update(&Standing {
            done: count(self.calls.len()),
            counts: vec![
                ("answered", count(self.counts.answered)),
                ("refused", count(self.counts.refused)),
                ("failed", count(self.counts.failed)),
                ("in flight", count(self.flying.len())),
            ],
            ..Standing::default()
        });
    }

    /// Most calls that were in flight.
    pub fn most_in_flight(&self) -> usize {
        concurrency_limit::most_in_flight(&self.calls)
    }
}

fn seconds(seconds: Seconds) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
