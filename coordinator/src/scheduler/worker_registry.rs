//! Connected workers: streams, committed records and their rate. No I/O.

use tokio::sync::watch;

use crate::clock::{Monotonic, Rate};

/// A connected worker.
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::state::{RESERVE_MS, SchedulerState};
    use domain::ids::WorkerName;

    #[test]
    fn workers_that_join_at_the_same_time_get_unique_names() {
        let mut scheduler = SchedulerState::default();
        let name = |text: &str| WorkerName::new(text).unwrap();
        let mut reserved = |at| scheduler.reserve_name(Monotonic(at), name("host")).to_string();
        assert_eq!([reserved(0), reserved(0), reserved(1)], ["host", "host-2", "host-3"]);
        assert_eq!(reserved(RESERVE_MS), "host", "the reservation has ended");
        scheduler.reserved.clear();
        scheduler.workers.insert(name("host"), ConnectedWorker::new(Monotonic(0), 1, String::new()));
        assert_eq!(
            scheduler.reserve_name(Monotonic(0), name("host")),
            name("host-2"),
            "the first one is connected"
        );
    }
}
