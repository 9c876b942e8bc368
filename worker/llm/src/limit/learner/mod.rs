//! Learns one rate: calls a second, or tokens a second.
//!
//! At a refusal the provider's allowance is used up, so between two refusals exactly the allowance passed: the units
//! that passed from one refusal to the next, divided by the time between, are the limit. The pace is held a little below
//! that for a while, then raised ever faster until it is refused again: a probe of the limit costs one or two refused
//! calls. The holding time counts calls as well as seconds, so that the refused share stays small at low rates. Where
//! the provider's burst is too short to keep what is not used, the units that passed are fewer than the allowance: see
//! `raise`.

mod drops;
mod measure;
mod raise;
mod types;

use types::{BACK, BELOW, Burst, LONG_WAIT, LimitDrop, Mark, PreviousDrop, Raise};

use super::Seconds;
use super::bucket::Bucket;

/// First pace a second if no limit is known.
const FIRST: f64 = 2.0;

/// Growth of the pace a second before the first refusal.
const RAMP: f64 = 0.35;

/// Growth of the pace a second when probing for a limit that may have moved.
const PROBE: f64 = 0.07;

/// Growth of the pace a second below a limit that dropped recently and may recover.
const RETURN: f64 = 0.25;

/// Factor on the delivered rate for the pace after congestion.
const EASE: f64 = 0.93;

/// Lowest factor on the pace at a congestion signal.
const LEAST_EASE: f64 = 0.4;

/// Lowest pace as a share of the configured or advertised limit. A provider that refuses calls at any pace would slow
/// it down without end otherwise; one with a limit as low as that asks for waits, which are kept.
const FLOOR: f64 = 0.1;

/// Lowest pace in calls a second if no limit is configured or advertised.
const UNKNOWN_FLOOR: f64 = 0.1;

/// Longest wait that is caught up on.
const CATCH_UP: Seconds = 2.0;

/// Factor on the pace while catching up.
const HASTE: f64 = 1.25;

/// Burst in seconds, so that tasks that wake up late waste no share of the limit.
const BURST: Seconds = 0.1;

/// How late a call may start without delaying the next one, where the provider's burst may be a single call.
const LATENESS: Seconds = 0.003;

/// Share of a limit by the second that is used: calls arrive a little less evenly than they are sent.
const EVEN: f64 = 0.99;

/// Smallest burst in calls, so that a call that starts late does not delay the following ones.
const LATE: f64 = 1.25;

/// Time without a lower advertised limit before a higher one is adopted: calls in flight when a limit changes still
/// report the old one.
const SETTLED: Seconds = 5.0;

/// Learns one rate.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub struct Learner {
    bucket: Bucket,
    /// Upper bound of the pace that the user configured.
    configured: Option<f64>,
    /// Upper bound of the pace that the provider advertised last, and when.
    advertised: Option<(f64, Seconds)>,
    /// Measured limit.
    measured: Option<f64>,
    /// Measurement before that.
    earlier: Option<f64>,
    /// Units that passed, without the refused ones.
    passed: f64,
    /// The last refusal that measures the limit: its time and the units passed until then.
    full: Option<Mark>,
    /// Refusals of calls that started before this belong to an earlier pace.
    cut_at: Seconds,
    /// Until when the pace is held.
    hold_until: Seconds,
    /// Units to catch up on.
    deficit: f64,
    /// Whether the pace is raised by [`HASTE`] to catch up.
    catching_up: bool,
    /// Whether catching up was ever refused: the provider's burst is too small for it.
    haste_fails: bool,
    /// Whether the limit is one of calls in a second, which leaves no burst.
    even: bool,
    /// Usual size of a call in units.
    size: f64,
    pace: f64,
    grown_at: Seconds,
    dropped: Option<LimitDrop>,
    /// The last drop from which the limit recovered: the next may be like it.
    previous_drop: Option<PreviousDrop>,
    /// Whether a refusal ever asked for a long wait, which makes probes expensive.
    long_waits: bool,
    began: Seconds,
    ever_refused: bool,
    /// Whether the present measurement leaves out a long wait.
    skipped: bool,
    /// Whether there ever was congestion.
    seen_slow: bool,
    /// What is known of the provider's burst.
    burst: Burst,
    /// The last raise of the limit, until the next refusal tells whether it was right.
    raised: Option<Raise>,
}

