//! The lease protocol of one run as a pure state machine: grant, renew, expire, release, split, speculate, declare poison,
//! admit a commit, mark it committed.
//!
//! *Owns* deadlines and waiting shards. *Never* reads a clock, a file or the network: `now` is an argument, and the ledger's
//! replies are applied by [`Leases::confirm`], [`Leases::refused`], [`Leases::mark_committed`] and [`Leases::observe`].
//!
//! A shard is split by one ledger step on its own entry: a lease of fewer records under a new token. The rest needs no step:
//! it is a shard from then on, because splitting is deterministic. Memory holds the open shards, which have been leased and
//! are not committed. Shards behind the cursor that are not open are committed; those from the cursor on are as planned.
//!
//! *Invariants* (checked by the property tests beside this file and by the simulation):
//! 1. Each grant's token is larger than every token of the shard that the ledger has recorded: no token is granted twice.
//! 2. A shard has at most one holder.
//! 3. Only the newest token is admitted to a commit; after the commit no other token is.
//! 4. A shard that is neither leased nor committed nor poison can be granted.
//! 5. `expire(now)` takes exactly the leases whose deadline is at or before `now`.
//! 6. Open shards, committed shards and the records from the cursor on cover every record exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::ids::{FencingToken, ShardIndex, WorkerName};
use domain::run::{Cut, Shard};

use crate::clock::Monotonic;

mod shard_state;
mod speculation;
mod splitting;
#[cfg(test)]
mod tests;
mod throughput;
mod types;

use shard_state::{LeaseState, ShardState};
use throughput::Throughputs;

pub(crate) use speculation::Speculation;
pub(crate) use types::{Admission, CommitEffect, ExpiredLease, Grant, LeaseError, LeaseTerms, LedgerShard};

/// The leases of one run.
#[derive(Debug)]
pub(crate) struct Leases {
    cut: Cut,
    terms: LeaseTerms,
    /// Shards that have been leased and are not committed.
    open: BTreeMap<ShardIndex, ShardState>,
    /// The first record beyond all open and committed shards.
    cursor: u32,
    /// Open shards that can be granted.
    waiting: BTreeSet<ShardIndex>,
    /// Number of records in them.
    waiting_records: u64,
    /// Shards of one record that have lost too many workers.
    poison: BTreeSet<ShardIndex>,
    deadlines: BTreeSet<(Monotonic, ShardIndex)>,
    throughputs: Throughputs,
    committed: u32,
    splits: u32,
    grants: u64,
}

impl Leases {
    /// Leases of a run with this cut; none is granted yet.
    pub(crate) fn new(cut: Cut, terms: LeaseTerms) -> Self {
        Self {
            cut,
            terms,
            open: BTreeMap::new(),
            cursor: 0,
            waiting: BTreeSet::new(),
            waiting_records: 0,
            poison: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            throughputs: Throughputs::default(),
            committed: 0,
            splits: 0,
            grants: 0,
        }
    }

    /// The terms of every lease.
    pub(crate) fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// Number of shards, counting each part of a split one.
    pub(crate) fn shards(&self) -> u32 {
        self.cut.shards().saturating_add(self.splits)
    }

    /// Number of committed shards.
    pub(crate) fn committed(&self) -> u32 {
        self.committed
    }

    /// Number of leased shards.
    pub(crate) fn leased(&self) -> u32 {
        u32::try_from(self.deadlines.len()).unwrap_or(u32::MAX)
    }

    /// Whether every shard is committed.
    pub(crate) fn is_complete(&self) -> bool {
        self.open.is_empty() && self.cursor >= self.cut.records
    }

