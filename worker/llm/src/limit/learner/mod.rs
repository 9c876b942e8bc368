//! Learns one rate: calls a second, or tokens a second.
//!
//! A provider's allowance is full-to-full the same: between two refusals, at each of which it was used up, exactly what
//! was allowed went through. So what passed from one refusal to the next, over the time between, *is* the limit,
//! whatever the burst. The pace is held a little below that for a while, then raised faster and faster until it is
//! refused again: one or two refused calls are what a look at the limit costs. How long it is held is counted in calls
//! as well as in time, so that the refused share stays small at slow rates too.

mod drops;
mod measure;
mod types;

use types::{BACK, BELOW, LONG_WAIT, LimitDrop, Mark, PreviousDrop};

use super::Seconds;
use super::bucket::Bucket;

/// The first pace where nothing is known, per second.
const FIRST: f64 = 2.0;

/// How much faster each second while nothing was ever refused.
const RAMP: f64 = 0.35;

/// How much faster each second when looking for a limit that may have moved.
const PROBE: f64 = 0.07;

/// The same, below a limit that fell a moment ago and may come back.
const RETURN: f64 = 0.25;

/// The pace after calls piled up.
const EASE: f64 = 0.93;
const LEAST_EASE: f64 = 0.4;

/// No pace below this share of what somebody says the limit is, or below so many calls a second where nobody does. A
/// provider that refuses calls whatever the pace would otherwise be slowed down to for ever; one that is really as
/// narrow as that asks for waits, and they are kept.
const FLOOR: f64 = 0.1;
const UNKNOWN_FLOOR: f64 = 0.1;

/// How much is caught up at most after a wait, and how much faster.
const CATCH_UP: Seconds = 2.0;
const HASTE: f64 = 1.25;

/// Capacity in calls, so that one that starts late does not delay those after it.
const LATE: f64 = 1.25;

/// How long nobody may have said less before more is believed: calls that are under way when a limit changes tell of the
/// old one when they end.
const SETTLED: Seconds = 5.0;

/// Learns one rate.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Learner {
    bucket: Bucket,
    /// No pace above this, says the user.
    configured: Option<f64>,
    /// No pace above this, says the provider, and when it last said so.
    advertised: Option<(f64, Seconds)>,
    /// What the measured limit is, once there is one.
    measured: Option<f64>,
    /// What was measured before that.
    earlier: Option<f64>,
    /// Units let through, less those refused.
    passed: f64,
    /// When and what had passed at the last refusals: the limit was used up then.
    full: Option<Mark>,
    /// Calls that started before this react to a pace of the past.
    cut_at: Seconds,
    /// The pace is held until then.
    hold_until: Seconds,
    /// How much is to be caught up.
    deficit: f64,
    /// Since when `deficit` counts as haste that a refusal answers.
    catching_up: bool,
    /// Whether haste was refused: the provider keeps little of what is not used.
    haste_fails: bool,
    /// Usual size of a call in units.
    size: f64,
    pace: f64,
    grown_at: Seconds,
    dropped: Option<LimitDrop>,
    /// The last fall from which the limit came back: the next may be like it.
    previous_drop: Option<PreviousDrop>,
    /// Whether a refusal ever asked for a long wait: looks are too dear then.
    long_waits: bool,
    began: Seconds,
    ever_refused: bool,
    /// Whether a long wait was left out of what is being measured.
    skipped: bool,
    /// Whether calls ever piled up.
    seen_slow: bool,
}

