//! Which failures are retried, and after how long. Pure: time and random numbers are arguments.
//!
//! Not `backon`: a wait that the provider asks for and one deadline over all tries are part of the decision.

use std::time::Duration;

use domain::answer::FailureKind;

use crate::error::{Failure, Refusal};
use crate::refusals::kind;

/// Consequence of a failure for the call and the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same call may succeed later.
    Again,
    /// The same call would fail again; the record goes on without it.
    GiveUp,
    /// Every call would fail: the run stops until the account or the settings are corrected.
    Stop,
}

/// Bounds of the retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most retries of a call.
    pub retries: u32,
    /// Upper bound of the first wait, which doubles with each try.
    pub first: Duration,
    /// Upper bound of any wait that the provider does not ask for.
    pub longest: Duration,
    /// Longest time from the start of the first call to the start of the last.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 2,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
        }
    }
}

/// What the caller of a failed call does. Whether the failures of the account end the run, and whether a failure is held
/// against the record, the coordinator decides, which sees the calls of all workers.
pub fn remedy(failure: &Failure) -> Remedy {
    match kind(failure) {
        // An empty answer again, but once: `Failure::most_retries`.
        FailureKind::Prompt if !matches!(failure, Failure::Empty { .. }) => Remedy::GiveUp,
        FailureKind::Account => Remedy::Stop,
        FailureKind::Prompt
        | FailureKind::Passing
        | FailureKind::Key
        | FailureKind::Form
        | FailureKind::Unknown => Remedy::Again,
    }
}

/// Whether the failure is a 429 of the rate limit, the only signal that the limiter reacts to.
pub fn is_throttled(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(Refusal { status: Some(429), .. })) && remedy(failure) == Remedy::Again
}

/// The wait before try number `tried` + 1, where `tried` counts from 1; `None`: give up.
///
/// Full jitter: drawn from zero to the bound, so that calls that failed together are not retried together. A wait
/// that the provider asks for is kept, with the jitter on top. `random` is from 0 to below 1.
pub fn wait(
    policy: &RetryPolicy,
    tried: u32,
    retry_after: Option<Duration>,
    since_first: Duration,
    random: f64,
) -> Option<Duration> {
    if tried > policy.retries {
        return None;
    }
    let doubled = policy.first.saturating_mul(1 << tried.saturating_sub(1).min(20));
    let jitter = doubled.min(policy.longest).mul_f64(random.clamp(0.0, 1.0));
    let wait = match retry_after {
        // On top of the provider's wait, a short jitter is enough to spread the calls.
        Some(retry_after) => retry_after.saturating_add(jitter.min(policy.first)),
        None => jitter,
    };
    (since_first.saturating_add(wait) <= policy.deadline).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    fn status(code: u16, reason: &str, message: &str) -> Failure {
        Failure::refused(code, reason, message)
    }

    #[test]
    fn failures_are_classified() {
        for code in [408, 409, 425, 429, 500, 502, 503, 504, 520, 529] {
            assert_eq!(remedy(&status(code, "", "")), Remedy::Again, "{code}");
        }
        assert_eq!(remedy(&status(413, "", "")), Remedy::GiveUp);
        assert_eq!(remedy(&status(403, "", "Failed check: SAFETY_CHECK_TYPE_BIO")), Remedy::GiveUp);
        assert_eq!(remedy(&status(402, "", "")), Remedy::Stop);
        assert_eq!(remedy(&status(404, "model_not_found", "")), Remedy::Stop);
        assert_eq!(remedy(&status(429, "insufficient_quota", "")), Remedy::Stop);
        // The coordinator ends the run, unless it is a passing error of a gateway.
        for code in [400, 401, 403, 404, 405, 422] {
            assert_eq!(remedy(&status(code, "", "")), Remedy::Again, "{code}");
        }
        assert_eq!(remedy(&status(401, "", "Incorrect API key provided: ***")), Remedy::Again);
        let host = || "h".to_owned();
        for failure in [
            Failure::Connect { host: host(), proxy: None, reason: host() },
            Failure::Timeout(Phase::FirstByte),
            Failure::Reset(host()),
            Failure::Garbage(host()),
            Failure::Empty { why: host() },
            Failure::Refused(Refusal { words: host(), ..Refusal::default() }),
        ] {
            assert_eq!(remedy(&failure), Remedy::Again, "{failure}");
        }
        for failure in [Failure::CutOff, Failure::Withheld { why: host() }, Failure::TooLarge { limit: 1 }] {
            assert_eq!(remedy(&failure), Remedy::GiveUp, "{failure}");
        }
        assert_eq!(remedy(&Failure::Redirected { status: 308, location: host() }), Remedy::Stop);
    }

    #[test]
    fn only_a_429_is_a_signal_of_the_limit() {
        assert!(is_throttled(&status(429, "rate_limit_exceeded", "")));
        for failure in [
            status(500, "", ""),
            status(503, "", ""),
            status(429, "insufficient_quota", ""),
            Failure::Empty { why: String::new() },
        ] {
            assert!(!is_throttled(&failure), "{failure}");
        }
    }

    #[test]
    fn waits_double_up_to_a_cap_and_end_at_the_deadline() {
        let policy = RetryPolicy { retries: 10, ..RetryPolicy::default() };
        let bound = |tried| wait(&policy, tried, None, Duration::ZERO, 1.0).map(|wait| wait.as_secs_f64());
        let bounds: Vec<_> = (1..=8).map(|tried| bound(tried).unwrap()).collect();
        assert_eq!(bounds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(bound(11), None, "retries are bounded");
        assert_eq!(
            wait(&policy, 3, None, Duration::ZERO, 0.0),
            Some(Duration::ZERO),
            "full jitter begins at 0"
        );
        let late = Duration::from_secs(299);
        assert_eq!(wait(&policy, 3, None, late, 1.0), None, "the deadline would pass while waiting");
        assert!(wait(&policy, 1, None, late, 1.0).is_some());
    }

    #[test]
    fn a_wait_of_the_provider_is_kept() {
        let policy = RetryPolicy::default();
        let retry_after = Some(Duration::from_secs(20));
        for random in [0.0, 0.5, 0.999] {
            let wait = wait(&policy, 2, retry_after, Duration::ZERO, random).unwrap();
            assert!(wait >= Duration::from_secs(20) && wait <= Duration::from_millis(20_500), "{wait:?}");
        }
        assert_eq!(wait(&policy, 1, Some(Duration::from_secs(301)), Duration::ZERO, 0.0), None);
        assert_eq!(wait(&policy, 1, Some(Duration::MAX), Duration::MAX, 0.5), None);
    }
}
