//! How many LLM proposals a worker prefetches, from the rate at which they end. No I/O.
//!
//! Enough that the rate limit is used while the next shard arrives, and no more: a prefetched shard is not available to
//! other workers, and delays other runs.

use std::time::Duration;

use tokio::time::Instant;

/// For how long the prefetched proposals last.
const LASTS: Duration = Duration::from_secs(5);

/// Time constant of the average rate.
const AVERAGED_OVER: Duration = Duration::from_secs(10);

/// Fewest proposals to prefetch, at any rate.
const LEAST: f64 = 16.0;

/// Exponentially weighted average of the rate at which proposals end.
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

    /// Updates the rate: `count` proposals have ended since the worker started.
    pub(super) fn settled(&mut self, now: Instant, count: u64) {
        let averaged_over = AVERAGED_OVER.as_secs_f64();
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.per_second *= (-passed / averaged_over).exp();
        self.per_second += count.saturating_sub(self.seen) as f64 / averaged_over;
        (self.at, self.seen) = (now, count);
    }

    /// How many more proposals to prefetch while `waiting` wait for a permit.
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
    async fn the_prefetch_lasts_for_seconds_at_any_rate() {
        let begun = Instant::now();
        for rate in [1_u64, 30, 600] {
            let mut window = PrefetchWindow::new(begun);
            assert_eq!((window.missing(16), window.missing(10)), (0, 6), "before any proposal has ended");
            for second in 1..=60 {
                window.settled(begun + Duration::from_secs(second), second * rate);
            }
            let wanted = (rate * 5).max(16);
            let missing = window.missing(0);
            assert!((wanted * 9 / 10..=wanted * 11 / 10).contains(&missing), "{missing} at {rate} a second");
            window.settled(begun + Duration::from_secs(120), 60 * rate);
            assert!(window.missing(0) < 32, "an old rate fades");
        }
    }
}
