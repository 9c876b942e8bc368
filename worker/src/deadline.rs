//! Deadline of a lease on the worker's side: until when it may act under the lease.
//!
//! *Invariant*: a renewal counts from the sending of its heartbeat, so the worker's deadline is never later than the
//! coordinator's (except by the transit time of the first grant, which the fencing token covers).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Deadline of a lease. Tasks that act under the lease hold a [`DeadlineWatch`].
#[derive(Debug)]
pub(crate) struct Deadline {
    ttl: Duration,
    until: watch::Sender<Instant>,
}

/// Follows the deadline when it moves, and waits for it.
#[derive(Debug, Clone)]
pub(crate) struct DeadlineWatch {
    until: watch::Receiver<Instant>,
}

impl Deadline {
    /// The deadline of a lease granted at `now`.
    pub(crate) fn granted(now: Instant, ttl: Duration) -> Self {
        Self { ttl, until: watch::Sender::new(now + ttl) }
    }

    /// Extends the lease by a heartbeat sent at `sent`.
    pub(crate) fn renewed(&self, sent: Instant) {
        self.until.send_if_modified(|until| {
            let renewed = sent + self.ttl;
            let is_later = renewed > *until;
            *until = renewed.max(*until);
            is_later
        });
    }

    /// Ends the lease: the coordinator reported it lost.
    pub(crate) fn lost(&self, now: Instant) {
        self.until.send_replace(now);
    }

    /// Time to live without a renewal.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether the lease has expired.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        *self.until.borrow() <= now
    }

    /// A watch of the deadline.
    pub(crate) fn watch(&self) -> DeadlineWatch {
        DeadlineWatch { until: self.until.subscribe() }
    }
}

impl DeadlineWatch {
    /// Whether the lease has expired.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        *self.until.borrow() <= now
    }

    /// Returns when the lease has expired.
    pub(crate) async fn expired(&mut self) {
        loop {
            let until = *self.until.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                moved = self.until.changed() => {
                    if moved.is_err() {
                        // The lease was dropped: no more renewals.
                        tokio::time::sleep_until(until).await;
                        return;
                    }
                }
            }
        }
    }
}

/// Sending times of the unanswered heartbeats.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    sequence: u64,
    sent: BTreeMap<u64, Instant>,
}

/// Most heartbeats that are kept; an answer to an older one renews nothing.
const REMEMBERED: usize = 16;

impl Heartbeats {
    /// Records a heartbeat sent at `now` and returns its number.
    pub(crate) fn next_sequence(&mut self, now: Instant) -> u64 {
        self.sequence += 1;
        self.sent.insert(self.sequence, now);
        while self.sent.len() > REMEMBERED {
            self.sent.pop_first();
        }
        self.sequence
    }

    /// Removes the answered heartbeat `sequence` and returns when it was sent.
    pub(crate) fn answered(&mut self, sequence: u64) -> Option<Instant> {
        let sent = self.sent.remove(&sequence);
        // Answers come in order: older heartbeats will not be answered.
        self.sent = self.sent.split_off(&sequence);
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_the_sending_of_its_heartbeat() {
        let start = Instant::now();
        let deadline = Deadline::granted(start, TTL);
        let mut heartbeats = Heartbeats::default();
        let first = heartbeats.next_sequence(start + TTL / 3);
        let second = heartbeats.next_sequence(start + TTL / 2);
        // The answer to the first arrives late and renews from its sending alone.
        deadline.renewed(heartbeats.answered(first).unwrap());
        assert!(!deadline.is_expired(start + TTL));
        assert!(deadline.is_expired(start + TTL + TTL / 3));
        deadline.renewed(heartbeats.answered(second).unwrap());
        assert!(heartbeats.answered(first).is_none());
        deadline.renewed(start);
        assert!(!deadline.is_expired(start + TTL + TTL / 3), "an older renewal shortens nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_returns_at_the_deadline_after_it_moved() {
        let start = Instant::now();
        let deadline = Deadline::granted(start, TTL);
        let mut watch = deadline.watch();
        let waiting = tokio::spawn(async move {
            watch.expired().await;
            Instant::now()
        });
        tokio::time::sleep(TTL / 2).await;
        deadline.renewed(Instant::now());
        assert_eq!(waiting.await.unwrap(), start + TTL / 2 + TTL);

        let mut watch = deadline.watch();
        deadline.lost(Instant::now());
        watch.expired().await;
        assert!(watch.is_expired(Instant::now()));
    }
}
