//! A token bucket whose rate may change and whose level may be negative.
//!
//! Our own: `governor` fixes its quota at construction, and cannot return or correct what was taken. The tests
//! compare its decisions with those of this bucket.

use super::Seconds;

/// Fills at a rate up to the burst; taking lowers the level, also below zero.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Seconds,
}

impl Bucket {
    /// A full bucket that fills at `rate` a second up to `burst`.
    pub fn new(rate: f64, burst: f64, now: Seconds) -> Self {
        Self { rate, burst, level: burst, at: now }
    }

    fn fill(&mut self, now: Seconds) {
        if now > self.at {
            self.level = (self.level + (now - self.at) * self.rate).min(self.burst);
            self.at = now;
        }
    }

    /// When `amount` may be taken: when the level reaches it, or, if it exceeds the burst, when the bucket is full.
    pub fn ready(&mut self, now: Seconds, amount: f64) -> Seconds {
        self.fill(now);
        let missing = amount.min(self.burst) - self.level;
        // Tolerate floating-point error.
        if missing <= 1e-9 { now } else { now + missing / self.rate.max(1e-9) }
    }

    /// Takes `amount`; the level may become negative.
    pub fn take(&mut self, now: Seconds, amount: f64) {
        self.fill(now);
        self.level -= amount;
    }

    /// Returns an unused `amount`; a negative one takes what was used beyond the estimate.
    pub fn give_back(&mut self, now: Seconds, amount: f64) {
        self.fill(now);
        self.level = (self.level + amount).min(self.burst);
    }

    /// Sets the rate and the burst.
    pub fn set(&mut self, now: Seconds, rate: f64, burst: f64) {
        self.fill(now);
        self.rate = rate;
        self.burst = burst;
        self.level = self.level.min(burst);
    }

    /// Empties the bucket; a negative level stays.
    pub fn drain(&mut self, now: Seconds) {
        self.fill(now);
        self.level = self.level.min(0.0);
    }

    /// Units a second.
    pub const fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use governor::{Quota, RateLimiter};

    use super::*;

    #[test]
    fn the_same_calls_pass_as_with_governor() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (rate, burst) = (random.u32(1..50), random.u32(1..40));
            let clock = FakeRelativeClock::default();
            let quota = Quota::per_second(NonZeroU32::new(rate).unwrap());
            let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap());
            let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
            let mut ours = Bucket::new(f64::from(rate), f64::from(burst), 0.0);
            let (mut now, mut passed, mut lead) = (0_u64, 0, 0_i32);
            for _ in 0..2000 {
                let step = random.u64(0..40_000);
                now += step;
                clock.advance(Duration::from_micros(step));
                let seconds = now as f64 / 1e6;
                let pass = ours.ready(seconds, 1.0) <= seconds;
                if pass {
                    ours.take(seconds, 1.0);
                    passed += 1;
                }
                lead += i32::from(pass) - i32::from(theirs.check().is_ok());
                // governor counts in whole nanoseconds: a call at the limit may pass one step later.
                assert!(lead.abs() <= 1, "seed {seed}, call {passed}: {lead} calls apart");
            }
            assert!(passed > 20, "{passed}");
        }
    }

    #[test]
    fn a_wrong_estimate_is_corrected() {
        let mut bucket = Bucket::new(10.0, 10.0, 0.0);
        bucket.take(0.0, 10.0);
        assert!((bucket.ready(0.0, 5.0) - 0.5).abs() < 1e-6);
        bucket.give_back(0.0, 5.0);
        assert!(bucket.ready(0.0, 5.0) <= 0.0);
        bucket.give_back(0.0, -25.0);
        assert!(
            (bucket.ready(0.0, 5.0) - 2.5).abs() < 1e-6,
            "usage beyond the estimate delays the next call"
        );
    }

    #[test]
    fn an_amount_above_the_burst_passes_when_the_bucket_is_full() {
        let mut bucket = Bucket::new(10.0, 10.0, 0.0);
        assert!(bucket.ready(0.0, 50.0) <= 0.0);
        bucket.take(0.0, 50.0);
        assert!((bucket.ready(0.0, 1.0) - 4.1).abs() < 1e-6);
    }
}