    /// Whether a shard waits to be granted.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.cursor < self.cut.records
    }

    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Leases the first waiting shard to one of `fleet` workers; shards that were leased before come first. A shard is split
    /// if it has lost too many workers, or if it would keep this worker busy after the others have run out of work.
    ///
    /// The lease is held from now on, but a split takes effect only when [`Leases::confirm`] reports that the ledger has
    /// recorded it. When the ledger refuses the grant, [`Leases::refused`] or [`Leases::release_lease`] undoes it.
    pub(crate) fn grant(&mut self, now: Monotonic, worker: &Arc<WorkerName>, fleet: u32) -> Option<Grant> {
        let index = self.waiting.first().copied().or_else(|| self.begin_fresh())?;
        self.lease_open(now, worker, index, fleet)
    }

    /// Leases a shard that is not leased, or its first part.
    fn lease_open(
        &mut self,
        now: Monotonic,
        worker: &Arc<WorkerName>,
        index: ShardIndex,
        fleet: u32,
    ) -> Option<Grant> {
        let state = self.open.get(&index)?;
        let (whole, mut lost) = (state.shard(index), state.lost);
        let work = throughput::Work { waiting: self.waiting_records + self.fresh_records(), fleet };
        let mut len = self.throughputs.piece(worker, whole.len, work);
        if lost >= self.terms.max_lost && whole.len > 1 {
            // One more loss splits each half again.
            lost = self.terms.max_lost - 1;
            len = len.min(whole.len.div_ceil(2));
        }
        if len == 1 && whole.len > 1 {
            // A single record gets as many tries as its shard had.
            lost = 0;
        }
        self.lease(now, worker, Shard { index, len }, lost)
    }

    /// Leases a poison record to the coordinator itself, which commits it as a dead letter.
    pub(crate) fn grant_poison(&mut self, now: Monotonic, coordinator: &Arc<WorkerName>) -> Option<Grant> {
        let index = *self.poison.first()?;
        let state = self.open.get(&index)?;
        let (shard, lost) = (state.shard(index), state.lost);
        self.lease(now, coordinator, shard, lost)
    }

    /// Whether there is a poison record that is not committed.
    pub(crate) fn has_poison(&self) -> bool {
        !self.poison.is_empty()
    }

    /// Makes `worker` the holder, replacing an earlier holder.
    fn lease(&mut self, now: Monotonic, worker: &Arc<WorkerName>, shard: Shard, lost: u32) -> Option<Grant> {
        self.release(shard.index, now);
        self.unwait(shard.index);
        let deadline = now.after(self.terms.ttl_ms);
        self.grants += 1;
        let serial = self.grants;
        let state = self.open.get_mut(&shard.index)?;
        state.serial = serial;
        let previous = state.token;
        state.token = shard_state::next_token(previous)?;
        state.attempt = state.attempt.saturating_add(1);
        state.lease = LeaseState::leased(worker, now, deadline);
        let (token, attempt, held) = (state.token, state.attempt, state.len);
        self.deadlines.insert((deadline, shard.index));
        self.throughputs.took(now, worker, held);
        let grant = Grant { shard, previous, token, attempt, lost, deadline, serial };
        if mutated!(SplitTooEarly) {
            self.confirm(&grant);
        }
        Some(grant)
    }

    /// Applies that the ledger has recorded a grant: its split takes effect. Returns whether the lease is still held.
    pub(crate) fn confirm(&mut self, grant: &Grant) -> bool {
        let index = grant.shard.index;
        let Some(state) = self.open.get_mut(&index).filter(|state| state.serial == grant.serial) else {
            return false;
        };
        if state.len != grant.shard.len {
            state.lost = grant.lost;
            if let Some(worker) = state.lease.worker() {
                self.throughputs.dropped(worker, state.len - grant.shard.len);
            }
            self.shrink(index, grant.shard.len);
        }
        match self.open.get_mut(&index).map(|state| &mut state.lease) {
            Some(LeaseState::Leased { recorded, .. }) => {
                *recorded = true;
                true
            }
            Some(LeaseState::Waiting) | None => false,
        }
    }

    /// Extends a lease to its whole time to live from `now`. A lease past its deadline has ended, even before
    /// [`Leases::expire`] is called.
    pub(crate) fn renew(
        &mut self,
        now: Monotonic,
        shard: ShardIndex,
        token: FencingToken,
    ) -> Result<Monotonic, LeaseError> {
        let renewed = now.after(self.terms.ttl_ms);
        match &mut self.current(shard, token)?.lease {
            LeaseState::Leased { deadline, recovered, gone, .. } if *deadline > now => {
                (*recovered, *gone) = (false, None);
                let before = std::mem::replace(deadline, renewed);
                self.deadlines.remove(&(before, shard));
                self.deadlines.insert((renewed, shard));
                Ok(renewed)
            }
            LeaseState::Leased { .. } | LeaseState::Waiting => Err(LeaseError::Ended),
        }
    }

    /// Ends every lease whose deadline is at or before `now`; their shards wait again. `last_contact` is when the last message
    /// of any worker arrived.
    ///
    /// The loss counts against the shard unless the shard cannot be the cause: the lease was granted by an earlier process,
    /// no message of any worker arrived around its deadline, or the coordinator itself was suspended. One in four of the
    /// last two counts nevertheless; otherwise a run with a single worker that dies of a record would never end.
    pub(crate) fn expire(&mut self, now: Monotonic, last_contact: Monotonic) -> Vec<ExpiredLease> {
        let heartbeat_ms = self.terms.heartbeat_ms();
        let mut expired = Vec::new();
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > now || (mutated!(ExpiryOffByOne) && deadline == now) {
                break;
            }
            let Some(state) = self.open.get_mut(&index) else { break };
            let witnessed =
                last_contact.after(heartbeat_ms) >= deadline && now.since(deadline) <= heartbeat_ms;
            if let LeaseState::Leased { worker, recovered, .. } = &state.lease {
                let worker = Arc::clone(worker);
                if !recovered {
                    state.lose(witnessed);
                }
                expired.push(ExpiredLease {
                    shard: state.shard(index),
                    token: state.token,
                    worker,
                    lost: state.lost,
                });
            }
            self.release(index, now);
        }
        expired
    }

    /// Notes that the stream of `worker` has ended: leases that it does not renew soon can be taken speculatively.
    pub(crate) fn disconnected(&mut self, now: Monotonic, worker: &WorkerName) {
        for (index, _) in self.held_by(worker) {
            if let Some(LeaseState::Leased { gone, .. }) =
                self.open.get_mut(&index).map(|state| &mut state.lease)
            {
                gone.get_or_insert(now);
            }
        }
        self.throughputs.remove_idle(worker);
    }

    /// The holder of each lease.
    pub(crate) fn holders(&self) -> impl Iterator<Item = &WorkerName> {
        let held = self.deadlines.iter().filter_map(|(_, index)| self.open.get(index));
        held.filter_map(|state| state.lease.worker().map(|worker| &**worker))
    }

    /// The leases that `worker` holds.
    pub(crate) fn held_by(&self, worker: &WorkerName) -> Vec<(ShardIndex, FencingToken)> {
        let held = self.deadlines.iter().filter_map(|(_, index)| Some((*index, self.open.get(index)?)));
        held.filter(|(_, state)| state.lease.worker().is_some_and(|holder| **holder == *worker))
            .map(|(index, state)| (index, state.token))
            .collect()
    }

    /// Releases a lease before its deadline; the shard waits again. `failed`: the worker could not process it, which counts
    /// as a loss.
    pub(crate) fn release_lease(
        &mut self,
        now: Monotonic,
        shard: ShardIndex,
        token: FencingToken,
        failed: bool,
    ) -> Result<(), LeaseError> {
        let state = self.current(shard, token)?;
        if matches!(state.lease, LeaseState::Waiting) {
            return Err(LeaseError::Ended);
        }
        if failed {
            state.lose(true);
        }
        if !mutated!(ReleaseKeepsLease) {
            self.release(shard, now);
        }
        Ok(())
    }

    /// Whether a commit under `token` may be tried. The ledger decides; [`Leases::mark_committed`] applies its decision.
    ///
    /// An expired lease is admitted as long as the shard was not leased again: its part is still valid.
    pub(crate) fn admit(&self, shard: ShardIndex, token: FencingToken) -> Result<Admission, LeaseError> {
        match self.open.get(&shard) {
            Some(state) if state.token == token && token != FencingToken::default() => {
                Ok(Admission::New(state.shard(shard)))
            }
            Some(state) => Err(LeaseError::Stale { current: state.token }),
            None if shard.0 < self.cursor => Ok(Admission::Over),
            None if shard.0 < self.cut.records => Err(LeaseError::Stale { current: FencingToken::default() }),
            None => Err(LeaseError::UnknownShard),
        }
    }

    /// Applies that the ledger has committed the shard, whatever the state here. A grant that the ledger has not recorded yet
    /// ends here: its token is never durable.
    pub(crate) fn mark_committed(
        &mut self,
        now: Monotonic,
        shard: ShardIndex,
    ) -> Result<CommitEffect, LeaseError> {
        self.bring_up(shard)?;
        let Some(state) = self.open.get(&shard) else { return Ok(CommitEffect::Before) };
        if let Some(worker) = state.lease.worker().cloned() {
            let len = state.len;
            self.throughputs.done(now, &worker, len);
        }
        self.release(shard, now);
        self.unwait(shard);
        self.open.remove(&shard);
        self.committed = self.committed.saturating_add(1);
        Ok(CommitEffect::New)
    }

    /// Applies that the ledger refused a grant and holds `known` instead. A reply that arrives after the shard was granted
    /// again is outdated and ignored, except that a commit is final.
    pub(crate) fn refused(
        &mut self,
        now: Monotonic,
        grant: &Grant,
        known: Option<&LedgerShard>,
    ) -> Result<CommitEffect, LeaseError> {
        let state = self.open.get(&grant.shard.index);
        let late = state.is_some_and(|state| state.serial != grant.serial);
        if late && !known.is_some_and(|known| known.committed) {
            return Ok(CommitEffect::Before);
        }
        self.observe(now, grant.shard.index, known)
    }

    /// Takes over the ledger's state of a shard, after a restart or a refused grant. `None`: the shard was never leased.
    /// Returns whether it newly counts as committed.
    ///
    /// The ledger's token replaces ours even where it is smaller: a token that the ledger has not recorded was never sent to
    /// a worker. A leased shard gets a whole time to live from `now`, so that its worker can renew it.
    pub(crate) fn observe(
        &mut self,
        now: Monotonic,
        shard: ShardIndex,
        known: Option<&LedgerShard>,
    ) -> Result<CommitEffect, LeaseError> {
        self.bring_up(shard)?;
        if !self.open.contains_key(&shard) {
            return Ok(CommitEffect::Before);
        }
        self.release(shard, now);
        let Some(state) = self.open.get_mut(&shard) else { return Ok(CommitEffect::Before) };
        state.serial = 0;
        let Some(known) = known else {
            (state.token, state.attempt) = (FencingToken::default(), 0);
            return Ok(CommitEffect::Before);
        };
        // Losses that only this process has counted stay, as long as the shard was not split.
        let lost = if known.len == state.len { state.lost.max(known.lost) } else { known.lost };
        (state.token, state.attempt, state.lost) = (known.token, known.attempt, lost);
        // A shard never grows: a greater length is an outdated state of the ledger.
        if known.len < state.len && !self.shrink(shard, known.len) {
            return Err(LeaseError::UnknownShard);
        }
        if known.committed {
            return self.mark_committed(now, shard);
        }
        self.unwait(shard);
        if let Some(worker) = &known.worker {
            let deadline = now.after(self.terms.ttl_ms);
            let Some(state) = self.open.get_mut(&shard) else { return Ok(CommitEffect::Before) };
            state.lease = LeaseState::recovered(worker, now, deadline);
            let len = state.len;
            self.throughputs.took(now, worker, len);
            self.deadlines.insert((deadline, shard));
        } else {
            self.wait(shard);
        }
        Ok(CommitEffect::Before)
    }

    /// The state of a shard, if `token` is its newest.
    fn current(&mut self, shard: ShardIndex, token: FencingToken) -> Result<&mut ShardState, LeaseError> {
        let known = shard.0 < self.cut.records;
        match self.open.get_mut(&shard) {
            Some(state) if mutated!(RenewsOldToken) => Ok(state),
            Some(state) if state.token == token && token != FencingToken::default() => Ok(state),
            Some(state) => Err(LeaseError::Stale { current: state.token }),
            None if known => Err(LeaseError::Ended),
            None => Err(LeaseError::UnknownShard),
        }
    }
}