impl Learner {
    /// A learner with the `configured` limit a second, for calls of about `size` units.
    pub fn new(configured: Option<f64>, size: f64, now: Seconds) -> Self {
        let pace = configured.unwrap_or(FIRST * size);
        let mut learner = Self {
            bucket: Bucket::new(pace, size, now),
            configured,
            advertised: None,
            measured: None,
            earlier: None,
            passed: 0.0,
            full: None,
            cut_at: f64::NEG_INFINITY,
            hold_until: now,
            deficit: 0.0,
            catching_up: false,
            haste_fails: false,
            even: false,
            size,
            pace,
            grown_at: now,
            dropped: None,
            previous_drop: None,
            long_waits: false,
            began: now,
            ever_refused: false,
            skipped: false,
            seen_slow: false,
            burst: Burst::Unknown,
            raised: None,
        };
        learner.apply(now);
        learner
    }

    /// Sets the first pace.
    pub fn begin(&mut self, now: Seconds, pace: f64) {
        self.pace = pace;
        self.apply(now);
    }

    /// Whether units pass evenly, because the limit is one of a second.
    pub fn keep_even(&mut self, now: Seconds, even: bool) {
        self.even = even;
        self.apply(now);
    }

    /// Present pace in units a second.
    pub const fn pace(&self) -> f64 {
        self.pace
    }

    /// Measured limit a second.
    pub const fn measured(&self) -> Option<f64> {
        self.measured
    }

    /// The time from which `amount` may pass.
    pub fn ready(&mut self, now: Seconds, amount: f64) -> Seconds {
        self.bucket.ready(now, amount)
    }

    /// Counts `amount` as passed.
    pub fn pass(&mut self, now: Seconds, amount: f64) {
        self.bucket.take(now, amount);
        self.passed += amount;
        self.size += (amount - self.size) * 0.02;
        if self.catching_up {
            self.deficit -= amount * (1.0 - 1.0 / HASTE);
            if self.deficit <= 0.0 {
                (self.deficit, self.catching_up) = (0.0, false);
                self.apply(now);
            }
        }
    }

    /// Corrects an estimate: the call used `more` units than it passed with.
    pub fn correct(&mut self, now: Seconds, more: f64) {
        self.bucket.give_back(now, -more);
        self.passed += more;
    }

    /// Accounts for a pause from `since` to `now`, which the provider asked for.
    pub fn waited(&mut self, since: Seconds, now: Seconds) {
        self.bucket.drain(now);
        if let Some(full) = self.full.as_mut().filter(|_| now - since >= LONG_WAIT) {
            // The allowance during a long wait is unknown, so the measurement leaves it out.
            full.at += now - since;
            self.skipped = true;
        }
        self.hold_until += now - since;
        self.grown_at = now;
        if !self.haste_fails && !self.even {
            self.deficit = (self.deficit + (now - since) * self.pace).min(CATCH_UP * self.pace);
            self.catching_up = self.deficit > 0.0;
        }
        self.apply(now);
    }

