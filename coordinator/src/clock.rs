//! The clocks of the coordinator: monotonic time in ms, rates over it, and wall time.
//!
//! *Invariant*: scheduler and gateway never read a clock; they get `now` as an argument.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Window of a rate.
const WINDOW_MS: u64 = 60_000;

/// Width of a bucket of a rate.
const BUCKET_MS: u64 = 2_000;

/// A point in time on the coordinator's monotonic clock, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Monotonic(pub(crate) u64);

impl Monotonic {
    /// The time `ms` later.
    #[must_use]
    pub(crate) const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Records a second over the last minute.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    since: Monotonic,
    buckets: VecDeque<(Monotonic, u64)>,
}

impl Rate {
    /// A rate that has counted nothing yet.
    pub(crate) fn since(now: Monotonic) -> Self {
        Self { since: now, buckets: VecDeque::new() }
    }

    /// Adds `records` at `now`.
    pub(crate) fn add(&mut self, now: Monotonic, records: u64) {
        self.drop_old(now);
        match self.buckets.back_mut() {
            Some((begun, count)) if now.0 < begun.0.saturating_add(BUCKET_MS) => *count += records,
            _ => self.buckets.push_back((now, records)),
        }
    }

    /// The rate over the last minute, or over the time since the start where that is less.
    pub(crate) fn per_second(&self, now: Monotonic) -> f64 {
        let begin = now.0.saturating_sub(WINDOW_MS);
        let counted: u64 =
            self.buckets.iter().filter(|(at, _)| at.0 >= begin).map(|(_, records)| records).sum();
        // At least a second: the first shard alone would give a rate far too high.
        let seen = now.0.saturating_sub(self.since.0.max(begin)).max(1000);
        counted as f64 * 1000.0 / seen as f64
    }

    fn drop_old(&mut self, now: Monotonic) {
        let begin = now.0.saturating_sub(WINDOW_MS);
        while self.buckets.front().is_some_and(|(at, _)| at.0 < begin) {
            self.buckets.pop_front();
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time as people read it, to the second; `None` where it lies beyond the calendar.
pub(crate) fn rfc3339(unix_ms: u64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(std::time::Duration::from_millis(unix_ms))?;
    // Beyond the year 9999 the formatter fails.
    (unix_ms < 253_402_300_800_000).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// Converts seconds of the process's clock to a point in time on the coordinator's clock.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a process's life")]
pub(crate) fn moment(now: f64) -> Monotonic {
    Monotonic((now.max(0.0) * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_looks_back_a_minute_and_no_further() {
        let mut rate = Rate::since(Monotonic(0));
        assert!(rate.per_second(Monotonic(0)).abs() < f64::EPSILON);
        rate.add(Monotonic(100), 500);
        assert!((rate.per_second(Monotonic(100)) - 500.0).abs() < 1e-9, "not 5,000: a second at least");
        for second in 1..=200 {
            rate.add(Monotonic(second * 1000), 10);
        }
        let now = rate.per_second(Monotonic(200_000));
        assert!((9.0..=11.0).contains(&now), "{now}");
        assert!(rate.buckets.len() <= 32, "memory does not grow: {}", rate.buckets.len());
        assert!(rate.per_second(Monotonic(300_000)).abs() < f64::EPSILON);
    }
}
