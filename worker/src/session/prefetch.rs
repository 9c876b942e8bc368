//! How much a worker keeps in hand for a model to be asked about, at the pace at which it is asked. No I/O.
//!
//! Enough that the budget never waits for the next shard, and no more: what one worker has in hand, no other worker can
//! take, and another run has to wait for.

use std::time::Duration;

use tokio::time::Instant;

/// What is in hand lasts so long.
const LASTS: Duration = Duration::from_secs(5);

/// What the pace looks back on.
const LOOKS_BACK: Duration = Duration::from_secs(10);

/// Kept in hand whatever the pace.
const LEAST: f64 = 16.0;

/// Follows the pace.
#[derive(Debug)]
pub(super) struct PrefetchWindow {
    per_second: f64,
    seen: u64,
    at: Instant,
}

impl PrefetchWindow {
    pub(super) fn new(now: Instant) -> Self {
        Self { per_second: 0.0, seen: 0, at: now }
    }

    /// So many matters were settled up to now, since the worker began.
    pub(super) fn settled(&mut self, now: Instant, count: u64) {
        let window = LOOKS_BACK.as_secs_f64();
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.per_second *= (-passed / window).exp();
        self.per_second += count.saturating_sub(self.seen) as f64 / window;
        (self.at, self.seen) = (now, count);
    }

    /// How many are missing while so many wait for leave.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and far below 2^53"
    )]
    pub(super) fn missing(&self, waiting: u64) -> u64 {
        let enough = (self.per_second * LASTS.as_secs_f64()).max(LEAST);
        (enough.ceil() as u64).saturating_sub(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stock_lasts_seconds_at_any_pace() {
        let begun = Instant::now();
        for pace in [1_u64, 30, 600] {
            let mut stock = PrefetchWindow::new(begun);
            assert_eq!((stock.missing(16), stock.missing(10)), (0, 6), "before anything is known");
            for second in 1..=60 {
                stock.settled(begun + Duration::from_secs(second), second * pace);
            }
            let wanted = (pace * 5).max(16);
            let missing = stock.missing(0);
            assert!((wanted * 9 / 10..=wanted * 11 / 10).contains(&missing), "{missing} at {pace} a second");
            stock.settled(begun + Duration::from_secs(120), 60 * pace);
            assert!(stock.missing(0) < 32, "a pace that has ended is forgotten");
        }
    }
}
