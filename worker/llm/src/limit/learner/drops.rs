//! Limits that fall and come back, as they do where others use the same account by turns.
//!
//! How long the last fall lasted, and where the limit was before and meanwhile, is remembered. The next fall is taken for
//! one like it: the pace falls at once, is held as long, and goes back at once.

use super::super::Seconds;
use super::Learner;
use super::types::{BACK, BELOW, CUT, HOLD, LimitDrop, MOVED, Mark, PreviousDrop};

/// How long a pace is held at first after the limit fell, and how much longer each time it has not come back.
const SHORT: Seconds = 3.0;
const LONGER: f64 = 2.0;

/// How long a pace that has come back is not refused until the limit counts as come back.
const SURE: Seconds = 1.5;

/// How often it is looked for there.
const LOOKS: u32 = 4;

/// Between the first two looks at a limit that may be back, where it has come back before; as much longer each time.
const NEXT_LOOK: Seconds = 1.5;

/// How far a limit may be from an earlier low one to be taken for it, as shares of that.
const LIKE: (f64, f64) = (0.8, 1.25);

/// How much sooner than usual a limit that fell is looked for.
const EAGER: f64 = 0.8;

/// How much sooner it is looked for after a look that found it, once looks have narrowed down how long falls last.
const SOONER: f64 = 0.95;

impl Learner {
    /// A fall from `before`.
    pub(super) fn begin_drop(&self, before: f64, now: Seconds) -> LimitDrop {
        let hold = self.previous_drop.map_or(SHORT, |previous| previous.lasted);
        LimitDrop { before, since: now, hold, low_at: now, back_at: None, looks: 0 }
    }

    /// A fall that is not over: it is looked for as late as the last one ended, or later each time, up to nearly the `usual`
    /// time.
    pub(super) fn still_low(&self, drop: LimitDrop, now: Seconds, usual: Seconds) -> LimitDrop {
        let left =
            self.previous_drop.map(|previous| drop.since + previous.lasted - now).filter(|left| *left > 0.0);
        let hold = left.unwrap_or_else(|| (LONGER * drop.hold).min(HOLD.max(EAGER * usual)));
        LimitDrop { hold, low_at: now, back_at: None, ..drop }
    }

    /// Where the limit was before it was measured to be `rate`. Nothing is known of it after it had to be found anew: what is
    /// as low as an earlier fall is taken for one like it.
    pub(super) fn before(&self, rate: f64) -> f64 {
        match (self.measured, self.previous_drop) {
            (None, Some(previous)) if (previous.low * LIKE.0..previous.low * LIKE.1).contains(&rate) => {
                previous.high
            }
            (measured, _) => self.high(measured.unwrap_or(rate)),
        }
    }

    /// What is measured when a limit falls is measured over the fall as well: earlier falls may know better.
    fn high(&self, measured: f64) -> f64 {
        self.previous_drop
            .filter(|previous| previous.high < measured * MOVED)
            .map_or(measured, |previous| previous.high.max(measured))
    }

    /// After a fall like an earlier one the pace goes back at once; what is not refused there is back.
    pub(super) fn comes_back(&mut self, now: Seconds) -> bool {
        let (Some(measured), Some(drop)) = (self.measured, &mut self.dropped) else { return false };
        if let Some(back_at) = drop.back_at {
            if now - back_at < SURE {
                return true;
            }
            let (longest, lasted) = match self.previous_drop {
                // The first look found it back: the next may come sooner.
                Some(previous) if drop.looks == 0 && previous.longest < previous.lasted * SOONER => {
                    (previous.longest, f64::midpoint(previous.longest, previous.lasted))
                }
                Some(previous) if drop.looks == 0 => (previous.longest * SOONER, previous.lasted * SOONER),
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
        self.pace = self.known().map_or(self.pace, |most| self.pace.min(most));
        self.apply(now);
        true
    }

    /// A refusal that earlier falls explain: the limit is not back yet, or it has fallen as before.
    pub(super) fn falls_again(&mut self, mark: Mark) -> bool {
        let (Some(measured), Some(previous)) = (self.measured, self.previous_drop) else { return false };
        match &mut self.dropped {
            Some(drop) if drop.back_at.is_some() => {
                (drop.low_at, drop.back_at, drop.looks) = (mark.at, None, drop.looks + 1);
                if drop.looks == LOOKS {
                    // It does not come back to where it was: look for where it is.
                    self.previous_drop = None;
                }
                self.hold_until = mark.at + NEXT_LOOK * f64::from(drop.looks);
                self.pace = measured * BELOW;
                true
            }
            None if self.full.is_some_and(|full| mark.at - full.at < 1.0)
                && previous.low < measured * CUT =>
            {
                // What was measured a moment ago was measured over the fall already.
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
