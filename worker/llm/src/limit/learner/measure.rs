//! What a refusal tells of the limit: at each the allowance was used up, so what passed between two of them is what was
//! allowed.

use super::super::Seconds;
use super::Learner;
use super::types::{BELOW, CUT, EXPECTED, HOLD, LONG_WAIT, MOVED, Mark};

/// The share of a time of which the pace is not used from which what passed in it is less than the limit.
const UNUSED: f64 = 0.1;

/// How far apart two measurements of one limit may be, as a share of it.
const SAME: f64 = 0.1;

/// The pace, as a multiple of a limit that is measured again, from which that is taken for a little more, and how much more.
const BEYOND: f64 = 1.15;
const CONFIRMED: f64 = 1.02;

/// The pace after a refusal that measured nothing, where a limit is known from elsewhere.
const KNOWN_CUT: f64 = 0.9;

/// The share of what somebody says the limit is from which it is believed, whatever was measured: what goes unused while
/// the provider's allowance is full is missing in a measurement. Below it, others use the same account, or the limit is
/// another one.
const BELIEVED: f64 = 0.8;

/// Fewest units that are let through before the limit is looked for again.
const HOLD_UNITS: f64 = 150.0;

/// Fewest units (of the size of a call) from which a rate is measured.
const MEASURED: f64 = 12.0;

impl Learner {
    /// Takes from a refusal what it tells of the limit, and sets the pace by it.
    pub(super) fn look(&mut self, mark: Mark, wait: Seconds) {
        let climbed = self.measured.is_some_and(|measured| self.pace > measured * MOVED);
        let rate = self.full.and_then(|full| self.rate(full, mark));
        let same = rate.and_then(|rate| self.same(rate));
        // Far above what was measured, the time since the last refusal knew two limits and measures neither: unless as
        // much passed as before, and it was the provider's burst that let the pace climb.
        let climbed = climbed && same.is_none();
        let rate = same.or(rate).filter(|_| !climbed);
        // A long wait means an allowance per window: what passed was for the time until the next one begins.
        let windowed = || (wait >= LONG_WAIT).then(|| self.passed / (mark.at - self.began + wait));
        let rate = rate.or_else(|| (!self.ever_refused).then(windowed).flatten());
        self.ever_refused = true;
        if let Some(rate) = rate {
            self.settle(mark, rate, wait);
        } else {
            // Too soon to measure: the last mark stays, so that the next refusal measures from there.
            if climbed {
                (self.measured, self.full, self.dropped) = (None, None, None);
            }
            let last = self.full.get_or_insert(mark);
            if mark.passed <= last.passed || last.unused > UNUSED * (mark.at - last.at) {
                *last = mark;
            }
            self.pace *= if self.known().is_some() { KNOWN_CUT } else { CUT };
            self.hold_until = mark.at + 1.0;
        }
    }

    /// What passed a second from one refusal to the next, if that is long and much enough to tell. While the pace was not
    /// used, as when a provider has fallen silent, more might have: then the limit is no lower than was measured before.
    fn rate(&self, from: Mark, to: Mark) -> Option<f64> {
        let (time, units) = (to.at - from.at - from.trip, to.passed - from.passed);
        let rate = (time > 0.2 && units >= MEASURED * self.size).then(|| units / time)?;
        if from.unused < UNUSED * time {
            Some(rate)
        } else {
            self.measured.map(|measured| measured.max(rate))
        }
    }

    /// The limit, if `rate` is that of the one measured before. What goes unused while the provider's burst is full is
    /// missing in a rate, so the greater of the two is the truer; and where the pace had to go well beyond to be refused,
    /// the pace held until then was safe and may be more. One that is too great is refused sooner, and misses nothing.
    fn same(&self, rate: f64) -> Option<f64> {
        let measured =
            self.measured.filter(|measured| !self.long_waits && (rate / measured - 1.0).abs() < SAME)?;
        Some(rate.max(measured) * if self.pace > measured * BEYOND { CONFIRMED } else { 1.0 })
    }

    /// Holds the pace a little below the limit that was measured.
    fn settle(&mut self, mark: Mark, rate: f64, wait: Seconds) {
        // What gathered during a long wait makes the limit look higher than it is.
        let rate = match self.measured {
            Some(measured) if std::mem::take(&mut self.skipped) => rate.min(measured * 0.9),
            _ => rate,
        };
        let rate = self.known().filter(|known| (BELIEVED..1.1).contains(&(rate / known))).unwrap_or(rate);
        // What a look at the limit costs decides how often it is worth it.
        let usual = HOLD.max(HOLD_UNITS * self.size / rate).max(3.0 * wait);
        let before = self.before(rate);
        self.earlier = self.measured;
        let drop = match self.dropped {
            Some(drop) if rate < 0.8 * drop.before => self.still_low(drop, mark.at, usual),
            _ => self.begin_drop(before, mark.at),
        };
        self.dropped = Some(drop).filter(|drop| rate < 0.8 * drop.before && mark.at - drop.since < EXPECTED);
        self.hold_until = mark.at + self.dropped.map_or(usual, |drop| drop.hold);
        self.measured = Some(rate);
        self.pace = rate * BELOW;
        self.full = Some(mark);
    }
}
