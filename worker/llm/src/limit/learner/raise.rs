//! Raises a measured limit where the provider's burst is too short to keep what is not used.
//!
//! The units that passed between two refusals are the allowance only if the provider keeps what is not used of it. With
//! a burst of some tenths of a second, that is lost: then the rate is that of the calls that were sent, and holding a
//! pace below it lets the next rate be as low. A sign of this is that the pace climbs well beyond the measured limit
//! before it is refused. With a long burst it does so as well, while the measurement is right; so it is tried once. The
//! limit is raised towards the refused pace. If more passes until the next refusal, the allowance was lost before, and
//! the limit is raised further whenever the pace climbs beyond it. Otherwise the burst is long, and the limit is never
//! raised again: such a provider refuses a call or two more in all.

use super::super::Seconds;
use super::Learner;
use super::measure::BEYOND;
use super::types::{Burst, Mark, Raise};

/// Share of the way to the refused pace by which the limit is raised.
const REACH: f64 = 0.6;

/// Factor on this share when a raised limit was too high.
const LESS: f64 = 0.5;

/// Lowest share that is tried.
const LEAST_REACH: f64 = 0.2;

/// Refused pace as a multiple of the limit from which the limit is raised, where the burst is known to be short.
const BEYOND_SHORT: f64 = 1.05;

/// Shortest measurement that is raised: in a shorter one, catching up after a wait counts too much.
const LONG: Seconds = 4.0;

/// Share of a raise by which more must pass to confirm it.
const MORE: f64 = 0.3;

impl Learner {
    /// Whether the provider loses the allowance that is not used.
    pub(super) const fn loses(&self) -> bool {
        matches!(self.burst, Burst::Loses { .. }) && self.is_steady()
    }

    /// Whether refusals may be explained by a short burst: not by a limit that drops and recovers, or one per window.
    const fn is_steady(&self) -> bool {
        self.dropped.is_none() && self.previous_drop.is_none() && !self.long_waits
    }

    /// The limit to try after a refusal at which it was measured to be `rate`, with `passed` units a second.
    pub(super) fn raise(&mut self, mark: Mark, passed: f64, rate: f64) -> f64 {
        let (reach, beyond) = match self.burst {
            Burst::Unknown => (REACH, BEYOND),
            Burst::Loses { reach } if reach > LEAST_REACH => (reach, BEYOND_SHORT),
            _ => return rate,
        };
        let long = self.full.is_some_and(|full| mark.at - full.at > LONG);
        // A pace that is refused without a climb is that of a limit that has dropped.
        let climbed = self.pace > self.measured.map_or(rate, |measured| measured.max(rate)) * beyond;
        if !self.is_steady() || !long || !climbed || self.known().is_some() {
            return rate;
        }
        self.raised = Some(Raise { passed, from: rate });
        rate + reach * (self.pace - rate)
    }

    /// Judges the last raise at the next refusal, until which `passed` units a second passed. Takes it back if it was
    /// wrong. Returns the limit if the raised one was refused while it was held by a provider with a short burst: the
    /// rate of so short a time misses the allowance of the wait, so the limit before the raise is more accurate.
    pub(super) fn judge(&mut self, passed: Option<f64>) -> Option<f64> {
        let (raised, measured) = (self.raised.take()?, self.measured?);
        let held = self.pace < measured;
        let more = |passed: f64| passed - raised.passed >= MORE * (measured - raised.from);
        if !held && passed.is_none_or(more) {
            // Without enough calls to measure, the raise is neither confirmed nor refuted.
            if passed.is_some() && matches!(self.burst, Burst::Unknown) {
                self.burst = Burst::Loses { reach: REACH };
            }
            return None;
        }
        self.measured = Some(raised.from);
        if let Burst::Loses { reach } = self.burst {
            self.burst = Burst::Loses { reach: reach * LESS };
            held.then(|| passed.map_or(raised.from, |passed| passed.max(raised.from)))
        } else {
            self.burst = Burst::Keeps;
            None
        }
    }
}
