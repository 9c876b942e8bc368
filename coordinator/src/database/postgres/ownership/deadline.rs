//! The deadline of the owner, by its own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Until when a coordinator may act as the owner. Cheap to clone; all clones see each renewal.
#[derive(Debug, Clone, Default)]
pub struct OwnerDeadline {
    /// In ms of the boot-time clock; `None`: it never ends.
    until: Option<Arc<AtomicU64>>,
}

impl OwnerDeadline {
    /// That of a coordinator which no other can replace.
    pub const fn unlimited() -> Self {
        Self { until: None }
    }

    /// One that has passed, until it is extended.
    pub(crate) fn passed() -> Self {
        Self { until: Some(Arc::default()) }
    }

    /// Whether the coordinator may act now.
    pub fn is_ahead(&self) -> bool {
        self.left() > Duration::ZERO
    }

    /// How long the coordinator may act from now on.
    pub fn left(&self) -> Duration {
        self.until.as_ref().map_or(Duration::MAX, |until| {
            Duration::from_millis(until.load(Ordering::Acquire).saturating_sub(boot_ms()))
        })
    }

    /// Moves the deadline to `after` behind `asked`, a time of [`boot_ms`]; never back.
    pub(super) fn extend(&self, asked: u64, after: Duration) {
        let Some(until) = &self.until else { return };
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        until.fetch_max(asked.saturating_add(after), Ordering::AcqRel);
    }

    /// Ends it at once.
    pub(super) fn end(&self) {
        if let Some(until) = &self.until {
            until.store(0, Ordering::Release);
        }
    }
}

/// Time since the machine was started in ms, the time in which it was suspended included.
pub(super) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_extended_and_ends_for_all_its_clones() {
        let deadline = OwnerDeadline::passed();
        let other = deadline.clone();
        assert!(!other.is_ahead());
        deadline.extend(boot_ms(), Duration::from_secs(60));
        assert!(other.is_ahead() && other.left() <= Duration::from_secs(60));
        deadline.extend(boot_ms(), Duration::from_secs(1));
        assert!(other.left() > Duration::from_secs(50), "a late answer takes nothing back");
        deadline.extend(boot_ms().saturating_sub(100_000), Duration::from_secs(10));
        assert!(other.left() > Duration::from_secs(50));
        deadline.end();
        assert_eq!(other.left(), Duration::ZERO);
        assert!(OwnerDeadline::unlimited().is_ahead());
    }
}
