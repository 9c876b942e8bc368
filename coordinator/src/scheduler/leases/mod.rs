//! The lease protocol of one run as a pure state machine: grant, renew, expire, release, split, take from who is late,
//! give up, admit a commit, settle it.
//!
//! *Owns* deadlines and who waits for what. *Never* reads a clock, a file or the network: `now` is an argument, and what
//! the ledger said is told by [`Leases::confirm`], [`Leases::refused`], [`Leases::mark_committed`] and [`Leases::observe`].
//!
//! A shard is split by one step of the ledger on its own entry: a lease of fewer records under a new token. The rest
//! needs no step: it is a shard from then on, because splitting leaves only one way in which it can be cut. Memory holds the
//! shards that were begun and are not committed; those behind the cursor that are not among them are committed, those
//! before it are as they were planned.
//!
//! *Invariants* (checked by the property tests beside this file and by the simulation):
//! 1. Each grant's token is larger than every earlier one of the shard that the ledger took: no token is told twice.
//! 2. A shard has at most one holder.
//! 3. Only the newest token is admitted to a commit; once settled, no other token is.
//! 4. A shard that is neither held nor committed nor given up can be granted.
//! 5. `expire(now)` takes exactly the leases whose deadline is at or before `now`.
//! 6. Open shards, committed shards and what lies beyond the cursor cover every record exactly once.

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

pub use speculation::Speculation;
pub use types::{Admission, CommitEffect, ExpiredLease, Grant, LeaseError, LeaseTerms, LedgerShard};

/// The leases of one run.
#[derive(Debug)]
pub struct Leases {
    cut: Cut,
    terms: LeaseTerms,
    /// Shards that were begun and are not committed.
    open: BTreeMap<ShardIndex, ShardState>,
    /// The first record that no open or committed shard holds.
    cursor: u32,
    /// Open shards that can be granted, and how many records they hold.
    waiting: BTreeSet<ShardIndex>,
    waiting_records: u64,
    /// Records that stand alone and have lost too many workers.
    poison: BTreeSet<ShardIndex>,
    deadlines: BTreeSet<(Monotonic, ShardIndex)>,
    throughputs: Throughputs,
    committed: u32,
    splits: u32,
    grants: u64,
}

impl Leases {
    /// The leases of a run that was cut like this, none of them granted yet.
    pub fn new(cut: Cut, terms: LeaseTerms) -> Self {
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
    pub fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// How many shards there are, halves counted each.
    pub fn shards(&self) -> u32 {
        self.cut.shards().saturating_add(self.splits)
    }

    /// How many shards are committed.
    pub fn committed(&self) -> u32 {
        self.committed
    }

    /// How many shards are held.
    pub fn leased(&self) -> u32 {
        u32::try_from(self.deadlines.len()).unwrap_or(u32::MAX)
    }

    /// Whether every shard is committed.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty() && self.cursor >= self.cut.records
    }

