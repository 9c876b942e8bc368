//! The worker's side of a lease: until when it may act under it.
//!
//! *Invariant*: a renewal counts from the moment its heartbeat was sent, so the worker never believes in a lease longer
//! than the coordinator does (but for the first grant's way, which the fence covers).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Until when a lease lasts. Whoever acts under the lease holds a [`DeadlineWatch`] of it.
#[derive(Debug)]
pub(crate) struct Deadline {
    ttl: Duration,
    moment: watch::Sender<Instant>,
}

/// Sees the deadline move and pass.
#[derive(Debug, Clone)]
pub(crate) struct DeadlineWatch {
    moment: watch::Receiver<Instant>,
}

impl Deadline {
    /// A lease that was granted just now.
    pub(crate) fn granted(now: Instant, ttl: Duration) -> Self {
        Self { ttl, moment: watch::Sender::new(now + ttl) }
    }

    /// The lease was renewed by a heartbeat sent at `sent`.
    pub(crate) fn renewed(&self, sent: Instant) {
        self.moment.send_if_modified(|moment| {
            let renewed = sent + self.ttl;
            let later = renewed > *moment;
            *moment = renewed.max(*moment);
            later
        });
    }

    /// The coordinator took the lease away.
    pub(crate) fn lost(&self, now: Instant) {
        self.moment.send_replace(now);
    }

    /// How long a lease lasts without a renewal.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether the lease has ended.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        *self.moment.borrow() <= now
    }

    /// Somebody to watch it.
    pub(crate) fn watch(&self) -> DeadlineWatch {
        DeadlineWatch { moment: self.moment.subscribe() }
    }
}

impl DeadlineWatch {
    /// Whether the lease has ended.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        *self.moment.borrow() <= now
    }

    /// Returns when the lease has ended.
    pub(crate) async fn over(&mut self) {
        loop {
            let moment = *self.moment.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(moment) => return,
                moved = self.moment.changed() => {
                    if moved.is_err() {
                        // Nobody renews it any more.
                        tokio::time::sleep_until(moment).await;
                        return;
                    }
                }
            }
        }
    }
}

/// When each heartbeat was sent, until it is answered.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    sequence: u64,
    sent: BTreeMap<u64, Instant>,
}

/// Heartbeats that are remembered; an answer to an older one renews nothing.
const REMEMBERED: usize = 16;

impl Heartbeats {
    /// A heartbeat is sent at `now`; gives its number.
    pub(crate) fn next_sequence(&mut self, now: Instant) -> u64 {
        self.sequence += 1;
        self.sent.insert(self.sequence, now);
        while self.sent.len() > REMEMBERED {
            self.sent.pop_first();
        }
        self.sequence
    }

    /// The answer to heartbeat `sequence` arrived; gives when it was sent.
    pub(crate) fn answered(&mut self, sequence: u64) -> Option<Instant> {
        let sent = self.sent.remove(&sequence);
        // Answers come in order: what is older will not be answered any more.
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
        // The answer to the first arrives late and says nothing about the time in between.
        deadline.renewed(heartbeats.answered(first).unwrap());
        assert!(!deadline.is_over(start + TTL));
        assert!(deadline.is_over(start + TTL + TTL / 3));
        deadline.renewed(heartbeats.answered(second).unwrap());
        assert!(heartbeats.answered(first).is_none());
        deadline.renewed(start);
        assert!(!deadline.is_over(start + TTL + TTL / 3), "an older renewal shortens nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watchman_wakes_at_the_deadline_wherever_it_moved() {
        let start = Instant::now();
        let deadline = Deadline::granted(start, TTL);
        let mut watch = deadline.watch();
        let waiting = tokio::spawn(async move {
            watch.over().await;
            Instant::now()
        });
        tokio::time::sleep(TTL / 2).await;
        deadline.renewed(Instant::now());
        assert_eq!(waiting.await.unwrap(), start + TTL / 2 + TTL);

        let mut watch = deadline.watch();
        deadline.lost(Instant::now());
        watch.over().await;
        assert!(watch.is_over(Instant::now()));
    }
}
