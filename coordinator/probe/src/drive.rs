//! Sends calls at a pace, takes what comes back, and stops at every bound.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cli_support::progress::{Progress, Standing};
use domain::answer::Question;
use llm::client::{Client, Reply};
use llm::retry::{Remedy, remedy};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::call::{Call, Ended};
use super::plan::{Bounds, Questions};
use super::{Seconds, crowd};

/// Calls in flight at most, whatever is searched for.
const MOST_IN_FLIGHT: usize = 4000;

/// Refusals in a row after which a wait that the provider asks for is kept.
const ROW: usize = 6;

/// Shortest wait that is kept: many providers say a second whatever they mean.
const SHORTEST_WAIT: Seconds = 1.5;

/// Longest wait that is kept.
const LONGEST_WAIT: Seconds = 120.0;

/// Failures in a row, with no answer before, that end a probe.
const HOPELESS: usize = 5;

/// How calls ended so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answered: usize,
    refused: usize,
    failed: usize,
}

/// Who is asked.
pub trait Ask: Send + Sync + 'static {
    /// Asks once.
    fn ask(&self, question: Question) -> impl Future<Output = Reply> + Send;
}

impl Ask for Client {
    async fn ask(&self, question: Question) -> Reply {
        Self::ask(self, &question).await
    }
}

/// How fast calls are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as so many in flight allow; after a refusal, when the provider says.
    InFlight(usize),
    /// So many a second, evenly.
    Rate(f64),
}

/// A step of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is for.
    pub purpose: &'static str,
    /// The pace that it began with.
    pub pace: Pace,
    /// When it began.
    pub began: Seconds,
    /// When its last call had ended.
    pub ended: Seconds,
}

/// Why a probe ended before its plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stop {
    /// As many calls as allowed were made.
    #[error("--requests {0} were made")]
    Requests(u64),
    /// The time is over.
    #[error("--duration of {} s is over", .0.as_secs())]
    Duration(Duration),
    /// The next call could cost more than is allowed.
    #[error("--max-cost {0} USD is used up")]
    Cost(f64),
    /// A person stopped it.
    #[error("interrupted")]
    Interrupted,
    /// No call can succeed.
    #[error("{0}")]
    Fatal(String),
}

/// The probe as it goes.
pub struct Drive<A> {
    ask: Arc<A>,
    questions: Questions,
    bounds: Bounds,
    /// How often a person has asked it to stop.
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
    /// Moments at which the probe stopped asking for a while.
    pub breaks: Vec<Seconds>,
    /// Moments at which waits that the provider asked for were over.
    pub opened: Vec<Seconds>,
    /// US dollars so far.
    pub cost: f64,
}

impl<A: Ask> Drive<A> {
    /// A probe that begins now.
    pub fn new(
        ask: A,
        questions: Questions,
        bounds: Bounds,
        stop: watch::Receiver<u32>,
        progress: Progress,
    ) -> Self {
        Self {
            ask: Arc::new(ask),
            dearest: questions.reckoned_cost(0),
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

    /// Seconds since it began.
    pub fn now(&self) -> Seconds {
        self.began.elapsed().as_secs_f64()
    }

    /// What it asks.
    pub const fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Begins a step whose prompts are padded with so many tokens.
    pub fn begin(&mut self, purpose: &'static str, pace: Pace, padding: u64) {
        let now = self.now();
        self.steps.push(Step { purpose, pace, began: now, ended: now });
        (self.due, self.row) = (now, 0);
        if padding != self.padding {
            (self.padding, self.dearest) = (padding, self.questions.reckoned_cost(padding));
        }
    }

    /// The calls of the step at hand.
    pub fn of_step(&self) -> impl Iterator<Item = &Call> {
        let step = self.steps.len().saturating_sub(1);
        let first = self.calls.partition_point(|call| call.step < step);
        self.calls.iter().skip(first)
    }

    /// Sends at `pace` until `done` says so, or until a bound is reached.
    pub async fn go(&mut self, pace: Pace, done: impl Fn(&Self) -> bool) -> Result<(), Stop> {
        while !done(self) {
            self.check()?;
            let now = self.now();
            let free = self.flying.len() < MOST_IN_FLIGHT;
            let next = match pace {
                Pace::InFlight(most) => (self.flying.len() < most).then_some(self.hold),
                Pace::Rate(_) => free.then_some(self.due.max(self.hold)),
            };
            // Less than the clock can tell is now.
            if next.is_some_and(|next| next <= now + 1e-6) {
                self.send(now);
                if let Pace::Rate(rate) = pace {
                    // A little that was missed is made up for; more would be a burst.
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

    /// Waits for the calls in flight, and ends the step. A second interruption waits for nobody.
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

    /// Forgets the calls that nobody waited for; returns how many.
    pub fn forget_pending(&mut self) -> usize {
        let before = self.calls.len();
        self.calls.retain(|call| call.ended != Ended::Pending);
        before - self.calls.len()
    }

    /// Up to when all refusals of what was sent have come back.
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
        // Whatever is in flight may yet cost as much as the dearest so far, and so may the next one.
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
        let (kind, asked) = (call.ended, call.retry_after);
        let cost = self.questions.price.of(&reply.usage);
        self.cost += cost;
        self.dearest = self.dearest.max(cost);
        match kind {
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
        if let (Ended::Failed, Err(failure)) = (kind, &reply.result) {
            if remedy(failure) == Remedy::Stop {
                self.fatal = Some(failure.to_string());
            } else if self.counts.answered + self.counts.refused == 0 && self.counts.failed >= HOPELESS {
                self.fatal = Some(format!("none of the first {HOPELESS} calls was answered: {failure}"));
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
            // One refusal more or less says little; a row of them means that the provider counts in windows of time, and
            // that asking on is of no use until the next one opens.
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
        crowd::most_in_flight(&self.calls)
    }
}

fn seconds(seconds: Seconds) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