impl Learner {
    /// `configured`: the known limit a second. `size`: the usual size of a call in units.
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
        };
        learner.apply(now);
        learner
    }

    /// Begins with a pace that was good so far.
    pub fn begin(&mut self, now: Seconds, pace: f64) {
        self.pace = pace;
        self.apply(now);
    }

    /// The pace in units a second.
    pub const fn pace(&self) -> f64 {
        self.pace
    }

    /// What the limit is measured to be.
    pub const fn measured(&self) -> Option<f64> {
        self.measured
    }

    /// When `amount` may pass.
    pub fn ready(&mut self, now: Seconds, amount: f64) -> Seconds {
        self.bucket.ready(now, amount)
    }

    /// Lets `amount` pass; what to remember of it is returned.
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

    /// Corrects an estimate: the call used `more` units than it was let through with.
    pub fn correct(&mut self, now: Seconds, more: f64) {
        self.bucket.give_back(now, -more);
        self.passed += more;
    }

    /// Nothing passed until `now` because of a wait that began at `since`.
    pub fn waited(&mut self, since: Seconds, now: Seconds) {
        self.bucket.drain(now);
        if let Some(full) = self.full.as_mut().filter(|_| now - since >= LONG_WAIT) {
            // Nobody knows what a long wait would have allowed: it does not count.
            full.at += now - since;
            self.skipped = true;
        }
        self.hold_until += now - since;
        self.grown_at = now;
        if !self.haste_fails {
            self.deficit = (self.deficit + (now - since) * self.pace).min(CATCH_UP * self.pace);
            self.catching_up = self.deficit > 0.0;
        }
        self.apply(now);
    }

    /// Raises the pace when it is time to. `used`: whether the pace is what limits, and nothing else.
    pub fn grow(&mut self, now: Seconds, used: bool) {
        if let Some(full) = self.full.as_mut().filter(|_| !used) {
            full.unused += now - self.grown_at;
        }
        let since = (now - self.grown_at).min(0.5);
        self.grown_at = now;
        if !used || now < self.hold_until || since <= 0.0 || self.catching_up {
            if !used {
                // A pace that is not used says nothing about the limit.
                self.hold_until = self.hold_until.max(now);
            }
            return;
        }
        if !self.long_waits && self.comes_back(now) {
            return;
        }
        let faster = match self.measured {
            None if self.full.is_none() && !self.seen_slow => RAMP,
            None => PROBE,
            Some(_) if self.dropped.is_some_and(|drop| self.pace < drop.before * BACK) => RETURN,
            // Faster and faster: near the known limit it is looked for gently, far from it, it has moved.
            Some(measured) => PROBE * (0.5 + 2.0 * ((self.pace / measured) - BELOW).max(0.0)).min(1.5),
        };
        self.pace *= 1.0 + faster * since;
        if let Some(most) = self.known() {
            self.pace = self.pace.min(most);
        }
        self.apply(now);
    }

    /// A call was refused that had started at `started` with `amount` units; the provider asks to `wait`.
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
        if !self.long_waits && self.falls_again(mark) {
            (self.cut_at, self.grown_at) = (now, now);
            self.bucket.drain(now);
            return self.apply(now);
        }
        self.look(mark, wait);
        if let Some(most) = self.known() {
            self.pace = self.pace.min(most);
        }
        self.pace = self.pace.max(self.floor());
        self.cut_at = now;
        self.grown_at = now;
        self.bucket.drain(now);
        self.apply(now);
    }

    /// Calls pile up at the provider: nothing is refused, but more than this is not worked on.
    /// `delivered` a second come back.
    pub fn on_congestion(&mut self, now: Seconds, delivered: f64) {
        self.pace = (self.pace.min(delivered) * EASE).max(self.pace * LEAST_EASE);
        self.seen_slow = true;
        self.hold_until = self.hold_until.max(now + 2.0);
        self.apply(now);
    }

    /// The provider says that no more than this is allowed a second. Where it says more than before, the limit has moved:
    /// what was measured of the old one counts no more.
    pub fn advertised_limit(&mut self, now: Seconds, most: f64) {
        if let Some((before, at)) = self.advertised
            && before < most
        {
            if now - at < SETTLED {
                return;
            }
            (self.measured, self.full, self.dropped) = (None, None, None);
            self.hold_until = now;
        }
        self.advertised = Some((most, now));
        if self.pace > most {
            self.pace = most;
            self.apply(now);
        }
    }

    /// The user says that this is allowed a second, whatever the user said before.
    pub fn allow(&mut self, now: Seconds, most: f64) {
        self.configured = Some(most);
        let most = self.advertised.map_or(most, |(advertised, _)| advertised.min(most));
        // What was measured is known better than what is said, and so is a pace on its way down.
        self.pace = if self.ever_refused || self.seen_slow { self.pace.min(most) } else { most };
        self.apply(now);
    }

    /// The limit a second that somebody says: the user or the provider, whoever says less.
    pub fn known(&self) -> Option<f64> {
        self.configured.into_iter().chain(self.advertised.map(|(advertised, _)| advertised)).reduce(f64::min)
    }

    fn floor(&self) -> f64 {
        self.known().map_or(UNKNOWN_FLOOR * self.size, |known| FLOOR * known)
    }

    fn apply(&mut self, now: Seconds) {
        let pace = if self.catching_up { self.pace * HASTE } else { self.pace };
        // A tenth of a second may pass at once, and a quarter of a call be made good: tasks do not wake up to the
        // microsecond, and at a slow pace every late call would be a share of the limit that is lost.
        self.bucket.set(now, pace, (pace * 0.1).max(self.size * LATE));
    }
}
