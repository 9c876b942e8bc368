//! Rate and concurrency limits of the simulated provider.

use serde::{Deserialize, Serialize};

use llm::limit::bucket::Bucket;

/// Configured limits; `None`: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowed {
    /// Calls a minute.
    pub rpm: Option<f64>,
    /// Calls a second, counted anew each second.
    pub rps: Option<f64>,
    /// Tokens a minute.
    pub tpm: Option<f64>,
    /// Calls in flight.
    pub max_in_flight: Option<u64>,
    /// Size of the bucket in calls; default: those of a second.
    pub burst: Option<f64>,
    /// Length of fixed windows that are used instead of a bucket.
    pub window_seconds: Option<f64>,
}

impl Allowed {
    /// Calls a minute by the lower limit on calls.
    pub fn calls_a_minute(&self) -> Option<f64> {
        self.rpm.into_iter().chain(self.rps.map(|rps| rps * 60.0)).reduce(f64::min)
    }

    /// Whether every number is valid for a limit.
    pub fn is_legal(&self) -> bool {
        let numbers = [self.rpm, self.rps, self.tpm, self.burst, self.window_seconds];
        numbers.iter().flatten().all(|number| number.is_finite() && *number > 0.0)
            && self.max_in_flight != Some(0)
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refused {
    /// Seconds until it would pass.
    pub wait: f64,
    /// Whether the limit on tokens refused it; else the one on calls.
    pub tokens: bool,
}

/// A limit and its present use.
#[derive(Debug, Clone)]
enum Meter {
    Bucket { bucket: Bucket, size: f64 },
    Window { limit: f64, seconds: f64, index: f64, used: f64 },
}

impl Meter {
    fn new(a_minute: f64, burst: Option<f64>, window: Option<f64>, now: f64) -> Self {
        let rate = a_minute / 60.0;
        if let Some(seconds) = window {
            return Self::Window { limit: rate * seconds, seconds, index: f64::NEG_INFINITY, used: 0.0 };
        }
        let size = burst.unwrap_or(rate).max(1.0);
        Self::Bucket { bucket: Bucket::new(rate, size, now), size }
    }

    /// How long `amount` must wait; 0 when it passes. A call above the whole limit passes when nothing of it is used.
    fn wait(&mut self, now: f64, amount: f64) -> f64 {
        match self {
            Self::Bucket { bucket, .. } => bucket.ready(now, amount) - now,
            Self::Window { limit, seconds, index, used } => {
                let current = (now / *seconds).floor();
                if current > *index {
                    (*index, *used) = (current, 0.0);
                }
                let fits = *used + amount <= *limit || *used <= 0.0;
                if fits { 0.0 } else { (current + 1.0) * *seconds - now }
            }
        }
    }

    fn take(&mut self, now: f64, amount: f64) {
        match self {
            Self::Bucket { bucket, .. } => bucket.take(now, amount),
            Self::Window { used, .. } => *used += amount,
        }
    }

    /// How much is left, and the seconds until nothing is used.
    fn left(&mut self, now: f64) -> (f64, f64) {
        match self {
            Self::Bucket { bucket, size } => {
                let whole = bucket.ready(now, *size) - now;
                ((*size - whole * bucket.rate()).max(0.0), whole)
            }
            Self::Window { limit, seconds, index, used } => {
                ((*limit - *used).max(0.0), ((*index + 1.0) * *seconds - now).max(0.0))
            }
        }
    }
}

/// State of a limit after a call: (limit a minute, left, seconds until nothing is used).
pub type Left = Option<(f64, f64, f64)>;

/// The limits and their present use.
#[derive(Debug, Clone)]
pub struct Meters {
    allowed: Allowed,
    requests: Option<Meter>,
    second: Option<Meter>,
    tokens: Option<Meter>,
}

impl Meters {
    /// Limits of which nothing is used.
    pub fn new(allowed: Allowed, now: f64) -> Self {
        let window = allowed.window_seconds;
        Self {
            allowed,
            requests: allowed.rpm.map(|rpm| Meter::new(rpm, allowed.burst, window, now)),
            second: allowed.rps.map(|rps| Meter::new(rps * 60.0, None, Some(1.0), now)),
            // The bucket of tokens covers the same time as that of calls, and at least a few calls.
            tokens: allowed.tpm.map(|tpm| {
                let seconds = match (allowed.burst, allowed.rpm) {
                    (Some(burst), Some(rpm)) => burst * 60.0 / rpm,
                    _ => 2.0,
                };
                Meter::new(tpm, Some((tpm / 60.0 * seconds).max(10_000.0_f64.min(tpm))), window, now)
            }),
        }
    }

    /// The configured limits.
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Admits a call, or returns why it is refused.
    pub fn pass(&mut self, now: f64, tokens: f64, in_flight: u64) -> Result<(), Refused> {
        if self.allowed.max_in_flight.is_some_and(|most| in_flight >= most) {
            return Err(Refused { wait: 1.0, tokens: false });
        }
        let wait = self.requests.as_mut().map_or(0.0, |meter| meter.wait(now, 1.0));
        let second = self.second.as_mut().map_or(0.0, |meter| meter.wait(now, 1.0));
        let wait = wait.max(second);
        if wait > 0.0 {
            return Err(Refused { wait, tokens: false });
        }
        let wait = self.tokens.as_mut().map_or(0.0, |meter| meter.wait(now, tokens));
        if wait > 0.0 {
            return Err(Refused { wait, tokens: true });
        }
        for meter in [&mut self.requests, &mut self.second].into_iter().flatten() {
            meter.take(now, 1.0);
        }
        if let Some(meter) = &mut self.tokens {
            meter.take(now, tokens);
        }
        Ok(())
    }

    /// The state of the limits on calls and on tokens.
    pub fn left(&mut self, now: f64) -> (Left, Left) {
        let of = |limit: Option<f64>, meter: &mut Option<Meter>| {
            let (limit, meter) = (limit?, meter.as_mut()?);
            let (left, whole) = meter.left(now);
            Some((limit, left, whole))
        };
        (of(self.allowed.rpm, &mut self.requests), of(self.allowed.tpm, &mut self.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(allowed: Allowed, a_second: u32, seconds: u32, tokens: f64) -> u32 {
        let mut meters = Meters::new(allowed, 0.0);
        let all = a_second * seconds;
        (0..all)
            .map(|call| u32::from(meters.pass(f64::from(call) / f64::from(a_second), tokens, 0).is_ok()))
            .sum()
    }

    #[test]
    fn a_bucket_admits_its_rate_and_its_burst() {
        let allowed = Allowed { rpm: Some(480.0), burst: Some(30.0), ..Allowed::default() };
        let count = passed(allowed, 100, 60, 0.0);
        assert!((508..=511).contains(&count), "{count}");
    }

    #[test]
    fn a_window_admits_its_count_and_a_refusal_waits_for_the_next() {
        let allowed = Allowed { rpm: Some(60.0), window_seconds: Some(60.0), ..Allowed::default() };
        assert_eq!(passed(allowed, 10, 120, 0.0), 120);
        let mut meters = Meters::new(Allowed { rpm: Some(1.0), ..allowed }, 0.0);
        assert!(meters.pass(10.0, 0.0, 0).is_ok());
        assert_eq!(meters.pass(20.0, 0.0, 0), Err(Refused { wait: 40.0, tokens: false }));
    }

    #[test]
    fn a_limit_by_the_second_counts_each_second_anew() {
        let allowed = Allowed { rps: Some(30.0), ..Allowed::default() };
        assert_eq!(passed(allowed, 100, 10, 0.0), 300);
        assert_eq!(Allowed { rpm: Some(600.0), ..allowed }.calls_a_minute(), Some(600.0));
        assert_eq!(passed(Allowed { rpm: Some(6000.0), ..allowed }, 30, 10, 0.0), 300);
    }

    #[test]
    fn tokens_and_calls_in_flight_are_separate_limits() {
        let allowed = Allowed { tpm: Some(60_000.0), ..Allowed::default() };
        let count = passed(allowed, 10, 120, 500.0);
        assert!((240..=262).contains(&count), "{count}");
        let mut meters = Meters::new(Allowed { max_in_flight: Some(2), ..Allowed::default() }, 0.0);
        assert!(meters.pass(0.0, 1.0, 1).is_ok());
        assert!(meters.pass(0.0, 1.0, 2).is_err());
        assert!(!Allowed { rpm: Some(0.0), ..Allowed::default() }.is_legal());
    }
}
