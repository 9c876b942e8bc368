//! What the calls of a run wait for, in words.

use llm::limit::Seconds;

use super::rate_limit::Waiting;
use super::spend_limit::SpendTracker;
use super::state::GatewayState;

/// What a run waits for, and until when the provider asked to wait, in ms since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Waits {
    pub(super) reason: Option<String>,
    pub(super) asked_until_ms: Option<u64>,
}

impl GatewayState {
    /// What a run waits for. The text changes only with what has happened, not with the time.
    pub(super) fn waits(&self, now: Seconds, tracker: &SpendTracker) -> Waits {
        let policy = tracker.policy.as_ref().filter(|_| tracker.halted.is_none() && tracker.is_asking(now));
        let pool = policy.and_then(|policy| Some((policy, self.pools.get(&policy.pool)?)));
        let Some((policy, limiter)) = pool else { return Waits::default() };
        let asked_until_ms = limiter.paused_until(now).map(|until| self.wall_ms(until));
        let minutes = policy.outage_s / 60.0;
        let (reason, asked_until_ms) = match limiter.waiting(now) {
            None => (None, asked_until_ms),
            Some(Waiting::Outage { since, words }) => {
                let reason = format!(
                    "no call succeeds since {}, one at a time tries again, for {minutes:.0} min at most: {words}",
                    self.wall_text(since)
                );
                (Some(reason), asked_until_ms)
            }
            Some(Waiting::AskedToWait { until, words }) => {
                let reason = format!("the provider asks to wait until {}: {words}", self.wall_text(until));
                (Some(reason), Some(self.wall_ms(until)))
            }
            Some(Waiting::Unanswered { since, words: "" }) => {
                let reason = format!(
                    "no answer since {}, and no failure: the provider is slow",
                    self.wall_text(since)
                );
                (Some(reason), asked_until_ms)
            }
            Some(Waiting::Unanswered { since, words }) => {
                let reason = format!("no call was answered since {}: {words}", self.wall_text(since));
                (Some(reason), asked_until_ms)
            }
        };
        Waits { reason, asked_until_ms }
    }

    fn wall_ms(&self, at: Seconds) -> u64 {
        let after = std::time::Duration::try_from_secs_f64(at).unwrap_or_default();
        self.zero_ms.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) / 1000 * 1000
    }

    fn wall_text(&self, at: Seconds) -> String {
        crate::clock::rfc3339(self.wall_ms(at)).unwrap_or_default()
    }
}
