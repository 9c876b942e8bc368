//! Connected workers: names, streams, draining, committed records.

use domain::ids::WorkerName;
use proto::convert::WorkerStatus;
use proto::secret::SharedSecret;
use proto::status::{ApiError, ErrorReason};
use tokio::sync::watch;

use super::Coordinator;
use crate::scheduler::worker_registry::{Abilities, ConnectedWorker, JoinError};

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

    /// Reserves a unique name for a worker of the address `peer` that joins; `session` proves from then on that a message is of
    /// that worker.
    pub fn reserve_name(
        &self,
        wanted: WorkerName,
        session: SharedSecret,
        peer: String,
    ) -> Result<WorkerName, ApiError> {
        let now = self.now();
        self.scheduler().workers.reserve_name(now, wanted, session, peer).map_err(too_many)
    }

    /// Refuses a message whose sender is not the worker of that name. The worker may join again.
    pub(crate) fn check_session(&self, worker: &WorkerName, session: SharedSecret) -> Result<(), ApiError> {
        if self.scheduler().workers.is_session(worker, session) {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorReason::UnknownSession,
            format!("this is not the session of worker {worker}: it has to join again"),
        ))
    }

    /// Registers a stream of a worker with these abilities. The returned flag turns true when the worker has to drain.
    pub fn connect(
        &self,
        worker: &WorkerName,
        slots: u32,
        version: &str,
        abilities: Abilities,
    ) -> Result<watch::Receiver<bool>, ApiError> {
        let now = self.now();
        let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
        let drain_requested = {
            let mut scheduler = self.scheduler();
            scheduler.workers.last_contact = now;
            let member = scheduler.workers.connect(worker, || ConnectedWorker::new(now, slots, version));
            let member = member.map_err(too_many)?;
            member.abilities = abilities;
            member.drain_requested.subscribe()
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

    /// Why the coordinator drains a worker; empty where a client asked for it.
    pub(crate) fn drain_reason(&self, worker: &WorkerName) -> String {
        let scheduler = self.scheduler();
        let member = scheduler.workers.connected.get(worker);
        member.and_then(|member| member.drained_because.clone()).unwrap_or_default()
    }

    /// Counts a refused part of a worker, and drains the worker after too many.
    pub(crate) fn count_refused_part(&self, worker: &WorkerName, why: &str) {
        let drained = {
            let mut scheduler = self.scheduler();
            scheduler.workers.connected.get_mut(worker).is_some_and(|member| member.refuse_part(why))
        };
        if drained {
            tracing::error!(%worker, why, "draining a worker whose parts are refused");
        }
        self.notify_watchers(false);
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
