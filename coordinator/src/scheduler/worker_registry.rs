//! Worker registry: connected workers, and names reserved for workers that are about to connect. No I/O.

use std::collections::BTreeMap;

use domain::ids::WorkerName;
use proto::secret::SharedSecret;
use tokio::sync::watch;

use crate::clock::{Monotonic, Rate};

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
    /// Secret of its session.
    pub(crate) session: Option<SharedSecret>,
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
            session: None,
        }
    }
}

/// A name reserved for a worker that is about to connect.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// When it ends.
    until: Monotonic,
    /// Secret of the worker's session.
    pub(crate) session: SharedSecret,
}

/// Worker registry.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    pub(crate) connected: BTreeMap<WorkerName, ConnectedWorker>,
    /// Names of workers that are about to connect.
    pub(crate) reserved: BTreeMap<WorkerName, Reservation>,
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
    pub(crate) fn reserve_name(
        &mut self,
        now: Monotonic,
        wanted: WorkerName,
        session: SharedSecret,
    ) -> WorkerName {
        self.reserved.retain(|_, reserved| reserved.until > now);
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
        self.reserved.insert(name.clone(), Reservation { until: now.after(RESERVE_MS), session });
        name
    }

    /// Whether `session` is that of the connected worker of this name, or of the one that is about to connect.
    pub(crate) fn is_session(&self, worker: &WorkerName, session: SharedSecret) -> bool {
        let connected = self.connected.get(worker).and_then(|worker| worker.session);
        let reserved = self.reserved.get(worker).map(|reserved| reserved.session);
        connected == Some(session) || reserved == Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_join_at_the_same_time_get_unique_names() {
        let mut registry = WorkerRegistry::default();
        let name = |text: &str| WorkerName::new(text).unwrap();
        let secret = |byte| SharedSecret::new([byte; 16]);
        let mut reserved = |at| registry.reserve_name(Monotonic(at), name("host"), secret(1)).to_string();
        assert_eq!([reserved(0), reserved(0), reserved(1)], ["host", "host-2", "host-3"]);
        assert_eq!(reserved(RESERVE_MS), "host", "a reservation ends when the worker does not connect");
        registry.reserved.clear();
        registry.connected.insert(name("host"), ConnectedWorker::new(Monotonic(0), 1, String::new()));
        assert_eq!(
            registry.reserve_name(Monotonic(0), name("host"), secret(2)),
            name("host-2"),
            "the first one is connected"
        );
        assert!(registry.is_session(&name("host-2"), secret(2)));
        assert!(!registry.is_session(&name("host"), secret(2)), "of another worker");
        assert!(!registry.is_session(&name("host"), SharedSecret::default()), "a worker without a session");
    }
}
