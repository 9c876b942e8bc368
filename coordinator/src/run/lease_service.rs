//! Grants leases after the ledger has recorded them; renews and releases them.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use domain::ids::{RunId, WorkerName};
use domain::run::Lease;
use proto::convert::LeaseKey;
use proto::status::ApiError;
use results::corpus_copy::CorpusReader;
use results::crash::{Point, reach};

use super::Coordinator;
use crate::clock::Monotonic;
use crate::ledger::{Leased, ShardEntry, Swap};
use crate::metrics::LeaseEvent;
use crate::refusals::ledger_refusal;
use crate::scheduler::leases::{CommitEffect, Grant, LedgerShard};
use crate::scheduler::state::{Next, PendingLease, SchedulerState};

/// A lease that the ledger has recorded.
#[derive(Debug)]
pub struct Granted {
    /// The lease.
    pub lease: Lease,
    /// The run's configuration in its wire format.
    pub config: Arc<str>,
    /// The corpus that contains its slice.
    pub corpus: Arc<CorpusReader>,
}

/// Result of a renewal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Leases renewed for their whole time to live.
    pub renewed: Vec<LeaseKey>,
    /// Leases that have ended.
    pub lost: Vec<LeaseKey>,
}

/// A shard of the ledger in the terms of the lease protocol; `held`: its last worker may still hold the lease.
pub(super) fn known(entry: &ShardEntry, held: bool) -> LedgerShard {
    LedgerShard {
        len: entry.shard.len,
        token: entry.token,
        attempt: entry.attempt,
        lost: entry.lost,
        worker: held.then(|| Arc::new(entry.worker.clone())),
        committed: entry.part.is_some(),
    }
}

/// Releases a lease that is not recorded: its shard waits again.
struct Undo<'a> {
    coordinator: &'a Coordinator,
    key: Option<LeaseKey>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.coordinator.release_leases(&[key], false);
        }
    }
}

impl Coordinator {
    /// Leases the next shard to `worker`; waits until there is one.
    pub async fn lease(self: &Arc<Self>, worker: &Arc<WorkerName>) -> Result<Granted, ApiError> {
        self.note_contact();
        loop {
            let work = self.work.notified();
            tokio::pin!(work);
            // Registers before the check, so that a notification between check and wait is not missed.
            work.as_mut().enable();
            self.apply_halts();
            let next = {
                let (mut scheduler, now) = (self.scheduler(), self.now());
                self.expire_leases(&mut scheduler, now);
                scheduler.next(now, worker)
            };
            match next {
                Next::Lease(pending) => {
                    if pending.speculative {
                        let lease = &pending.lease;
                        tracing::info!(run = %lease.run_id, shard = %lease.shard.index, token = %lease.token, to = %worker, "leasing a shard of a slow or disconnected worker speculatively");
                        self.metrics.lease(LeaseEvent::Speculative, 1);
                    }
                    if let Some(granted) = self.record(*pending).await? {
                        return Ok(granted);
                    }
                }
                Next::Wait(None) => work.await,
                Next::Wait(Some(until)) => {
                    // Taking a lease from a disconnected worker may have made its record poison.
                    self.reaper_wake.notify_one();
                    // A millisecond more, so that the clock has passed that time.
                    let wait = Duration::from_millis(until.since(self.now()) + 1);
                    let _ = tokio::time::timeout(wait, work).await;
                }
            }
        }
    }

    /// Expires leases past their deadline; returns whether there were any.
    pub(super) fn expire_leases(&self, scheduler: &mut SchedulerState, now: Monotonic) -> bool {
        let all = scheduler.expire(now);
        for (run_id, expired) in &all {
            self.metrics.lease(LeaseEvent::Expired, 1);
            tracing::warn!(run = %run_id, shard = %expired.shard.index, token = %expired.token, worker = %expired.worker, lost = expired.lost, "a lease expired");
        }
        !all.is_empty()
    }

    /// Records a lease in the ledger; `None` where the ledger holds another state of the shard.
    pub(super) async fn record(self: &Arc<Self>, pending: PendingLease) -> Result<Option<Granted>, ApiError> {
        let PendingLease { grant, lease, config, corpus, .. } = pending;
        let mut undo = Undo { coordinator: self, key: Some(LeaseKey::from(&lease)) };
        let leased = Leased {
            shard: grant.shard,
            previous: grant.previous,
            token: grant.token,
            attempt: grant.attempt,
            lost: grant.lost,
            worker: lease.worker.clone(),
        };
        let settled = self.settle_judge(&lease.run_id).await;
        if !settled.map_err(|error| self.stalled(&lease.run_id, error))? {
            // Another coordinator process chose before: the run is of the workers with that server.
            return Ok(None);
        }
        let settled = self.settle_scanners(&lease.run_id).await;
        if !settled.map_err(|error| self.stalled(&lease.run_id, error))? {
            // As above, of the workers with those scanners.
            return Ok(None);
        }
        reach(Point::LeaseTentative);
        let span = tracing::info_span!(
            "lease", run = %lease.run_id, shard = %lease.shard.index, token = %lease.token, worker = %lease.worker
        );
        let swap = self.ledger.lease(&lease.run_id, leased).instrument(span).await;
        let swap = swap.map_err(|error| self.stalled(&lease.run_id, ledger_refusal(&error)))?;
        undo.key = None;
        match swap {
            Swap::Done => {
                reach(Point::LeaseRecorded);
                self.metrics.lease(LeaseEvent::Granted, 1);
                let held = self.with_run(&lease.run_id, |run| {
                    let before = run.leases.shards();
                    let held = run.leases.confirm(&grant);
                    self.metrics.lease(LeaseEvent::Split, (run.leases.shards() - before) as usize);
                    held
                });
                if self.scheduler().active.get(&lease.run_id).is_some_and(|run| run.leases.has_waiting()) {
                    // A split has left a shard that waits.
                    self.work.notify_waiters();
                }
                self.notify_watchers(false);
                // Not granted where the lease expired while the ledger recorded it.
                Ok((held == Some(true)).then_some(Granted { lease, config, corpus }))
            }
            Swap::Differs(entry) => {
                self.refused(&lease, &grant, entry);
                Ok(None)
            }
        }
    }

