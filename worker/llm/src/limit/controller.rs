//! The limiter of one (account, model): when the next call may start.

use domain::budget::{BudgetLimits, Limit};

use super::Seconds;
use super::in_flight::InFlight;
use super::learner::Learner;
use super::sizes::Sizes;

/// Assumed tokens of a call before any was measured.
const USUAL_TOKENS: f64 = 1500.0;

/// Shortest time between two raises of the pace.
const STEP: Seconds = 0.1;

/// Permit of one call, to be returned to [`Controller::finish`] with its result.
#[derive(Debug)]
#[must_use = "a ticket that is not returned counts as in flight without end"]
pub struct Ticket {
    started: Seconds,
    /// Tokens as the caller estimated.
    estimate: f64,
    /// Tokens as taken from the limit.
    tokens: f64,
    /// The call started without this limiter: its latency is unknown.
    adopted: bool,
}

/// Whether a call may start.
#[derive(Debug)]
pub enum Turn {
    /// It may start now.
    Go(Ticket),
    /// It may start at this time, not before.
    At(Seconds),
    /// It may start when another call has ended.
    Full,
}

/// The limit that a 429 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// Calls, also if the provider does not name the limit.
    Requests,
    /// Tokens of calls.
    Tokens,
}

/// Result of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// It was answered; its latency is that of the call alone.
    Answered {
        /// Tokens of prompt and response.
        tokens: f64,
    },
    /// It was refused with 429.
    Throttled {
        /// Wait that the provider asks for.
        retry_after: Option<Seconds>,
        /// Which limit was exhausted.
        scarce: Scarce,
    },
    /// It failed for a reason that is not the limit.
    Failed,
    /// The call was not made.
    Unsent,
}

/// Counts of calls since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that started.
    pub started: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were refused.
    pub throttled: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// Most calls that were in flight.
    pub most_under_way: u64,
}

/// The limiter of one (account, model).
#[derive(Debug, Clone)]
pub struct Controller {
    requests: Learner,
    tokens: Option<Learner>,
    sizes: Sizes,
    in_flight: InFlight,
    under_way: u64,
    /// Since when at least one call has been in flight.
    busy_since: Seconds,
    /// No call starts from the first to the second time, after a `Retry-After`.
    pause: Option<(Seconds, Seconds)>,
    step_at: Seconds,
    eased_at: Seconds,
    paced: bool,
    full: bool,
    stats: Stats,
}

impl Controller {
    /// A limiter with the configured `limits`, which learns the others.
    pub fn new(limits: &BudgetLimits, now: Seconds) -> Self {
        let a_second = |limit: Option<u64>| limit.map(|limit| limit as f64 / 60.0);
        let tokens = a_second(limits.tokens_per_minute.known());
        let mut requests = Learner::new(limits.requests_a_second(), 1.0, now);
        requests.keep_even(now, limits.is_by_second());
        if let (None, Some(tokens)) = (requests.known(), tokens) {
            // As many calls as the token limit allows, until that is refused.
            requests.begin(now, requests.pace().max(tokens / USUAL_TOKENS));
        }
        Self {
            requests,
            tokens: tokens.map(|rate| Learner::new(Some(rate), USUAL_TOKENS, now)),
            sizes: Sizes::default(),
            in_flight: InFlight::new(limits.concurrency.known().map(|limit| limit as f64)),
            under_way: 0,
            busy_since: now,
            pause: None,
            step_at: now,
            eased_at: f64::NEG_INFINITY,
            paced: false,
            full: false,
            stats: Stats::default(),
        }
    }

    /// Until when no call starts because the provider asked to wait.
    pub fn paused_until(&self, now: Seconds) -> Option<Seconds> {
        self.pause.map(|(_, until)| until).filter(|until| *until > now)
    }

    /// Requests a permit for a call of about `tokens` tokens.
    pub fn start(&mut self, now: Seconds, tokens: f64) -> Turn {
        if let Some((since, until)) = self.pause {
            if now < until {
                return Turn::At(until);
            }
            self.pause = None;
            self.requests.waited(since, now);
            if let Some(tokens) = &mut self.tokens {
                tokens.waited(since, now);
            }
        }
        self.step(now);
        let under_way = self.under_way as f64;
        if under_way + 1.0 > self.in_flight.bound(self.requests.pace()).max(1.0)
            || self.in_flight.is_silent(now, under_way, self.busy_since)
        {
            self.full = true;
            self.in_flight.hit();
            return Turn::Full;
        }
        let mut ready = self.requests.ready(now, 1.0);
        if let Some(learner) = &mut self.tokens {
            ready = ready.max(learner.ready(now, self.sizes.expected(tokens)));
        }
        if ready > now {
            self.paced = true;
            return Turn::At(ready);
        }
        Turn::Go(self.pass(now, tokens, false))
    }

    /// Adopts a call of about `tokens` tokens that is in flight without a permit of this limiter, such as one that an
    /// earlier process permitted. It counts like any other call.
    pub fn adopt(&mut self, now: Seconds, tokens: f64) -> Ticket {
        self.pass(now, tokens, true)
    }

