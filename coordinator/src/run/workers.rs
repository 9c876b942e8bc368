//! Connected workers: names, streams, draining, committed shards.

use domain::ids::WorkerName;
use proto::convert::WorkerStatus;
use tokio::sync::watch;

use super::Coordinator;
use crate::scheduler::worker_registry::ConnectedWorker;

impl Coordinator {
    /// The workers that are connected, by name.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let now = self.now();
        self.scheduler().worker_statuses(now)
    }

    /// Tells a worker to finish what has begun, release the rest and end; `None`: nobody of that name is connected.
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

    /// A name for a worker that wants to join, which nobody else has or is about to have.
    pub fn reserve_name(&self, wanted: WorkerName) -> WorkerName {
        let now = self.now();
        self.scheduler().workers.reserve_name(now, wanted)
    }

    /// A worker's stream is open. What is given says true once the worker is to end.
    pub fn connect(&self, worker: &WorkerName, slots: u32, version: &str) -> watch::Receiver<bool> {
        let now = self.now();
        let drain_requested = {
            let mut scheduler = self.scheduler();
            scheduler.workers.last_contact = now;
            scheduler.workers.reserved.remove(worker);
            let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
            let member = scheduler
                .workers
                .connected
                .entry(worker.clone())
                .or_insert_with(|| ConnectedWorker::new(now, slots, version));
            member.streams += 1;
            member.drain_requested.subscribe()
        };
        self.notify_watchers(false);
        drain_requested
    }

    /// A message of a worker has arrived.
    pub(crate) fn worker_seen(&self, worker: &WorkerName) {
        let now = self.now();
        let mut scheduler = self.scheduler();
        scheduler.workers.last_contact = now;
        if let Some(member) = scheduler.workers.connected.get_mut(worker) {
            member.last_contact = now;
        }
    }

    /// A worker committed a shard.
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
