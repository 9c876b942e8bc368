//! Rate limiter of each (account, model), over all workers and runs: when the next call may start, and of which run.
//!
//! *Owns* the limiter of each [`Pool`](domain::budget::Pool) and the order of those who wait for it. *Never* waits, reads a
//! clock or makes a call: time comes as an argument.
//!
//! Of several runs that use a pool, the newest one that says a limit counts. What was learnt of a pool stays while the
//! process lives, whatever becomes of the runs.

mod fair_queue;

use domain::budget::BudgetLimits;
use llm::limit::{Controller, Seconds, Signal, Ticket, Turn};

pub(crate) use fair_queue::{FairQueue, QueuedCall};

/// The budget of one pool.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    controller: Controller,
    /// Who waits.
    pub(crate) queue: FairQueue,
    /// Not before then, as the limiter said; infinity: not before a call ends.
    rests_until: Seconds,
    /// When time alone lets the next one through, if that is what it waits for.
    due: Option<Seconds>,
    /// When the run whose limits count was submitted, in ms since the Unix epoch.
    limits_of_ms: u64,
}

impl RateLimiter {
    /// A budget with the limits that a run says, which was submitted at `submitted_at_ms`.
    pub(crate) fn new(limits: &BudgetLimits, submitted_at_ms: u64, now: Seconds) -> Self {
        Self {
            controller: Controller::new(limits, now),
            queue: FairQueue::default(),
            rests_until: f64::NEG_INFINITY,
            due: None,
            limits_of_ms: submitted_at_ms,
        }
    }

    /// A run that was submitted at `submitted_at_ms` says its limits, perhaps again.
    pub(crate) fn allow(&mut self, limits: &BudgetLimits, submitted_at_ms: u64, now: Seconds) {
        if submitted_at_ms < self.limits_of_ms {
            return;
        }
        let known = [limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency]
            .iter()
            .any(|limit| limit.known().is_some());
        if known {
            self.limits_of_ms = submitted_at_ms;
            self.controller.allow(now, limits);
            self.rests_until = f64::NEG_INFINITY;
        }
    }

    /// Whether somebody waits and the limiter may let one through.
    pub(crate) fn has_work(&mut self, now: Seconds) -> bool {
        if now < self.rests_until && !self.queue.is_empty() {
            return false;
        }
        self.due = None;
        !self.queue.is_empty()
    }

    /// Leave for a call of about `tokens` tokens; `None`: not yet.
    pub(crate) fn start(&mut self, now: Seconds, tokens: f64) -> Option<Ticket> {
        if now < self.rests_until {
            return None;
        }
        match self.controller.start(now, tokens) {
            Turn::Go(ticket) => return Some(ticket),
            Turn::At(then) => {
                self.rests_until = then;
                self.due = Some(then);
            }
            Turn::Full => self.rests_until = f64::INFINITY,
        }
        None
    }

    /// Takes over a call that is under way without leave.
    pub(crate) fn adopt(&mut self, now: Seconds, tokens: f64) -> Ticket {
        self.controller.adopt(now, tokens)
    }

    /// A call has ended.
    pub(crate) fn finish(&mut self, now: Seconds, ticket: Ticket, signal: Signal) {
        self.controller.finish(now, ticket, signal);
        self.rests_until = f64::NEG_INFINITY;
    }

    /// What the provider says of its limits, per minute.
    pub(crate) fn advertised(&mut self, now: Seconds, requests: Option<u64>, tokens: Option<u64>) {
        self.controller.advertised_limit(now, requests, tokens);
    }

    /// When to ask again, if somebody waits and time alone can help.
    pub(crate) const fn wake(&self) -> Option<Seconds> {
        self.due
    }

    /// What a call of so many tokens counts where runs share: tokens where tokens are metered, calls otherwise.
    pub(crate) fn units(&self, tokens: u64) -> u64 {
        if self.controller.meters_tokens() { tokens.max(1) } else { 1 }
    }

    /// Calls a minute that are allowed as far as is known, and whether that was learnt.
    pub(crate) fn limit_per_min(&self) -> Option<(f64, bool)> {
        let said = self.controller.known();
        match self.controller.measured() {
            Some(measured) if said.is_none_or(|said| measured < said) => Some((measured * 60.0, true)),
            _ => said.map(|said| (said * 60.0, false)),
        }
    }

    /// Calls under way.
    #[cfg(test)]
    pub(crate) const fn under_way(&self) -> u64 {
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
    fn the_newest_run_that_says_a_limit_counts() {
        let mut budget = RateLimiter::new(&rpm(600), 10, 0.0);
        budget.allow(&rpm(60), 5, 0.0);
        assert_eq!(budget.limit_per_min(), Some((600.0, false)), "an older run changes nothing");
        budget.allow(&rpm(1200), 20, 0.0);
        assert_eq!(budget.limit_per_min(), Some((1200.0, false)));
        budget.allow(&BudgetLimits::default(), 30, 0.0);
        assert_eq!(budget.limit_per_min(), Some((1200.0, false)), "auto says nothing");
        budget.allow(&rpm(300), 20, 0.0);
        assert_eq!(budget.limit_per_min(), Some((300.0, false)), "the same run, submitted again");
    }

    #[test]
    fn a_budget_rests_as_long_as_its_limiter_says() {
        let mut budget = RateLimiter::new(&rpm(60), 0, 0.0);
        let ticket = budget.start(0.0, 10.0).unwrap();
        assert!(budget.start(0.0, 10.0).is_none());
        assert!(budget.start(0.5, 10.0).is_none());
        budget.finish(0.6, ticket, Signal::Unsent);
        assert!(budget.start(0.6, 10.0).is_some(), "what was not used is there again");
    }
}