    /// Whether a shard waits to be granted.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.cursor < self.cut.records
    }

    /// When the next lease ends.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Leases the first shard that waits to one of `fleet` workers; those that were begun come first. It is split if it
    /// has lost too many workers, or if the worker would sit on it while the others have nothing left to do.
    ///
    /// The grant counts from now on, but a split counts only once [`Leases::confirm`] says that the ledger has it.
    /// When the ledger refuses the grant, [`Leases::refused`] or [`Leases::release_lease`] undoes it.
    pub fn grant(&mut self, now: Monotonic, worker: &Arc<WorkerName>, fleet: u32) -> Option<Grant> {
        let index = self.waiting.first().copied().or_else(|| self.begin_fresh())?;
        self.lease_open(now, worker, index, fleet)
    }

    /// Leases a shard that is not held, or a part of it.
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
            // One more loss halves each half again.
            lost = self.terms.max_lost - 1;
            len = len.min(whole.len.div_ceil(2));
        }
        if len == 1 && whole.len > 1 {
            // A record alone gets as many chances as its shard had.
            lost = 0;
        }
        self.lease(now, worker, Shard { index, len }, lost)
    }

    /// Leases a record that was declared poison to the coordinator itself, which commits its outcome.
    pub fn grant_poison(&mut self, now: Monotonic, coordinator: &Arc<WorkerName>) -> Option<Grant> {
        let index = *self.poison.first()?;
        let state = self.open.get(&index)?;
        let (shard, lost) = (state.shard(index), state.lost);
        self.lease(now, coordinator, shard, lost)
    }

    /// Whether a record was declared poison and has no outcome yet.
    pub fn has_poison(&self) -> bool {
        !self.poison.is_empty()
    }

    /// Makes `worker` the holder, whoever was before.
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

    /// The ledger has the grant: a split that came with it counts. Gives whether the lease is still held.
    pub fn confirm(&mut self, grant: &Grant) -> bool {
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

    /// Extends a lease to its whole time to live from `now`. A lease past its deadline is lost even if nobody has
    /// called [`Leases::expire`] yet.
    pub fn renew(
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

    /// Ends every lease whose deadline is at or before `now`; their shards wait again. `heard` is when the coordinator
    /// last heard any worker.
    ///
    /// The loss counts against the shard if it can be the shard's doing: not if the lease was granted by an earlier
    /// process, and not if nobody was heard around its deadline, or the coordinator itself did not look. One in four of
    /// those counts nevertheless, or a fleet of one worker that dies of it would never end.
    pub fn expire(&mut self, now: Monotonic, last_contact: Monotonic) -> Vec<ExpiredLease> {
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

    /// The stream of `worker` has ended: what it does not renew soon can be taken from it.
    pub fn disconnected(&mut self, now: Monotonic, worker: &WorkerName) {
        for (index, _) in self.held_by(worker) {
            if let Some(LeaseState::Leased { gone, .. }) =
                self.open.get_mut(&index).map(|state| &mut state.lease)
            {
                gone.get_or_insert(now);
            }
        }
        self.throughputs.forget_idle(worker);
    }

    /// Who holds a lease: a name for each.
    pub fn holders(&self) -> impl Iterator<Item = &WorkerName> {
        let held = self.deadlines.iter().filter_map(|(_, index)| self.open.get(index));
        held.filter_map(|state| state.lease.worker().map(|worker| &**worker))
    }

    /// The leases that `worker` holds.
    pub fn held_by(&self, worker: &WorkerName) -> Vec<(ShardIndex, FencingToken)> {
        let held = self.deadlines.iter().filter_map(|(_, index)| Some((*index, self.open.get(index)?)));
        held.filter(|(_, state)| state.lease.worker().is_some_and(|holder| **holder == *worker))
            .map(|(index, state)| (index, state.token))
            .collect()
    }

    /// Takes a lease back before its deadline; the shard waits again. `failed`: the worker cannot process it, which
    /// counts like the worker's loss.
    pub fn release_lease(
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

    /// Whether a commit under `token` may be tried. The ledger has the last word; [`Leases::mark_committed`] tells it.
    ///
    /// A lease that ran out is admitted as long as the shard was not granted again: the work is as good as any.
    pub fn admit(&self, shard: ShardIndex, token: FencingToken) -> Result<Admission, LeaseError> {
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

    /// The ledger committed the shard: a fact, whatever this machine thought. A grant that the ledger had not seen yet
    /// ends here: its token was never durable.
    pub fn mark_committed(&mut self, now: Monotonic, shard: ShardIndex) -> Result<CommitEffect, LeaseError> {
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

    /// The ledger refused a grant and said what it holds instead. An answer that is so late that the shard has been
    /// granted again since says nothing about now; that a shard is committed is true for ever.
    pub fn refused(
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

    /// Takes over what the ledger holds about a shard: after a restart, or after it refused a grant. `None`: the shard
    /// was never leased. Gives whether it counts as committed from now on.
    ///
    /// The ledger's token replaces ours even where it is smaller: a token that it does not hold was never told to
    /// anybody. A shard that somebody holds gets a whole time to live from `now`, so that a living worker can renew it.
    pub fn observe(
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
        // Losses that another coordinator does not know of count as long as the shard is the same.
        let lost = if known.len == state.len { state.lost.max(known.lost) } else { known.lost };
        (state.token, state.attempt, state.lost) = (known.token, known.attempt, lost);
        // It never grows again: a longer one is what the ledger held before.
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

    /// The slot of a shard, if `token` is its newest.
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
