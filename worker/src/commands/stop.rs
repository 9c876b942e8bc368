//! When the work on files ends early.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// When the work on files ends early: it is asked for between the records, each of which takes a bounded number of steps
/// (`limits.record_steps`).
#[derive(Debug, Clone)]
pub(super) struct Stop {
    deadline: Instant,
    cancelled: CancellationToken,
}

/// The work has ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stopped {
    /// Its time is over.
    #[error("the time of the call is over")]
    Late,
    /// Its result is not wanted any more.
    #[error("the call was cancelled")]
    Cancelled,
}

impl Stop {
    /// Ends the work at `deadline`, or when it is cancelled.
    pub(super) fn new(deadline: Instant, cancelled: CancellationToken) -> Self {
        Self { deadline, cancelled }
    }

    /// `Err` where the work has to end.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.cancelled.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        if Instant::now() >= self.deadline { Err(Stopped::Late) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_ends_at_its_deadline_and_when_it_is_cancelled() {
        let cancelled = CancellationToken::new();
        let stop = Stop::new(Instant::now() + Duration::from_secs(3600), cancelled.clone());
        assert_eq!(stop.check(), Ok(()));
        cancelled.cancel();
        assert_eq!(stop.check(), Err(Stopped::Cancelled));
        assert_eq!(Stop::new(Instant::now(), CancellationToken::new()).check(), Err(Stopped::Late));
    }
}
