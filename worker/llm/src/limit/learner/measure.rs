//! Measures the limit at refusals: at each the allowance was used up, so the units that passed between two of them
//! are the allowance.

use super::super::Seconds;
use super::Learner;
use super::types::{BELOW, CUT, EXPECTED, HOLD, LONG_WAIT, MOVED, Mark};

/// Unused share of a time from which the units that passed in it are less than the limit.
const UNUSED: f64 = 0.1;

/// Largest relative difference of two measurements of one limit.
const SAME: f64 = 0.1;

/// Pace as a multiple of a limit measured again, from which that limit is taken to be a little higher.
pub(super) const BEYOND: f64 = 1.15;

/// Factor on such a limit.
const CONFIRMED: f64 = 1.02;

/// Factor on the pace at a refusal without a measurement, if a limit is configured or advertised.
const KNOWN_CUT: f64 = 0.9;

/// Measured share of the configured or advertised limit from which that limit is used instead of the measurement,
/// which misses the allowance that is unused while the provider's burst is full. Below it, others use the same
/// account, or the limit is wrong.
const TRUSTED: f64 = 0.8;

/// Shortest holding time in waits that a refusal asks for: where the provider keeps the allowance of a wait, and where
/// it is lost.
const WAITS: f64 = 3.0;
const LOST_WAITS: f64 = 24.0;

/// Fewest units that pass before the limit is probed again.
const HOLD_UNITS: f64 = 150.0;

/// Fewest calls from which a rate is measured.
const MEASURED: f64 = 12.0;

impl Learner {
    /// Measures the limit at a refusal, and sets the pace by it.
    pub(super) fn measure(&mut self, mark: Mark, wait: Seconds) {
        let climbed = self.measured.is_some_and(|measured| self.pace > measured * MOVED);
        let passed = self.full.and_then(|full| self.rate(full, mark));
        if let Some(rate) = self.judge(passed) {
            return self.settle(mark, rate, wait);
        }
        let rate = passed;
        let same = rate.and_then(|rate| self.same(rate));
        // Far above the measured limit, the time since the last refusal spans two limits and measures neither: unless
        // the rate is the same as before, and the provider's burst allowed the pace to climb.
        let climbed = climbed && same.is_none();
        let rate = same.or(rate).filter(|_| !climbed);
        // A long wait means an allowance per window: the passed units are those of the time until the next window.
        let windowed = || (wait >= LONG_WAIT).then(|| self.passed / (mark.at - self.began + wait));
        let rate = rate.or_else(|| (!self.ever_refused).then(windowed).flatten());
        self.ever_refused = true;
        if let Some(rate) = rate {
            let rate = passed.map_or(rate, |passed| self.raise(mark, passed, rate));
            self.settle(mark, rate, wait);
        } else {
            // Too early to measure: keep the last mark, so that the next refusal measures from there.
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

    /// Units a second between two refusals, if there are enough to measure. Where the pace was unused, as during a
    /// stall, more could have passed: then the limit is at least the previous measurement.
    fn rate(&self, from: Mark, to: Mark) -> Option<f64> {
        let (time, units) = (to.at - from.at - from.trip, to.passed - from.passed);
        let rate = (time > 0.2 && units >= MEASURED * self.size).then(|| units / time)?;
        if from.unused < UNUSED * time {
            Some(rate)
        } else {
            // A raised limit is not a measurement.
            let measured = self.raised.map(|raised| raised.from).or(self.measured);
            measured.map(|measured| measured.max(rate))
        }
    }

    /// The limit, if `rate` confirms the previous measurement. A rate misses the allowance that is unused while the
    /// provider's burst is full, so the greater of the two is more accurate; and if the pace had to go well beyond to
    /// be refused, the held pace was safe and may be higher. If it was refused while it was held, the limit is lower:
    /// but not as low as the rate, which misses the allowance of the wait if that is lost.
    fn same(&self, rate: f64) -> Option<f64> {
        let measured =
            self.measured.filter(|measured| !self.long_waits && (rate / measured - 1.0).abs() < SAME)?;
        if self.pace <= measured {
            return Some(f64::midpoint(rate, measured));
        }
        Some(rate.max(measured) * if self.pace > measured * BEYOND { CONFIRMED } else { 1.0 })
    }

    /// Holds the pace a little below the measured limit.
    fn settle(&mut self, mark: Mark, rate: f64, wait: Seconds) {
        // The allowance that accumulated during a long wait inflates the measurement.
        let rate = match self.measured {
            Some(measured) if std::mem::take(&mut self.skipped) => rate.min(measured * 0.9),
            _ => rate,
        };
        let rate = self.known().filter(|known| (TRUSTED..1.1).contains(&(rate / known))).unwrap_or(rate);
        // The cost of a probe determines how often it is made.
        let waits = if self.loses() { LOST_WAITS } else { WAITS };
        let hold = HOLD.max(HOLD_UNITS * self.size / rate).max(waits * wait);
        let before = self.before(rate);
        self.earlier = self.measured;
        let drop = match self.dropped {
            Some(drop) if rate < 0.8 * drop.before => self.still_low(drop, mark.at, hold),
            _ => self.begin_drop(before, mark.at),
        };
        self.dropped = Some(drop).filter(|drop| rate < 0.8 * drop.before && mark.at - drop.since < EXPECTED);
        self.hold_until = mark.at + self.dropped.map_or(hold, |drop| drop.hold);
        self.measured = Some(rate);
        self.pace = rate * BELOW;
        self.full = Some(mark);
    }
}
