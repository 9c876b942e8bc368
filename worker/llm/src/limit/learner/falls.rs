//! Limits that fall and come back, as they do where others use the same account by turns.
//!
//! How long the last fall lasted, and where the limit was before and meanwhile, is remembered. The next fall is taken for
//! one like it: the pace falls at once, is held as long, and goes back at once.

use super::super::Seconds;
use super::Learner;
use super::types::{BACK, BELOW, CUT, Fall, HOLD, MOVED, Mark, Past};

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
    pub(super) fn fall(&self, before: f64, now: Seconds) -> Fall {
        let hold = self.past.map_or(SHORT, |past| past.lasted);
        Fall { before, since: now, hold, low_at: now, back_at: None, looks: 0 }
    }

    /// A fall that is not over: it is looked for as late as the last one ended, or later each time, up to nearly the `usual`
    /// time.
    pub(super) fn still_low(&self, fall: Fall, now: Seconds, usual: Seconds) -> Fall {
        let left = self.past.map(|past| fall.since + past.lasted - now).filter(|left| *left > 0.0);
        let hold = left.unwrap_or_else(|| (LONGER * fall.hold).min(HOLD.max(EAGER * usual)));
        Fall { hold, low_at: now, back_at: None, ..fall }
    }

    /// Where the limit was before it was measured to be `rate`. Nothing is known of it after it had to be found anew: what is
    /// as low as an earlier fall is taken for one like it.
    pub(super) fn before(&self, rate: f64) -> f64 {
        match (self.measured, self.past) {
            (None, Some(past)) if (past.low * LIKE.0..past.low * LIKE.1).contains(&rate) => past.high,
            (measured, _) => self.high(measured.unwrap_or(rate)),
        }
    }

    /// What is measured when a limit falls is measured over the fall as well: earlier falls may know better.
    fn high(&self, measured: f64) -> f64 {
        self.past.filter(|past| past.high < measured * MOVED).map_or(measured, |past| past.high.max(measured))
    }

    /// After a fall like an earlier one the pace goes back at once; what is not refused there is back.
    pub(super) fn comes_back(&mut self, now: Seconds) -> bool {
        let (Some(measured), Some(fall)) = (self.measured, &mut self.fallen) else { return false };
        if let Some(back_at) = fall.back_at {
            if now - back_at < SURE {
                return true;
            }
            let (longest, lasted) = match self.past {
                // The first look found it back: the next may come sooner.
                Some(past) if fall.looks == 0 && past.longest < past.lasted * SOONER => {
                    (past.longest, f64::midpoint(past.longest, past.lasted))
                }
                Some(past) if fall.looks == 0 => (past.longest * SOONER, past.lasted * SOONER),
                _ => (fall.low_at - fall.since, f64::midpoint(fall.low_at, back_at) - fall.since),
            };
            self.past = Some(Past { high: fall.before, low: measured, longest, lasted });
            (self.measured, self.full) = (Some(fall.before), None);
            self.pace = fall.before * BELOW;
            self.fallen = None;
            self.hold_until = now + SURE;
        } else if self.past.is_some() || self.pace >= fall.before * BACK {
            self.pace = fall.before * BELOW;
            fall.back_at = Some(now);
        } else {
            return false;
        }
        self.pace = self.known().map_or(self.pace, |most| self.pace.min(most));
        self.apply(now);
        true
    }

    /// A refusal that earlier falls explain: the limit is not back yet, or it has fallen as before.
    pub(super) fn falls_again(&mut self, mark: Mark) -> bool {
        let (Some(measured), Some(past)) = (self.measured, self.past) else { return false };
        match &mut self.fallen {
            Some(fall) if fall.back_at.is_some() => {
                (fall.low_at, fall.back_at, fall.looks) = (mark.at, None, fall.looks + 1);
                if fall.looks == LOOKS {
                    // It does not come back to where it was: look for where it is.
                    self.past = None;
                }
                self.hold_until = mark.at + NEXT_LOOK * f64::from(fall.looks);
                self.pace = measured * BELOW;
                true
            }
            None if self.full.is_some_and(|full| mark.at - full.at < 1.0) && past.low < measured * CUT => {
                // What was measured a moment ago was measured over the fall already.
                let before = self.earlier.map_or(measured, |earlier| earlier.max(measured));
                let fall = self.fall(self.high(before), mark.at);
                self.fallen = Some(fall);
                (self.measured, self.full) = (Some(past.low), Some(mark));
                self.hold_until = mark.at + fall.hold;
                self.pace = past.low * BELOW;
                true
            }
            _ => false,
        }
    }
}