    fn pass(&mut self, now: Seconds, estimate: f64, adopted: bool) -> Ticket {
        let tokens = self.sizes.expected(estimate);
        self.requests.pass(now, 1.0);
        if let Some(learner) = &mut self.tokens {
            learner.pass(now, tokens);
        }
        if self.under_way == 0 {
            self.busy_since = now;
        }
        self.under_way += 1;
        self.stats.started += 1;
        self.stats.most_under_way = self.stats.most_under_way.max(self.under_way);
        Ticket { started: now, estimate, tokens, adopted }
    }

    /// Raises the pace if it is the limiting factor.
    fn step(&mut self, now: Seconds) {
        if now - self.step_at < STEP {
            return;
        }
        self.step_at = now;
        let keeps_up = !self.in_flight.is_congested() && self.in_flight.follows(self.requests.pace());
        let used = self.paced && !self.full && keeps_up;
        (self.paced, self.full) = (false, false);
        self.requests.grow(now, used);
        if let Some(learner) = &mut self.tokens {
            learner.grow(now, used);
        }
    }

    /// Ends a call with its result.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is returned once")]
    pub fn finish(&mut self, now: Seconds, ticket: Ticket, signal: Signal) {
        self.under_way = self.under_way.saturating_sub(1);
        match signal {
            Signal::Answered { tokens } => {
                self.stats.answered += 1;
                // Calls that started before the pace was lowered do not measure the new pace.
                let fresh = ticket.started >= self.eased_at;
                if !ticket.adopted && self.in_flight.answered(now, now - ticket.started, fresh) {
                    self.requests.on_congestion(now, self.in_flight.delivered());
                    self.eased_at = now;
                }
                // Without a usage in the reply, the estimate stands.
                if tokens > 0.0 {
                    self.sizes.add(ticket.estimate, tokens);
                    if let Some(learner) = &mut self.tokens {
                        learner.correct(now, tokens - ticket.tokens);
                    }
                }
            }
            Signal::Throttled { retry_after, scarce } => {
                self.stats.throttled += 1;
                self.throttled(now, &ticket, scarce, retry_after.unwrap_or(0.0));
                if let Some(wait) = retry_after.filter(|wait| *wait > 0.0) {
                    let (since, until) = self.pause.unwrap_or((now, now));
                    self.pause = Some((since, until.max(now + wait)));
                }
            }
            Signal::Failed => {
                self.stats.failed += 1;
                if let Some(learner) = &mut self.tokens {
                    learner.correct(now, -ticket.tokens);
                }
            }
            Signal::Unsent => {
                self.requests.correct(now, -1.0);
                if let Some(learner) = &mut self.tokens {
                    learner.correct(now, -ticket.tokens);
                }
            }
        }
    }

    fn throttled(&mut self, now: Seconds, ticket: &Ticket, scarce: Scarce, wait: Seconds) {
        match scarce {
            Scarce::Requests => {
                self.requests.refused(now, ticket.started, 1.0, wait);
                if let Some(learner) = &mut self.tokens {
                    learner.correct(now, -ticket.tokens);
                }
            }
            Scarce::Tokens => {
                self.requests.correct(now, -1.0);
                let learner = self.token_learner(now);
                learner.refused(now, ticket.started, ticket.tokens, wait);
            }
        }
    }

    /// Sets the limits that the provider advertises, per minute; the user's own limits bound them.
    pub fn advertised_limit(
        &mut self,
        now: Seconds,
        requests_per_minute: Option<u64>,
        tokens_per_minute: Option<u64>,
    ) {
        if let Some(limit) = requests_per_minute {
            self.requests.advertised_limit(now, limit as f64 / 60.0);
        }
        if let Some(limit) = tokens_per_minute {
            self.token_learner(now).advertised_limit(now, limit as f64 / 60.0);
        }
    }

    /// The learner of tokens; a new one begins with the tokens of the present pace of calls.
    fn token_learner(&mut self, now: Seconds) -> &mut Learner {
        let size = self.sizes.typical().unwrap_or(USUAL_TOKENS);
        let pace = self.requests.pace() * size;
        self.tokens.get_or_insert_with(|| {
            let mut learner = Learner::new(None, size, now);
            learner.begin(now, pace);
            learner
        })
    }

    /// Replaces the configured limits; `auto` leaves a limit as it is. Measurements stay.
    pub fn allow(&mut self, now: Seconds, limits: &BudgetLimits) {
        let a_second = |limit: Limit| limit.known().map(|limit| limit as f64 / 60.0);
        if let Some(limit) = limits.requests_a_second() {
            self.requests.allow(now, limit);
            self.requests.keep_even(now, limits.is_by_second());
        }
        if let Some(limit) = a_second(limits.tokens_per_minute) {
            let size = self.sizes.typical().unwrap_or(USUAL_TOKENS);
            self.tokens.get_or_insert_with(|| Learner::new(Some(limit), size, now)).allow(now, limit);
        }
        if let Some(limit) = limits.concurrency.known() {
            self.in_flight.allow(limit as f64);
        }
    }

    /// Whether there is a limit on tokens.
    pub const fn meters_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// The configured or advertised limit in calls a second, if there is one.
    pub fn known(&self) -> Option<f64> {
        self.requests.known()
    }

    /// Calls a second that may start now.
    pub const fn pace(&self) -> f64 {
        self.requests.pace()
    }

    /// The measured limit in calls a second, if there is one.
    pub const fn measured(&self) -> Option<f64> {
        self.requests.measured()
    }

    /// Calls in flight.
    pub const fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Counts since the start.
    pub const fn stats(&self) -> Stats {
        self.stats
    }
}
