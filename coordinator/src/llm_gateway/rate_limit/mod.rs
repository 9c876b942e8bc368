//! Rate limiter of an (account, model), over all workers and runs: when the next call may start, and of which run.
//!
//! *Owns* the limiter of a [`Pool`](domain::budget::Pool) and the fair queue of its calls. *Never* waits, reads a clock or
//! makes a call: time comes as an argument.
//!
//! Of several runs that use a pool, the limits of the newest one that sets any count. A measured limit stays until the
//! process ends.

mod fair_queue;
mod health;

use domain::budget::BudgetLimits;
use llm::limit::{Controller, Seconds, Signal, Ticket, Turn};

pub(crate) use fair_queue::{FairQueue, QueuedCall};
use health::NextCall;
pub(crate) use health::{DIFFERENT, DIFFERENT_OF_PROVEN, Health, Waiting};

/// Permission to make a call.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) ticket: Ticket,
    /// The one call that tries the provider again during an outage.
    pub(crate) probe: bool,
}

/// Rate limiter of one pool.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    controller: Controller,
    /// Calls that wait for a permit.
    pub(crate) queue: FairQueue,
    /// When the controller may permit the next call; infinity until a call ends.
    rests_until: Seconds,
    /// When the next call may start, if that depends on time alone.
    due: Option<Seconds>,
    /// Submission of the run whose limits count, in ms since the Unix epoch.
    limits_of_ms: u64,
    /// Whether the provider answers.
    pub(crate) health: Health,
}

impl RateLimiter {
    /// A limiter with the limits of a run that was submitted at `submitted_at_ms`.
    pub(crate) fn new(limits: &BudgetLimits, submitted_at_ms: u64, now: Seconds) -> Self {
        Self {
            controller: Controller::new(limits, now),
            queue: FairQueue::default(),
            rests_until: f64::NEG_INFINITY,
            due: None,
            limits_of_ms: submitted_at_ms,
            health: Health::default(),
        }
    }

    /// Applies the limits of a run that was submitted at `submitted_at_ms`, unless a newer run has set limits.
    pub(crate) fn allow(&mut self, limits: &BudgetLimits, submitted_at_ms: u64, now: Seconds) {
        if submitted_at_ms < self.limits_of_ms {
            return;
        }
        let BudgetLimits { requests_per_minute, requests_per_second, tokens_per_minute, concurrency, .. } =
            *limits;
        let known = [requests_per_minute, requests_per_second, tokens_per_minute, concurrency]
            .iter()
            .any(|limit| limit.known().is_some());
        if known {
            self.limits_of_ms = submitted_at_ms;
            self.controller.allow(now, limits);
            self.rests_until = f64::NEG_INFINITY;
        }
    }

    /// Whether a call waits and may be permitted.
    pub(crate) fn has_work(&mut self, now: Seconds) -> bool {
        if now < self.rests_until && !self.queue.is_empty() {
            return false;
        }
        self.due = None;
        if self.queue.is_empty() {
            return false;
        }
        match self.health.next_call(now) {
            NextCall::Now => true,
            NextCall::At(then) => {
                self.due = Some(then);
                false
            }
            NextCall::AfterProbe => false,
        }
    }

    /// Permission for a call of about `tokens` tokens; `None` while it may not start.
    pub(crate) fn start(&mut self, now: Seconds, tokens: f64) -> Option<Started> {
        if now < self.rests_until || self.health.next_call(now) != NextCall::Now {
            return None;
        }
        let others = self.controller.under_way();
        match self.controller.start(now, tokens) {
            Turn::Go(ticket) => return Some(Started { ticket, probe: self.health.start(now, others) }),
            Turn::At(then) => {
                self.rests_until = then;
                self.due = Some(then);
            }
            Turn::Full => self.rests_until = f64::INFINITY,
        }
        None
    }

    /// Ticket of a call under way that another process permitted.
    pub(crate) fn adopt(&mut self, now: Seconds, tokens: f64) -> Ticket {
        self.controller.adopt(now, tokens)
    }

    /// Takes the ticket of an ended call back.
    pub(crate) fn finish(&mut self, now: Seconds, ticket: Ticket, signal: Signal) {
        self.controller.finish(now, ticket, signal);
        self.rests_until = f64::NEG_INFINITY;
    }

    /// Limits that the provider advertises, per minute.
    pub(crate) fn advertised(&mut self, now: Seconds, requests: Option<u64>, tokens: Option<u64>) {
        self.controller.advertised_limit(now, requests, tokens);
    }

    /// When to try again, if a call waits and time alone can permit it.
    pub(crate) const fn wake(&self) -> Option<Seconds> {
        self.due
    }

    /// Units of a call in the fair queue: its tokens where the limit is in tokens, otherwise 1.
    pub(crate) fn units(&self, tokens: u64) -> u64 {
        if self.controller.meters_tokens() { tokens.max(1) } else { 1 }
    }

    /// Known limit in calls a minute, and whether it was measured.
    pub(crate) fn limit_per_min(&self) -> Option<(f64, bool)> {
        let configured = self.controller.known();
        match self.controller.measured() {
            Some(measured) if configured.is_none_or(|configured| measured < configured) => {
                Some((measured * 60.0, true))
            }
            _ => configured.map(|configured| (configured * 60.0, false)),
        }
    }

    /// Until when no call starts because the provider asked to wait.
    pub(crate) fn paused_until(&self, now: Seconds) -> Option<Seconds> {
        self.controller.paused_until(now)
    }

    /// What its calls wait for.
    pub(crate) fn waiting(&self, now: Seconds) -> Option<Waiting<'_>> {
        self.health.waiting(now, self.controller.under_way())
    }

    /// Tickets that are out.
    pub(crate) const fn tickets(&self) -> u64 {
        self.controller.under_way()
    }
}

#[cfg(test)]
mod tests {
    use domain::budget::Limit;

    use super::*;

    fn rpm(limit: u64) -> BudgetLimits {
        BudgetLimits { requests_per_minute: Limit::at(limit), ..BudgetLimits::default() }
    }

    #[test]
    fn the_limits_of_the_newest_run_that_sets_any_count() {
        let mut limiter = RateLimiter::new(&rpm(600), 10, 0.0);
        limiter.allow(&rpm(60), 5, 0.0);
        assert_eq!(limiter.limit_per_min(), Some((600.0, false)), "an older run changes nothing");
        limiter.allow(&rpm(1200), 20, 0.0);
        assert_eq!(limiter.limit_per_min(), Some((1200.0, false)));
        limiter.allow(&BudgetLimits::default(), 30, 0.0);
        assert_eq!(limiter.limit_per_min(), Some((1200.0, false)), "auto sets no limit");
        limiter.allow(&rpm(300), 20, 0.0);
        assert_eq!(limiter.limit_per_min(), Some((300.0, false)), "the same run, submitted again");
    }

    #[test]
    fn no_call_starts_before_the_controller_allows_one() {
        let mut limiter = RateLimiter::new(&rpm(60), 0, 0.0);
        let Started { ticket, .. } = limiter.start(0.0, 10.0).unwrap();
        assert!(limiter.start(0.0, 10.0).is_none());
        assert!(limiter.start(0.5, 10.0).is_none());
        limiter.finish(0.6, ticket, Signal::Unsent);
        assert!(limiter.start(0.6, 10.0).is_some(), "an unused ticket is available again");
    }
}