    /// Raises the pace when the holding time is over. `used`: whether the pace is the limiting factor.
    pub fn grow(&mut self, now: Seconds, used: bool) {
        if let Some(full) = self.full.as_mut().filter(|_| !used) {
            full.unused += now - self.grown_at;
        }
        let since = (now - self.grown_at).min(0.5);
        self.grown_at = now;
        if !used || now < self.hold_until || since <= 0.0 || self.catching_up {
            if !used {
                // An unused pace does not probe the limit.
                self.hold_until = self.hold_until.max(now);
            }
            return;
        }
        if !self.long_waits && self.recover(now) {
            return;
        }
        let faster = match self.measured {
            None if self.full.is_none() && !self.seen_slow => RAMP,
            None => PROBE,
            Some(_) if self.dropped.is_some_and(|drop| self.pace < drop.before * BACK) => RETURN,
            // Probe slowly near the measured limit, and ever faster beyond it, where it has moved.
            Some(measured) => PROBE * (0.5 + 2.0 * ((self.pace / measured) - BELOW).max(0.0)).min(1.5),
        };
        self.pace *= 1.0 + faster * since;
        if let Some(limit) = self.known() {
            self.pace = self.pace.min(limit);
        }
        self.apply(now);
    }

    /// Handles the refusal of a call that started at `started` with `amount` units; the provider asks to `wait`.
    pub fn refused(&mut self, now: Seconds, started: Seconds, amount: f64, wait: Seconds) {
        self.passed -= amount;
        self.bucket.take(now, 0.0);
        if started < self.cut_at {
            return;
        }
        if self.catching_up {
            self.haste_fails = true;
            (self.deficit, self.catching_up) = (0.0, false);
        }
        self.long_waits |= wait >= LONG_WAIT;
        let trip = if self.long_waits { 0.0 } else { now - started };
        let mark = Mark { at: now, passed: self.passed, trip, unused: 0.0 };
        if !self.long_waits && self.drop_again(mark) {
            (self.cut_at, self.grown_at) = (now, now);
            self.bucket.drain(now);
            return self.apply(now);
        }
        self.measure(mark, wait);
        if let Some(limit) = self.known() {
            self.pace = self.pace.min(limit);
        }
        self.pace = self.pace.max(self.floor());
        self.cut_at = now;
        self.grown_at = now;
        self.bucket.drain(now);
        self.apply(now);
    }

    /// Handles congestion: the provider refuses no call, but answers only `delivered` a second.
    pub fn on_congestion(&mut self, now: Seconds, delivered: f64) {
        self.pace = (self.pace.min(delivered) * EASE).max(self.pace * LEAST_EASE);
        self.seen_slow = true;
        self.hold_until = self.hold_until.max(now + 2.0);
        self.apply(now);
    }

    /// Sets the limit a second that the provider advertises. A higher one than before discards the measurements of
    /// the old limit.
    pub fn advertised_limit(&mut self, now: Seconds, limit: f64) {
        if let Some((before, at)) = self.advertised
            && before < limit
        {
            if now - at < SETTLED {
                return;
            }
            (self.measured, self.full, self.dropped) = (None, None, None);
            self.raised = None;
            self.hold_until = now;
        }
        self.advertised = Some((limit, now));
        if self.pace > limit {
            self.pace = limit;
            self.apply(now);
        }
    }

    /// Replaces the configured limit a second.
    pub fn allow(&mut self, now: Seconds, limit: f64) {
        self.configured = Some(limit);
        let limit = self.advertised.map_or(limit, |(advertised, _)| advertised.min(limit));
        // A measured pace, or one that was lowered, is more reliable than the configured limit.
        self.pace = if self.ever_refused || self.seen_slow { self.pace.min(limit) } else { limit };
        self.apply(now);
    }

    /// The lower one of the configured and the advertised limit a second.
    pub fn known(&self) -> Option<f64> {
        self.configured.into_iter().chain(self.advertised.map(|(advertised, _)| advertised)).reduce(f64::min)
    }

    fn floor(&self) -> f64 {
        self.known().map_or(UNKNOWN_FLOOR * self.size, |known| FLOOR * known)
    }

    fn apply(&mut self, now: Seconds) {
        let pace = if self.catching_up { self.pace * HASTE } else { self.pace };
        if self.even {
            self.bucket.set(now, pace * EVEN, self.size + pace * LATENESS);
        } else {
            // At least a call and a quarter: at a low pace every late call would waste a share of the limit.
            self.bucket.set(now, pace, (pace * BURST).max(self.size * LATE));
        }
    }
}
