//! The leases that a worker holds, the stage of each, and how many more shards to request. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::Span;

use domain::run::Lease;
use proto::convert::LeaseKey;

use super::prefetch::PrefetchWindow;
use crate::deadline::Deadline;
use crate::pipeline::{Progress, Settled};

/// Stage of a held lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseStage {
    /// Its slice is still arriving.
    Arriving,
    /// It is queued for the CPU pool, or is being computed.
    Computing,
    /// The LLM proposer runs over it: mostly waiting for calls, it occupies no slot.
    Proposing,
    /// Its part is being committed.
    Committing,
}

/// A lease that the worker holds.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    pub(super) stage: LeaseStage,
    /// How many of its LLM proposals are open.
    pub(super) progress: Progress,
    /// Covers the time from the grant until the lease is removed.
    pub(super) span: Span,
}

/// Every lease that the worker holds.
#[derive(Debug)]
pub(super) struct LeaseTable {
    leases: BTreeMap<LeaseKey, HeldLease>,
    slots: usize,
    /// Most LLM proposals that may be open at the same time.
    most_open: usize,
    prefetch: PrefetchWindow,
    /// Shards requested on this stream and not granted yet.
    requested: usize,
    /// Whether a lease was ever granted: before that it is unknown whether the run has an LLM proposer.
    begun: bool,
    /// Counts the LLM proposals that have ended.
    pub(super) settled: Arc<Settled>,
}

impl LeaseTable {
    pub(super) fn new(slots: usize, most_open: usize, now: Instant) -> Self {
        Self {
            leases: BTreeMap::new(),
            slots,
            most_open,
            prefetch: PrefetchWindow::new(now),
            requested: 0,
            begun: false,
            settled: Arc::default(),
        }
    }

    pub(super) fn insert(&mut self, key: LeaseKey, lease: Lease, deadline: Deadline) {
        self.requested = self.requested.saturating_sub(1);
        self.begun = true;
        let span = tracing::info_span!(
            parent: None, "shard",
            run = %key.run_id, shard = %key.shard, token = %key.token, records = lease.shard.len, attempt = lease.attempt
        );
        let progress = Progress::new(lease.shard.len.into(), Arc::clone(&self.settled));
        self.leases.insert(key, HeldLease { lease, deadline, stage: LeaseStage::Arriving, progress, span });
    }

    pub(super) fn get(&self, key: &LeaseKey) -> Option<&HeldLease> {
        self.leases.get(key)
    }

    /// Sets the stage of a lease and returns it, if it is still held.
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

    /// Removes and returns the leases whose slice has not arrived.
    pub(super) fn take_arriving(&mut self) -> Vec<LeaseKey> {
        self.take(|entry| entry.stage == LeaseStage::Arriving)
    }

