//! The lease protocol of one run as a pure state machine: grant, renew, expire, hand back, halve, take from who is late,
//! give up, admit a commit, settle it.
//!
//! *Owns* deadlines and who waits for what. *Never* reads a clock, a file or the network: `now` is an argument, and what
//! the ledger said is told by [`Leases::confirm`], [`Leases::refused`], [`Leases::settle`] and [`Leases::observe`].
//!
//! A shard is halved by one step of the ledger on its own entry: a lease of fewer records under a new token. The rest
//! needs no step: it is a shard from then on, because halving leaves only one way in which it can be cut. Memory holds the
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

mod cover;
mod late;
mod pace;
mod slot;
#[cfg(test)]
mod tests;
mod words;

use pace::Paces;
use slot::{Hold, Slot};

pub use late::Take;
pub use words::{Admission, Expired, Grant, Known, Moment, Refused, Settled, Terms};

/// The leases of one run.
#[derive(Debug)]
pub struct Leases {
    cut: Cut,
    terms: Terms,
    /// Shards that were begun and are not committed.
    open: BTreeMap<ShardIndex, Slot>,
    /// The first record that no open or committed shard holds.
    cursor: u32,
    /// Open shards that can be granted, and how many records they hold.
    waiting: BTreeSet<ShardIndex>,
    waiting_records: u64,
    /// Records that stand alone and have lost too many workers.
    condemned: BTreeSet<ShardIndex>,
    deadlines: BTreeSet<(Moment, ShardIndex)>,
    paces: Paces,
    committed: u32,
    halvings: u32,
    grants: u64,
}

impl Leases {
    /// The leases of a run that was cut like this, none of them granted yet.
    pub fn new(cut: Cut, terms: Terms) -> Self {
        Self {
            cut,
            terms,
            open: BTreeMap::new(),
            cursor: 0,
            waiting: BTreeSet::new(),
            waiting_records: 0,
            condemned: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            paces: Paces::default(),
            committed: 0,
            halvings: 0,
            grants: 0,
        }
    }

