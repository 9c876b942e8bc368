//! What a worker holds: leases, where each of them stands, and how many more to ask for. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::Span;

use domain::run::Lease;
use proto::convert::LeaseKey;

use super::prefetch::PrefetchWindow;
use crate::deadline::Deadline;
use crate::pipeline::{Progress, Settled};

/// Where a held lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseStage {
    /// Its slice is still arriving.
    Arriving,
    /// It waits for room, or is being computed.
    Computing,
    /// A model is being asked about it: it needs no slot.
    Asking,
    /// Its part is on the way.
    Sending,
}

/// A lease that the worker holds.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    pub(super) stage: LeaseStage,
    /// How much of it a model is still asked about.
    pub(super) progress: Progress,
    /// From the grant until the lease is let go.
    pub(super) span: Span,
}

/// Every lease that the worker holds.
#[derive(Debug)]
pub(super) struct LeaseTable {
    leases: BTreeMap<LeaseKey, HeldLease>,
    slots: usize,
    /// Records that a model may be asked about at the same time.
    questions: usize,
    stock: PrefetchWindow,
    /// AcquireCall for on this stream and not granted yet.
    asked: usize,
    /// Whether any lease has come: before, nobody knows whether it is a model that works.
    begun: bool,
    /// Counts what a model need not be asked about any more.
    pub(super) settled: Arc<Settled>,
}

impl LeaseTable {
    pub(super) fn new(slots: usize, questions: usize, now: Instant) -> Self {
        Self {
            leases: BTreeMap::new(),
            slots,
            questions,
            stock: PrefetchWindow::new(now),
            asked: 0,
            begun: false,
            settled: Arc::default(),
        }
    }

    pub(super) fn insert(&mut self, key: LeaseKey, lease: Lease, deadline: Deadline) {
        self.asked = self.asked.saturating_sub(1);
        self.begun = true;
        let span = tracing::info_span!(
            parent: None, "shard",
            run = %key.run_id, shard = %key.shard, token = %key.token, records = lease.shard.len, attempt = lease.attempt
        );
        let progress = Progress::about(lease.shard.len.into(), Arc::clone(&self.settled));
        self.leases.insert(key, HeldLease { lease, deadline, stage: LeaseStage::Arriving, progress, span });
    }

    pub(super) fn get(&self, key: &LeaseKey) -> Option<&HeldLease> {
        self.leases.get(key)
    }

    /// Takes note of how far a lease is; gives it, unless it is not held any more.
    pub(super) fn advance(&mut self, key: &LeaseKey, stage: LeaseStage) -> Option<&HeldLease> {
        let entry = self.leases.get_mut(key)?;
        entry.stage = stage;
        Some(entry)
    }

