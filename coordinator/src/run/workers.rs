//! Connected workers: names, streams, draining, committed records.

use domain::ids::WorkerName;
use proto::convert::WorkerStatus;
use proto::status::{ApiError, ErrorReason};
use tokio::sync::watch;

use super::Coordinator;
use crate::scheduler::worker_registry::{ConnectedWorker, JoinError};

impl Coordinator {
    /// The connected workers, by name.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let now = self.now();
        self.scheduler().worker_statuses(now)
    }

    /// Drains a worker: it finishes what has begun, releases the rest and ends. `None` where it is not connected.
    pub fn drain_worker(&self, worker: &WorkerName) -> Option<WorkerStatus> {
        let now = self.now();
        let status = {
            let scheduler = self.scheduler();
            scheduler.workers.connected.get(worker)?.drain_requested.send_replace(true);
            scheduler.worker_statuses(now).into_iter().find(|status| status.worker == *worker)
        };
        self.notify_watchers(false);
        status
    }

    /// Reserves a unique name for a worker of the address `peer` that joins.
    pub fn reserve_name(&self, wanted: WorkerName, peer: String) -> Result<WorkerName, ApiError> {
        let now = self.now();
        self.scheduler().workers.reserve_name(now, wanted, peer).map_err(too_many)
    }

    /// Registers a stream of a worker. The returned flag turns true when the worker has to drain.
    pub fn connect(
        &self,
        worker: &WorkerName,
        slots: u32,
        version: &str,
    ) -> Result<watch::Receiver<bool>, ApiError> {
        let now = self.now();
        let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
        let drain_requested = {
            let mut scheduler = self.scheduler();
            scheduler.workers.last_contact = now;
            let member = scheduler.workers.connect(worker, || ConnectedWorker::new(now, slots, version));
            member.map_err(too_many)?.drain_requested.subscribe()
        };
        self.notify_watchers(false);
        Ok(drain_requested)
    }

    /// Notes that a message of this worker arrived.
    pub(crate) fn worker_seen(&self, worker: &WorkerName) {
        let now = self.now();
        let mut scheduler = self.scheduler();
        scheduler.workers.last_contact = now;
        if let Some(member) = scheduler.workers.connected.get_mut(worker) {
            member.last_contact = now;
        }
    }

    /// Counts a committed shard of a worker.
    pub(crate) fn credit(&self, worker: &WorkerName, records: u64) {
        let now = self.now();
        if let Some(member) = self.scheduler().workers.connected.get_mut(worker) {
            member.last_contact = now;
            member.shards += 1;
            member.records += records;
            member.rate.add(now, records);
        }
    }
}

fn too_many(error: JoinError) -> ApiError {
    ApiError::new(ErrorReason::TooMany, error.to_string())
}
