//! Leases as services see them: granted once the ledger has recorded them, renewed, released.

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
    /// The run's configuration as it travels.
    pub config: Arc<str>,
    /// Where its slice is read from.
    pub corpus: Arc<CorpusReader>,
}

/// What became of leases that were to be renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Renewed for their whole time to live.
    pub renewed: Vec<LeaseKey>,
    /// Lost.
    pub lost: Vec<LeaseKey>,
}

/// What the ledger holds, as the lease protocol wants it; `held`: its last worker may live.
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

/// Makes a shard wait again when its grant does not come to pass.
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
            // From here on no notice is missed, also one that comes while there was nothing to lease.
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
                        tracing::warn!(run = %lease.run_id, shard = %lease.shard.index, token = %lease.token, to = %worker, "a shard is late: leasing it speculatively");
                        self.metrics.lease(LeaseEvent::Speculative, 1);
                    }
                    if let Some(granted) = self.record(*pending).await? {
                        return Ok(granted);
                    }
                }
                Next::Wait(None) => work.await,
                Next::Wait(Some(until)) => {
                    // What was taken from a worker that has gone may have been its last chance.
                    self.reaper_wake.notify_one();
                    // One more, so that the clock has passed the moment.
                    let wait = Duration::from_millis(until.since(self.now()) + 1);
                    let _ = tokio::time::timeout(wait, work).await;
                }
            }
        }
    }

    /// Ends the leases that ran out; returns whether there were any.
    pub(super) fn expire_leases(&self, scheduler: &mut SchedulerState, now: Monotonic) -> bool {
        let all = scheduler.expire(now);
        for (run_id, expired) in &all {
            self.metrics.lease(LeaseEvent::Expired, 1);
            tracing::warn!(run = %run_id, shard = %expired.shard.index, token = %expired.token, worker = %expired.worker, lost = expired.lost, "a lease ran out");
        }
        !all.is_empty()
    }

    /// Has the ledger record a lease; `None`: it knew better.
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
                    // What a split left.
                    self.work.notify_waiters();
                }
                self.notify_watchers(false);
                // Where the ledger took longer than a lease lasts, there is nothing to tell any more.
                Ok((held == Some(true)).then_some(Granted { lease, config, corpus }))
            }
            Swap::Differs(entry) => {
                self.refused(&lease, &grant, entry);
                Ok(None)
            }
        }
    }

    /// The ledger knows better: another coordinator was faster, or an answer of its had been lost.
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

    /// Renews what can be renewed.
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

    /// Takes leases back; their shards wait again. `failed`: the worker could not process them.
    pub fn release_leases(&self, keys: &[LeaseKey], failed: bool) {
        {
            let now = self.now();
            let mut scheduler = self.scheduler();
            for key in keys {
                if let Some(run) = scheduler.active.get_mut(&key.run_id) {
                    // One that had ended before has nothing to give back.
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

    /// A worker ends: whatever it is believed to hold waits again, a grant that never reached it included.
    pub fn deregister(&self, worker: &WorkerName) {
        let keys: Vec<LeaseKey> = {
            let scheduler = self.scheduler();
            let held = scheduler.active.iter().flat_map(|(run_id, run)| {
                run.leases.held_by(worker).into_iter().map(|held| (run_id.clone(), held))
            });
            held.map(|(run_id, (shard, token))| LeaseKey { run_id, shard, token }).collect()
        };
        self.release_leases(&keys, false);
    }

    /// A worker was heard.
    pub(crate) fn note_contact(&self) {
        let now = self.now();
        self.scheduler().workers.last_contact = now;
    }

    /// A worker's stream has ended. Its leases live on until they run out: it may come back. Where nothing else is left
    /// to do, what it does not renew within a heartbeat is given to others.
    pub fn disconnect(&self, worker: &WorkerName) {
        {
            let now = self.now();
            let mut scheduler = self.scheduler();
            if let Some(member) = scheduler.workers.connected.get_mut(worker) {
                member.streams -= 1;
                if member.streams == 0 {
                    scheduler.workers.connected.remove(worker);
                    for run in scheduler.active.values_mut() {
                        run.leases.disconnected(now, worker);
                    }
                }
            }
        }
        self.work.notify_waiters();
        self.notify_watchers(false);
    }

    /// Store or ledger did not work for a run. It goes on by itself once they do.
    pub(crate) fn stall(&self, run_id: &RunId, why: String) {
        self.with_run(run_id, |run| run.stalled = Some(why));
        self.notify_watchers(false);
    }

    /// Takes note of a refusal for want of the store or the ledger.
    pub(crate) fn stalled(&self, run_id: &RunId, refusal: ApiError) -> ApiError {
        self.stall(run_id, refusal.message.clone());
        refusal
    }
}