    pub(super) fn remove(&mut self, key: &LeaseKey) -> Option<HeldLease> {
        self.leases.remove(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    pub(super) fn keys(&self) -> Vec<LeaseKey> {
        self.leases.keys().cloned().collect()
    }

    /// Takes away and gives the leases whose slice has not arrived.
    pub(super) fn take_arriving(&mut self) -> Vec<LeaseKey> {
        self.take(|entry| entry.stage == LeaseStage::Arriving)
    }

    /// Takes away and gives the leases that are over.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<LeaseKey> {
        self.take(|entry| entry.deadline.is_over(now))
    }

    fn take(&mut self, which: impl Fn(&HeldLease) -> bool) -> Vec<LeaseKey> {
        let taken: Vec<LeaseKey> =
            self.leases.iter().filter(|(_, entry)| which(entry)).map(|(key, _)| key.clone()).collect();
        for key in &taken {
            self.leases.remove(key);
        }
        taken
    }

    /// The shortest time to live of what is held.
    pub(super) fn shortest_ttl(&self) -> Option<std::time::Duration> {
        self.leases.values().map(|entry| entry.deadline.ttl()).min()
    }

    /// A new stream knows nothing of what was asked before.
    pub(super) fn reset_requested(&mut self) {
        self.asked = 0;
    }

    /// How many more shards to ask for: as many as there are slots and one more, so that the next is here when a slot
    /// falls free. Parts on their way count once they pile up beyond the slots.
    ///
    /// What a model is asked about takes no slot. Of that, there is enough when what waits for leave (all but
    /// `calls_in_progress`) lasts for a while; no more shards are asked for than that takes. There is less of it with every record
    /// that is settled: at the end of a shard the last few wait long, and meanwhile the model has nothing to do unless
    /// the next shard is here.
    pub(super) fn ask(&mut self, now: Instant, calls_in_progress: usize) -> usize {
        let stage = |which| self.leases.values().filter(move |entry| entry.stage == which);
        let (sending, asking) = (stage(LeaseStage::Sending).count(), stage(LeaseStage::Asking).count());
        let in_talk: u64 = stage(LeaseStage::Asking).map(|entry| entry.progress.open()).sum();
        let longest = stage(LeaseStage::Asking).map(|entry| entry.lease.shard.len).max();
        let on_the_way = stage(LeaseStage::Arriving).count() + self.asked;
        self.stock.settled(now, self.settled.count());
        let missing = self.stock.missing(in_talk.saturating_sub(calls_in_progress as u64));
        if in_talk >= self.questions as u64 || missing == 0 {
            return 0;
        }
        let busy = self.leases.len() - sending - asking + sending.saturating_sub(self.slots);
        let mut more = (self.slots + 1).saturating_sub(busy + self.asked);
        if longest.is_some() || !self.begun {
            let shards = missing.div_ceil(longest.unwrap_or(u32::MAX).into());
            more = more.min(usize::try_from(shards).unwrap_or(usize::MAX).saturating_sub(on_the_way));
        }
        self.asked += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::ids::{FencingToken, RunId, ShardIndex, WorkerName};
    use domain::run::Shard;

    use super::*;

    fn grant(held: &mut LeaseTable, shard: u32, now: Instant) -> LeaseKey {
        let lease = Lease {
            run_id: RunId::new("r").unwrap(),
            shard: Shard { index: ShardIndex(shard), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(1),
            ttl_ms: 1000,
            attempt: 1,
        };
        let key = LeaseKey::from(&lease);
        held.insert(key.clone(), lease, Deadline::granted(now, Duration::from_secs(1)));
        key
    }

    #[tokio::test(start_paused = true)]
    async fn asks_for_one_more_than_it_has_slots() {
        let now = Instant::now();
        let mut held = LeaseTable::new(2, 100, now);
        assert_eq!((held.ask(now, 0), held.ask(now, 0)), (1, 0), "nobody knows what it will be");
        let mut keys = vec![grant(&mut held, 0, now)];
        assert_eq!((held.ask(now, 0), held.ask(now, 0)), (2, 0));
        keys.extend((1..3).map(|shard| grant(&mut held, shard, now)));
        assert_eq!(held.ask(now, 0), 0);
        for key in &keys {
            held.advance(key, LeaseStage::Sending);
        }
        assert_eq!(held.ask(now, 0), 2, "two parts on the way are fine, the third takes a place");
        held.reset_requested();
        held.remove(&keys[0]);
        assert_eq!(held.ask(now, 0), 3);
    }

    /// A shard of so many matters that a model is asked about.
    fn talk(held: &mut LeaseTable, shard: u32, matters: usize, now: Instant) -> LeaseKey {
        let key = grant(held, shard, now);
        held.reset_requested();
        held.advance(&key, LeaseStage::Asking).unwrap().progress.begins(matters);
        key
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_model_is_asked_about_takes_no_slot_until_it_is_enough() {
        let now = Instant::now();
        let mut held = LeaseTable::new(1, 30, now);
        let first = talk(&mut held, 0, 20, now);
        assert_eq!(held.ask(now, 4), 0, "sixteen of them wait for leave");
        assert_eq!((held.ask(now, 5), held.ask(now, 5)), (1, 0), "one is missing");
        held.reset_requested();
        assert_eq!(held.ask(now, 20), 2, "many are, and a shard holds one; but no more come at a time");
        talk(&mut held, 1, 10, now);
        assert_eq!(held.ask(now, 30), 0, "as many as are allowed");
        held.get(&first).unwrap().progress.settle();
        held.settled.more().await;
        assert_eq!(held.ask(now, 29), 2, "what is settled makes room before its shard is done");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_let_go() {
        let now = Instant::now();
        let mut held = LeaseTable::new(1, 100, now);
        let key = grant(&mut held, 0, now);
        assert_eq!(held.take_over(now + Duration::from_millis(999)), []);
        assert_eq!(held.take_over(now + Duration::from_secs(1)), std::slice::from_ref(&key));
        assert!(held.is_empty() && held.advance(&key, LeaseStage::Sending).is_none());
    }
}