    /// Removes and returns the expired leases.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<LeaseKey> {
        self.take(|entry| entry.deadline.is_expired(now))
    }

    fn take(&mut self, is_taken: impl Fn(&HeldLease) -> bool) -> Vec<LeaseKey> {
        let taken: Vec<LeaseKey> =
            self.leases.iter().filter(|(_, entry)| is_taken(entry)).map(|(key, _)| key.clone()).collect();
        for key in &taken {
            self.leases.remove(key);
        }
        taken
    }

    /// The shortest time to live of the held leases.
    pub(super) fn shortest_ttl(&self) -> Option<std::time::Duration> {
        self.leases.values().map(|entry| entry.deadline.ttl()).min()
    }

    /// Begins a new stream: requests on an earlier one are void.
    pub(super) fn reset_requested(&mut self) {
        self.requested = 0;
    }

    /// How many more shards to request now: one more than there are slots, so that the next shard is here when a slot
    /// becomes free. Parts being committed count once there are more of them than slots.
    ///
    /// Shards of the LLM proposer occupy no slot. Of those enough are requested that the proposals waiting for a
    /// permit (all open ones but `calls_in_progress`) last for the prefetch window. This looks at proposals, not at
    /// shards: the last few of a shard may take long, and the LLM would idle meanwhile unless the next shard is here.
    pub(super) fn shards_to_request(&mut self, now: Instant, calls_in_progress: usize) -> usize {
        let stage = |stage| self.leases.values().filter(move |entry| entry.stage == stage);
        let (committing, proposing) =
            (stage(LeaseStage::Committing).count(), stage(LeaseStage::Proposing).count());
        let open: u64 = stage(LeaseStage::Proposing).map(|entry| entry.progress.open()).sum();
        let longest = stage(LeaseStage::Proposing).map(|entry| entry.lease.shard.len).max();
        let expected = stage(LeaseStage::Arriving).count() + self.requested;
        self.prefetch.settled(now, self.settled.count());
        let missing = self.prefetch.missing(open.saturating_sub(calls_in_progress as u64));
        if open >= self.most_open as u64 || missing == 0 {
            return 0;
        }
        let busy = self.leases.len() - committing - proposing + committing.saturating_sub(self.slots);
        let mut more = (self.slots + 1).saturating_sub(busy + self.requested);
        if longest.is_some() || !self.begun {
            let shards = missing.div_ceil(longest.unwrap_or(u32::MAX).into());
            more = more.min(usize::try_from(shards).unwrap_or(usize::MAX).saturating_sub(expected));
        }
        self.requested += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::ids::{FencingToken, RunId, ShardIndex, WorkerName};
    use domain::run::Shard;

    use super::*;

    fn grant(table: &mut LeaseTable, shard: u32, now: Instant) -> LeaseKey {
        let lease = Lease {
            run_id: RunId::new("r").unwrap(),
            shard: Shard { index: ShardIndex(shard), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(1),
            ttl_ms: 1000,
            attempt: 1,
        };
        let key = LeaseKey::from(&lease);
        table.insert(key.clone(), lease, Deadline::granted(now, Duration::from_secs(1)));
        key
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_shard_is_requested_than_there_are_slots() {
        let now = Instant::now();
        let mut table = LeaseTable::new(2, 100, now);
        assert_eq!(
            (table.shards_to_request(now, 0), table.shards_to_request(now, 0)),
            (1, 0),
            "the kind of the run is unknown"
        );
        let mut keys = vec![grant(&mut table, 0, now)];
        assert_eq!((table.shards_to_request(now, 0), table.shards_to_request(now, 0)), (2, 0));
        keys.extend((1..3).map(|shard| grant(&mut table, shard, now)));
        assert_eq!(table.shards_to_request(now, 0), 0);
        for key in &keys {
            table.advance(key, LeaseStage::Committing);
        }
        assert_eq!(
            table.shards_to_request(now, 0),
            2,
            "two parts being committed occupy no slot, the third does"
        );
        table.reset_requested();
        table.remove(&keys[0]);
        assert_eq!(table.shards_to_request(now, 0), 3);
    }

    /// A shard with so many open LLM proposals.
    fn grant_llm(table: &mut LeaseTable, shard: u32, tasks: usize, now: Instant) -> LeaseKey {
        let key = grant(table, shard, now);
        table.reset_requested();
        table.advance(&key, LeaseStage::Proposing).unwrap().progress.begin(tasks);
        key
    }

    #[tokio::test(start_paused = true)]
    async fn llm_shards_occupy_no_slot_and_are_requested_by_open_proposals() {
        let now = Instant::now();
        let mut table = LeaseTable::new(1, 30, now);
        let first = grant_llm(&mut table, 0, 20, now);
        assert_eq!(table.shards_to_request(now, 4), 0, "sixteen of them wait for a permit");
        assert_eq!(
            (table.shards_to_request(now, 5), table.shards_to_request(now, 5)),
            (1, 0),
            "one is missing"
        );
        table.reset_requested();
        assert_eq!(
            table.shards_to_request(now, 20),
            2,
            "more are missing than that, but the request is bounded by the slots"
        );
        grant_llm(&mut table, 1, 10, now);
        assert_eq!(table.shards_to_request(now, 30), 0, "no more than may be open");
        table.get(&first).unwrap().progress.settle();
        table.settled.changed().await;
        assert_eq!(table.shards_to_request(now, 29), 2, "a settled proposal counts before its shard is done");
    }

    #[tokio::test(start_paused = true)]
    async fn expired_leases_are_removed() {
        let now = Instant::now();
        let mut table = LeaseTable::new(1, 100, now);
        let key = grant(&mut table, 0, now);
        assert_eq!(table.take_expired(now + Duration::from_millis(999)), []);
        assert_eq!(table.take_expired(now + Duration::from_secs(1)), std::slice::from_ref(&key));
        assert!(table.is_empty() && table.advance(&key, LeaseStage::Committing).is_none());
    }
}