    /// The terms of every lease.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// How many shards there are, halves counted each.
    pub fn shards(&self) -> u32 {
        self.cut.shards().saturating_add(self.halvings)
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
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Leases the first shard that waits to one of `fleet` workers; those that were begun come first. It is halved if it
    /// has lost too many workers, or if the worker would sit on it while the others have nothing left to do.
    ///
    /// The grant counts from now on, but a halving counts only once [`Leases::confirm`] says that the ledger has it.
    /// When the ledger refuses the grant, [`Leases::refused`] or [`Leases::hand_back`] undoes it.
    pub fn grant(&mut self, now: Moment, worker: &Arc<WorkerName>, fleet: u32) -> Option<Grant> {
        let index = self.waiting.first().copied().or_else(|| self.begin_fresh())?;
        self.lease_open(now, worker, index, fleet)
    }

    /// Leases a shard that is not held, or a part of it.
    fn lease_open(
        &mut self,
        now: Moment,
        worker: &Arc<WorkerName>,
        index: ShardIndex,
        fleet: u32,
    ) -> Option<Grant> {
        let slot = self.open.get(&index)?;
        let (whole, mut lost) = (slot.shard(index), slot.lost);
        let work = pace::Work { waiting: self.waiting_records + self.fresh_records(), fleet };
        let mut len = self.paces.piece(worker, whole.len, work);
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

    /// Leases a record that was given up to the coordinator itself, which commits its outcome.
    pub fn give_up(&mut self, now: Moment, coordinator: &Arc<WorkerName>) -> Option<Grant> {
        let index = *self.condemned.first()?;
        let slot = self.open.get(&index)?;
        let (shard, lost) = (slot.shard(index), slot.lost);
        self.lease(now, coordinator, shard, lost)
    }

    /// Whether a record was given up and has no outcome yet.
    pub fn has_condemned(&self) -> bool {
        !self.condemned.is_empty()
    }

    /// Makes `worker` the holder, whoever was before.
    fn lease(&mut self, now: Moment, worker: &Arc<WorkerName>, shard: Shard, lost: u32) -> Option<Grant> {
        self.release(shard.index, now);
        self.unwait(shard.index);
        let deadline = now.after(self.terms.ttl_ms);
        self.grants += 1;
        let serial = self.grants;
        let slot = self.open.get_mut(&shard.index)?;
        slot.serial = serial;
        let previous = slot.token;
        slot.token = slot::next(previous)?;
        slot.attempt = slot.attempt.saturating_add(1);
        slot.hold = Hold::leased(worker, now, deadline);
        let (token, attempt, held) = (slot.token, slot.attempt, slot.len);
        self.deadlines.insert((deadline, shard.index));
        self.paces.took(now, worker, held);
        let grant = Grant { shard, previous, token, attempt, lost, deadline, serial };
        if mutated!(HalvedTooEarly) {
            self.confirm(&grant);
        }
        Some(grant)
    }

    /// The ledger has the grant: a halving that came with it counts. Gives whether the lease is still held.
    pub fn confirm(&mut self, grant: &Grant) -> bool {
        let index = grant.shard.index;
        let Some(slot) = self.open.get_mut(&index).filter(|slot| slot.serial == grant.serial) else {
            return false;
        };
        if slot.len != grant.shard.len {
            slot.lost = grant.lost;
            if let Some(worker) = slot.hold.worker() {
                self.paces.dropped(worker, slot.len - grant.shard.len);
            }
            self.shrink(index, grant.shard.len);
        }
        match self.open.get_mut(&index).map(|slot| &mut slot.hold) {
            Some(Hold::Leased { recorded, .. }) => {
                *recorded = true;
                true
            }
            Some(Hold::Waiting) | None => false,
        }
    }

    /// Extends a lease to its whole time to live from `now`. A lease past its deadline is lost even if nobody has
    /// called [`Leases::expire`] yet.
    pub fn renew(&mut self, now: Moment, shard: ShardIndex, token: FencingToken) -> Result<Moment, Refused> {
        let renewed = now.after(self.terms.ttl_ms);
        match &mut self.current(shard, token)?.hold {
            Hold::Leased { deadline, recovered, gone, .. } if *deadline > now => {
                (*recovered, *gone) = (false, None);
                let before = std::mem::replace(deadline, renewed);
                self.deadlines.remove(&(before, shard));
                self.deadlines.insert((renewed, shard));
                Ok(renewed)
            }
            Hold::Leased { .. } | Hold::Waiting => Err(Refused::Ended),
        }
    }

    /// Ends every lease whose deadline is at or before `now`; their shards wait again. `heard` is when the coordinator
    /// last heard any worker.
    ///
    /// The loss counts against the shard if it can be the shard's doing: not if the lease was granted by an earlier
    /// process, and not if nobody was heard around its deadline, or the coordinator itself did not look. One in four of
    /// those counts nevertheless, or a fleet of one worker that dies of it would never end.
    pub fn expire(&mut self, now: Moment, heard: Moment) -> Vec<Expired> {
        let beat = self.terms.beat_ms();
        let mut expired = Vec::new();
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > now || (mutated!(ExpiryOffByOne) && deadline == now) {
                break;
            }
            let Some(slot) = self.open.get_mut(&index) else { break };
            let witnessed = heard.after(beat) >= deadline && now.since(deadline) <= beat;
            if let Hold::Leased { worker, recovered, .. } = &slot.hold {
                let worker = Arc::clone(worker);
                if !recovered {
                    slot.lose(witnessed);
                }
                expired.push(Expired {
                    shard: slot.shard(index),
                    token: slot.token,
                    worker,
                    lost: slot.lost,
                });
            }
            self.release(index, now);
        }
        expired
    }

    /// The stream of `worker` has ended: what it does not renew soon can be taken from it.
    pub fn disconnected(&mut self, now: Moment, worker: &WorkerName) {
        for (index, _) in self.held_by(worker) {
            if let Some(Hold::Leased { gone, .. }) = self.open.get_mut(&index).map(|slot| &mut slot.hold) {
                gone.get_or_insert(now);
            }
        }
        self.paces.forget_idle(worker);
    }

    /// Who holds a lease: a name for each.
    pub fn holders(&self) -> impl Iterator<Item = &WorkerName> {
        let held = self.deadlines.iter().filter_map(|(_, index)| self.open.get(index));
        held.filter_map(|slot| slot.hold.worker().map(|worker| &**worker))
    }

    /// The leases that `worker` holds.
    pub fn held_by(&self, worker: &WorkerName) -> Vec<(ShardIndex, FencingToken)> {
        let held = self.deadlines.iter().filter_map(|(_, index)| Some((*index, self.open.get(index)?)));
        held.filter(|(_, slot)| slot.hold.worker().is_some_and(|holder| **holder == *worker))
            .map(|(index, slot)| (index, slot.token))
            .collect()
    }

    /// Takes a lease back before its deadline; the shard waits again. `failed`: the worker cannot process it, which
    /// counts like the worker's loss.
    pub fn hand_back(
        &mut self,
        now: Moment,
        shard: ShardIndex,
        token: FencingToken,
        failed: bool,
    ) -> Result<(), Refused> {
        let slot = self.current(shard, token)?;
        if matches!(slot.hold, Hold::Waiting) {
            return Err(Refused::Ended);
        }
        if failed {
            slot.lose(true);
        }
        if !mutated!(HandBackKeepsLease) {
            self.release(shard, now);
        }
        Ok(())
    }

    /// Whether a commit under `token` may be tried. The ledger has the last word; [`Leases::settle`] tells it.
    ///
    /// A lease that ran out is admitted as long as the shard was not granted again: the work is as good as any.
    pub fn admit(&self, shard: ShardIndex, token: FencingToken) -> Result<Admission, Refused> {
        match self.open.get(&shard) {
            Some(slot) if slot.token == token && token != FencingToken::default() => {
                Ok(Admission::New(slot.shard(shard)))
            }
            Some(slot) => Err(Refused::Stale { current: slot.token }),
            None if shard.0 < self.cursor => Ok(Admission::Over),
            None if shard.0 < self.cut.records => Err(Refused::Stale { current: FencingToken::default() }),
            None => Err(Refused::UnknownShard),
        }
    }

    /// The ledger committed the shard: a fact, whatever this machine thought. A grant that the ledger had not seen yet
    /// ends here: its token was never durable.
    pub fn settle(&mut self, now: Moment, shard: ShardIndex) -> Result<Settled, Refused> {
        self.bring_up(shard)?;
        let Some(slot) = self.open.get(&shard) else { return Ok(Settled::Before) };
        if let Some(worker) = slot.hold.worker().cloned() {
            let len = slot.len;
            self.paces.done(now, &worker, len);
        }
        self.release(shard, now);
        self.unwait(shard);
        self.open.remove(&shard);
        self.committed = self.committed.saturating_add(1);
        Ok(Settled::New)
    }

    /// The ledger refused a grant and said what it holds instead. An answer that is so late that the shard has been
    /// granted again since says nothing about now; that a shard is committed is true for ever.
    pub fn refused(&mut self, now: Moment, grant: &Grant, known: Option<&Known>) -> Result<Settled, Refused> {
        let slot = self.open.get(&grant.shard.index);
        let late = slot.is_some_and(|slot| slot.serial != grant.serial);
        if late && !known.is_some_and(|known| known.committed) {
            return Ok(Settled::Before);
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
        now: Moment,
        shard: ShardIndex,
        known: Option<&Known>,
    ) -> Result<Settled, Refused> {
        self.bring_up(shard)?;
        if !self.open.contains_key(&shard) {
            return Ok(Settled::Before);
        }
        self.release(shard, now);
        let Some(slot) = self.open.get_mut(&shard) else { return Ok(Settled::Before) };
        slot.serial = 0;
        let Some(known) = known else {
            (slot.token, slot.attempt) = (FencingToken::default(), 0);
            return Ok(Settled::Before);
        };
        // Losses that another coordinator does not know of count as long as the shard is the same.
        let lost = if known.len == slot.len { slot.lost.max(known.lost) } else { known.lost };
        (slot.token, slot.attempt, slot.lost) = (known.token, known.attempt, lost);
        // It never grows again: a longer one is what the ledger held before.
        if known.len < slot.len && !self.shrink(shard, known.len) {
            return Err(Refused::UnknownShard);
        }
        if known.committed {
            return self.settle(now, shard);
        }
        self.unwait(shard);
        if let Some(worker) = &known.worker {
            let deadline = now.after(self.terms.ttl_ms);
            let Some(slot) = self.open.get_mut(&shard) else { return Ok(Settled::Before) };
            slot.hold = Hold::recovered(worker, now, deadline);
            let len = slot.len;
            self.paces.took(now, worker, len);
            self.deadlines.insert((deadline, shard));
        } else {
            self.wait(shard);
        }
        Ok(Settled::Before)
    }

    /// The slot of a shard, if `token` is its newest.
    fn current(&mut self, shard: ShardIndex, token: FencingToken) -> Result<&mut Slot, Refused> {
        let known = shard.0 < self.cut.records;
        match self.open.get_mut(&shard) {
            Some(slot) if mutated!(RenewsOldToken) => Ok(slot),
            Some(slot) if slot.token == token && token != FencingToken::default() => Ok(slot),
            Some(slot) => Err(Refused::Stale { current: slot.token }),
            None if known => Err(Refused::Ended),
            None => Err(Refused::UnknownShard),
        }
    }
}
