//! Delays between retries: exponential with full jitter, so that many workers do not reconnect at the same moment.
//!
//! Not `backon`: it retries a closure, while the callers here wait inside a `select!` and reset the delay themselves.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The longest ceiling where there are several coordinators: one takes the place of another within seconds.
const LONGEST_OF_SEVERAL: Duration = Duration::from_secs(1);

/// Delays drawn evenly from zero to a ceiling that doubles up to ten seconds, or to one.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins with short delays.
    pub(crate) const fn new() -> Self {
        Self { ceiling: FIRST, longest: LONGEST }
    }

    /// Begins with short delays, which stay short where there are several coordinators.
    pub(crate) const fn for_coordinators(several: bool) -> Self {
        let longest = if several { LONGEST_OF_SEVERAL } else { LONGEST };
        Self { ceiling: FIRST, longest }
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.ceiling.mul_f64(fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(self.longest);
        delay
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
        let mut short = Backoff::for_coordinators(true);
        assert!((0..200).all(|_| short.next_delay() <= LONGEST_OF_SEVERAL));
        assert_ne!(Backoff::new().next_delay(), Backoff::new().next_delay());
    }
}
