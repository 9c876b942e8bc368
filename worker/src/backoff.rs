//! How long to wait before trying again: exponential with full jitter, so that many workers do not return together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Delays that grow up to ten seconds, each drawn evenly from zero to its ceiling.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    seed: RandomState,
    draws: u64,
}

impl Backoff {
    /// Begins with short delays.
    pub(crate) fn new() -> Self {
        // The standard library's hash keys are random per process and instance: enough to spread reconnections.
        Self { ceiling: FIRST, seed: RandomState::new(), draws: 0 }
    }

    /// The next delay.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let mut hasher = self.seed.build_hasher();
        self.draws += 1;
        hasher.write_u64(self.draws);
        let share = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
        let delay = self.ceiling.mul_f64(share);
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        delay
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_ceiling_and_differ() {
        let mut backoff = Backoff::new();
        let delays: Vec<Duration> = (0..200).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= FIRST);
        assert!(delays.iter().all(|delay| *delay <= LONGEST));
        let late: Duration = delays[20..].iter().sum();
        assert!(late > LONGEST * 60 && late < LONGEST * 120, "{late:?} over 180 draws with a mean of 5 s");
        assert_ne!(Backoff::new().next_delay(), Backoff::new().next_delay());
    }
}
