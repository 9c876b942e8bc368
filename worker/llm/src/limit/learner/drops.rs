//! Limits that drop and recover, as they do when others use the same account by turns.
//!
//! The duration of the last drop, and the limit before and during it, are kept. The next drop is expected to be like
//! it: the pace is lowered to the earlier low limit immediately, held as long, and raised back in one step.

use super::super::Seconds;
use super::Learner;
use super::types::{BACK, BELOW, CUT, HOLD, LimitDrop, MOVED, Mark, PreviousDrop};

/// First holding time after a drop.
const SHORT: Seconds = 3.0;

/// Factor on the holding time with each probe that is refused.
const LONGER: f64 = 2.0;

/// Time without a refusal after which the limit counts as recovered.
const SURE: Seconds = 1.5;

/// Most probes of the earlier limit.
const PROBES: u32 = 4;

/// Time between the first two probes of a limit that has recovered before; it grows by as much with each.
const NEXT_PROBE: Seconds = 1.5;

/// Range around an earlier low limit, as shares of it, in which a limit is taken to be the same.
const LIKE: (f64, f64) = (0.8, 1.25);

/// Factor on the holding time after a drop.
const EAGER: f64 = 0.8;

/// Factor on the expected duration after a successful probe, once it is narrowed down.
const SOONER: f64 = 0.95;

impl Learner {
    /// A drop from the limit `before`.
    pub(super) fn begin_drop(&self, before: f64, now: Seconds) -> LimitDrop {
        let hold = self.previous_drop.map_or(SHORT, |previous| previous.lasted);
        LimitDrop { before, since: now, hold, low_at: now, back_at: None, probes: 0 }
    }

    /// The drop continues: the next probe comes when the last drop ended, or later each time, up to nearly the `longest_hold`
    /// holding time.
    pub(super) fn still_low(&self, drop: LimitDrop, now: Seconds, longest_hold: Seconds) -> LimitDrop {
        let left =
            self.previous_drop.map(|previous| drop.since + previous.lasted - now).filter(|left| *left > 0.0);
        let hold = left.unwrap_or_else(|| (LONGER * drop.hold).min(HOLD.max(EAGER * longest_hold)));
        LimitDrop { hold, low_at: now, back_at: None, ..drop }
    }

    /// The limit before it was measured to be `rate`. Where there is no measurement before, a limit as low as in an
    /// earlier drop is taken to be a drop like it.
    pub(super) fn before(&self, rate: f64) -> f64 {
        match (self.measured, self.previous_drop) {
            (None, Some(previous)) if (previous.low * LIKE.0..previous.low * LIKE.1).contains(&rate) => {
                previous.high
            }
            (measured, _) => self.high(measured.unwrap_or(rate)),
        }
    }

    /// The limit before a drop: a measurement may include part of the drop, so an earlier drop may have a better value.
    fn high(&self, measured: f64) -> f64 {
        self.previous_drop
            .filter(|previous| previous.high < measured * MOVED)
            .map_or(measured, |previous| previous.high.max(measured))
    }

    /// Raises the pace to the limit before the drop; without a refusal there, the limit has recovered. Returns
    /// whether the pace is decided.
    pub(super) fn recover(&mut self, now: Seconds) -> bool {
        let (Some(measured), Some(drop)) = (self.measured, &mut self.dropped) else { return false };
        if let Some(back_at) = drop.back_at {
            if now - back_at < SURE {
                return true;
            }
            let (longest, lasted) = match self.previous_drop {
                // The first probe succeeded: the next may come earlier.
                Some(previous) if drop.probes == 0 && previous.longest < previous.lasted * SOONER => {
                    (previous.longest, f64::midpoint(previous.longest, previous.lasted))
                }
                Some(previous) if drop.probes == 0 => (previous.longest * SOONER, previous.lasted * SOONER),
                _ => (drop.low_at - drop.since, f64::midpoint(drop.low_at, back_at) - drop.since),
            };
            self.previous_drop = Some(PreviousDrop { high: drop.before, low: measured, longest, lasted });
            (self.measured, self.full) = (Some(drop.before), None);
            self.pace = drop.before * BELOW;
            self.dropped = None;
            self.hold_until = now + SURE;
        } else if self.previous_drop.is_some() || self.pace >= drop.before * BACK {
            self.pace = drop.before * BELOW;
            drop.back_at = Some(now);
        } else {
            return false;
        }
        self.pace = self.known().map_or(self.pace, |limit| self.pace.min(limit));
        self.apply(now);
        true
    }

    /// Handles a refusal that an earlier drop explains: the limit has not recovered yet, or it has dropped as before.
    /// Returns whether it did.
    pub(super) fn drop_again(&mut self, mark: Mark) -> bool {
        let (Some(measured), Some(previous)) = (self.measured, self.previous_drop) else { return false };
        match &mut self.dropped {
            Some(drop) if drop.back_at.is_some() => {
                (drop.low_at, drop.back_at, drop.probes) = (mark.at, None, drop.probes + 1);
                if drop.probes == PROBES {
                    // It does not recover to the earlier limit: measure anew.
                    self.previous_drop = None;
                }
                self.hold_until = mark.at + NEXT_PROBE * f64::from(drop.probes);
                self.pace = measured * BELOW;
                true
            }
            None if self.full.is_some_and(|full| mark.at - full.at < 1.0)
                && previous.low < measured * CUT =>
            {
                // The last measurement included part of the drop.
                let before = self.earlier.map_or(measured, |earlier| earlier.max(measured));
                let drop = self.begin_drop(self.high(before), mark.at);
                self.dropped = Some(drop);
                (self.measured, self.full) = (Some(previous.low), Some(mark));
                self.hold_until = mark.at + drop.hold;
                self.pace = previous.low * BELOW;
                true
            }
            _ => false,
        }
    }
}