    /// Takes over the ledger's state after it refused a grant: another coordinator was faster, or a reply had been lost.
    fn refused(self: &Arc<Self>, lease: &Lease, grant: &Grant, entry: Option<ShardEntry>) {
        tracing::warn!(run = %lease.run_id, shard = %lease.shard.index, token = %lease.token, "the ledger refused a grant");
        let known = entry.as_ref().map(|entry| known(entry, true));
        let now = self.now();
        let complete = self.with_run(&lease.run_id, |run| {
            if run.leases.refused(now, grant, known.as_ref()) == Ok(CommitEffect::New)
                && let Some(part) = entry.and_then(|entry| entry.part)
            {
                run.tally.add(&part.tally);
            }
            run.leases.is_complete()
        });
        if complete == Some(true) {
            self.begin_finalize(lease.run_id.clone());
        }
    }

    /// Renews leases.
    pub fn renew(&self, keys: Vec<LeaseKey>) -> Renewal {
        self.note_contact();
        let now = self.now();
        let mut renewal = Renewal::default();
        let mut scheduler = self.scheduler();
        for key in keys {
            let renewed = scheduler
                .active
                .get_mut(&key.run_id)
                .is_some_and(|run| run.leases.renew(now, key.shard, key.token).is_ok());
            if renewed {
                self.metrics.lease(LeaseEvent::Renewed, 1);
                renewal.renewed.push(key);
            } else {
                renewal.lost.push(key);
            }
        }
        renewal
    }

    /// Releases leases; their shards wait again. `failed`: the worker could not process them.
    pub fn release_leases(&self, keys: &[LeaseKey], failed: bool) {
        {
            let now = self.now();
            let mut scheduler = self.scheduler();
            for key in keys {
                if let Some(run) = scheduler.active.get_mut(&key.run_id) {
                    // A lease that had ended before is not counted.
                    if run.leases.release_lease(now, key.shard, key.token, failed).is_ok() {
                        self.metrics.lease(LeaseEvent::Released, 1);
                    }
                }
            }
        }
        self.work.notify_waiters();
        self.reaper_wake.notify_one();
        self.notify_watchers(false);
    }

    /// Releases all leases of a worker that ends, including a grant that has not reached it.
    pub fn deregister(&self, worker: &WorkerName) {
        let keys: Vec<LeaseKey> = {
            let scheduler = self.scheduler();
            let held = scheduler.active.iter().flat_map(|(run_id, run)| {
                run.leases.held_by(worker).into_iter().map(|held| (run_id.clone(), held))
            });
            held.map(|(run_id, (shard, token))| LeaseKey::new(run_id, shard, token)).collect()
        };
        self.release_leases(&keys, false);
    }

    /// Notes that a message of a worker arrived.
    pub(crate) fn note_contact(&self) {
        let now = self.now();
        self.scheduler().workers.last_contact = now;
    }

    /// Notes the end of a worker's stream. Its leases stay valid until they expire, because it may reconnect; speculation may
    /// take those that it does not renew within a heartbeat.
    pub fn disconnect(&self, worker: &WorkerName) {
        {
            let now = self.now();
            let mut scheduler = self.scheduler();
            if scheduler.workers.disconnect(worker) {
                for run in scheduler.active.values_mut() {
                    run.leases.disconnected(now, worker);
                }
            }
        }
        self.work.notify_waiters();
        self.notify_watchers(false);
    }

    /// Marks a run as stalled by a failure of store or ledger. It goes on by itself once they work.
    pub(crate) fn stall(&self, run_id: &RunId, why: String) {
        self.with_run(run_id, |run| run.stalled = Some(why));
        self.notify_watchers(false);
    }

    /// Marks a run as stalled by `refusal`, and returns it.
    pub(crate) fn stalled(&self, run_id: &RunId, refusal: ApiError) -> ApiError {
        self.stall(run_id, refusal.message.clone());
        refusal
    }
}
