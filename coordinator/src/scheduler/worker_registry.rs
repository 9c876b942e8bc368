//! Worker registry: connected workers, and names reserved for workers that are about to connect. No I/O.

use std::collections::BTreeMap;

use domain::ids::WorkerName;
use tokio::sync::watch;

use crate::clock::{Monotonic, Rate};

/// Refused parts after which a worker is drained.
pub(crate) const MAX_REFUSED_PARTS: u32 = 3;

/// How long a name is reserved for a worker that joined and has not connected yet.
const RESERVE_MS: u64 = 5_000;

/// A connected worker: its streams, its committed records and their rate.
#[derive(Debug)]
pub(crate) struct ConnectedWorker {
    /// Number of open streams.
    pub(crate) streams: u32,
    pub(crate) version: String,
    pub(crate) slots: u32,
    pub(crate) connected: Monotonic,
    pub(crate) last_contact: Monotonic,
    pub(crate) shards: u64,
    pub(crate) records: u64,
    pub(crate) rate: Rate,
    /// Turns true when the worker has to drain.
    pub(crate) drain_requested: watch::Sender<bool>,
    /// Parts of it that were refused.
    pub(crate) refused_parts: u32,
    /// Why the coordinator drains it; `None` where a client asked for it.
    pub(crate) drained_because: Option<String>,
}

impl ConnectedWorker {
    /// A worker that has just connected.
    pub(crate) fn new(now: Monotonic, slots: u32, version: String) -> Self {
        Self {
            streams: 0,
            version,
            slots,
            connected: now,
            last_contact: now,
            shards: 0,
            records: 0,
            rate: Rate::since(now),
            drain_requested: watch::Sender::new(false),
            refused_parts: 0,
            drained_because: None,
        }
    }

    /// Counts a refused part. After [`MAX_REFUSED_PARTS`] the worker is drained: whatever is wrong with it, more leases would
    /// only cost more losses. Returns whether this was the last one.
    pub(crate) fn refuse_part(&mut self, why: &str) -> bool {
        self.refused_parts = self.refused_parts.saturating_add(1);
        let last = self.refused_parts == MAX_REFUSED_PARTS;
        if last {
            self.drained_because =
                Some(format!("{MAX_REFUSED_PARTS} of its parts were refused, the last one: {why}"));
            self.drain_requested.send_replace(true);
        }
        last
    }
}

/// Worker registry.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    pub(crate) connected: BTreeMap<WorkerName, ConnectedWorker>,
    /// Names of workers that are about to connect, and the ends of their reservations.
    pub(crate) reserved: BTreeMap<WorkerName, Monotonic>,
    /// Last message of any worker.
    pub(crate) last_contact: Monotonic,
}

impl WorkerRegistry {
    /// How many workers are connected.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.connected.len()).unwrap_or(u32::MAX)
    }

    /// Reserves a unique name for a worker: the requested one, with a number appended where it is taken.
    /// Workers of one host join under one name, often at the same moment.
    pub(crate) fn reserve_name(&mut self, now: Monotonic, wanted: WorkerName) -> WorkerName {
        self.reserved.retain(|_, until| *until > now);
        let is_free =
            |name: &WorkerName| !self.connected.contains_key(name) && !self.reserved.contains_key(name);
        let name = if is_free(&wanted) {
            wanted
        } else {
            let base: String = wanted.as_str().chars().take(50).collect();
            // One more number than there are names: one of them is free.
            (2..=self.connected.len() + self.reserved.len() + 2)
                .filter_map(|number| WorkerName::new(format!("{base}-{number}")).ok())
                .find(is_free)
                .unwrap_or(wanted)
        };
        self.reserved.insert(name.clone(), now.after(RESERVE_MS));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_join_at_the_same_time_get_unique_names() {
        let mut registry = WorkerRegistry::default();
        let name = |text: &str| WorkerName::new(text).unwrap();
        let mut reserved = |at| registry.reserve_name(Monotonic(at), name("host")).to_string();
        assert_eq!([reserved(0), reserved(0), reserved(1)], ["host", "host-2", "host-3"]);
        assert_eq!(reserved(RESERVE_MS), "host", "a reservation ends when the worker does not connect");
        registry.reserved.clear();
        registry.connected.insert(name("host"), ConnectedWorker::new(Monotonic(0), 1, String::new()));
        assert_eq!(
            registry.reserve_name(Monotonic(0), name("host")),
            name("host-2"),
            "the first one is connected"
        );
    }
}
