//! The lease protocol of one run as a pure state machine: grant, renew, expire, hand back, admit a commit, settle it.
//!
//! *Owns* deadlines and who waits for what. *Never* reads a clock, a file or the network: `now` is an argument, and what
//! the ledger said is told by [`Leases::settle`] and [`Leases::observe`].
//!
//! *Invariants* (checked by the property tests beside this file):
//! 1. Each grant's token is larger than every earlier one of the shard that the ledger took: no token is told twice.
//! 2. A shard has at most one holder.
//! 3. Only the newest token is admitted to a commit; once settled, no other token is.
//! 4. A shard that is neither held nor committed can be granted.
//! 5. `expire(now)` takes exactly the leases whose deadline is at or before `now`.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::ids::{FencingToken, ShardIndex, WorkerName};

#[cfg(test)]
mod tests;

/// A moment on the coordinator's monotonic clock, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `ms` later.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// The leases of one run.
#[derive(Debug)]
pub struct Leases {
    ttl_ms: u64,
    slots: Vec<Slot>,
    /// No shard before this one waits, apart from those in `returned`.
    cursor: u32,
    /// Waiting shards before the cursor: leased once, given back or expired.
    returned: BTreeSet<u32>,
    deadlines: BTreeSet<(Moment, u32)>,
    committed: u32,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    token: FencingToken,
    attempt: u32,
    hold: Hold,
}

#[derive(Debug, Clone, Default)]
enum Hold {
    #[default]
    Waiting,
    Leased {
        worker: Arc<WorkerName>,
        deadline: Moment,
    },
    Committed,
}

/// A lease that was granted and must be made durable before it is told to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Which shard.
    pub shard: ShardIndex,
    /// The token that the ledger must still hold.
    pub previous: FencingToken,
    /// The new token.
    pub token: FencingToken,
    /// How many times the shard has been leased, this lease included.
    pub attempt: u32,
    /// When it ends unless it is renewed.
    pub deadline: Moment,
}

/// A lease that ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Which shard.
    pub shard: ShardIndex,
    /// Its token, which stays the newest until the shard is granted again.
    pub token: FencingToken,
    /// Who held it.
    pub worker: Arc<WorkerName>,
}

/// What the ledger holds about a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest token.
    pub token: FencingToken,
    /// How many times it has been leased.
    pub attempt: u32,
    /// Who holds it, as far as anybody knows; `None`: nobody.
    pub worker: Option<Arc<WorkerName>>,
    /// Whether its part is committed.
    pub committed: bool,
}

/// Whether a commit is the first of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The shard is not committed yet.
    New,
    /// The same token committed it before: the caller did not hear the answer.
    Again,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The run has no such shard.
    #[error("the run has no such shard")]
    UnknownShard,
    /// The token is not the newest.
    #[error("the shard has been leased again since: the newest token is {current}")]
    Stale {
        /// The newest token.
        current: FencingToken,
    },
    /// The lease ran out or was given back.
    #[error("the lease ran out")]
    Ended,
    /// The shard is committed.
    #[error("the shard is committed")]
    Committed,
}

impl Leases {
    /// A run of `shards` shards, none of them leased yet.
    pub fn new(shards: u32, ttl_ms: u64) -> Self {
        Self {
            ttl_ms,
            slots: vec![Slot::default(); shards as usize],
            cursor: 0,
            returned: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            committed: 0,
        }
    }

    /// How long a lease lasts.
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
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
        self.committed as usize == self.slots.len()
    }

    /// When the next lease ends.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Leases the first shard that waits; those that were leased before come first.
    ///
    /// The grant counts from now on; when the ledger refuses it, [`Leases::observe`] or [`Leases::hand_back`] undoes it.
    pub fn grant(&mut self, now: Moment, worker: &Arc<WorkerName>) -> Option<Grant> {
        let index = self.returned.pop_first().or_else(|| self.next_fresh())?;
        let deadline = now.after(self.ttl_ms);
        let slot = self.slots.get_mut(index as usize)?;
        let previous = slot.token;
        slot.token = FencingToken(previous.0.checked_add(1)?);
        slot.attempt = slot.attempt.saturating_add(1);
        slot.hold = Hold::Leased { worker: Arc::clone(worker), deadline };
        self.deadlines.insert((deadline, index));
        Some(Grant { shard: ShardIndex(index), previous, token: slot.token, attempt: slot.attempt, deadline })
    }

    /// Extends a lease to its whole time to live from `now`. A lease past its deadline is lost even if nobody has
    /// called [`Leases::expire`] yet.
    pub fn renew(&mut self, now: Moment, shard: ShardIndex, token: FencingToken) -> Result<Moment, Refused> {
        let renewed = now.after(self.ttl_ms);
        let slot = current(&mut self.slots, shard, token)?;
        match &mut slot.hold {
            Hold::Leased { deadline, .. } if *deadline > now => {
                self.deadlines.remove(&(*deadline, shard.0));
                self.deadlines.insert((renewed, shard.0));
                *deadline = renewed;
                Ok(renewed)
            }
            Hold::Leased { .. } | Hold::Waiting => Err(Refused::Ended),
            Hold::Committed => Err(Refused::Committed),
        }
    }

    /// Ends every lease whose deadline is at or before `now`; their shards wait again.
    pub fn expire(&mut self, now: Moment) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            let Some(slot) = self.slots.get(index as usize) else { break };
            if let Hold::Leased { worker, .. } = &slot.hold {
                let worker = Arc::clone(worker);
                expired.push(Expired { shard: ShardIndex(index), token: slot.token, worker });
            }
            self.release(index);
        }
        expired
    }

    /// The leases that `worker` holds.
    pub fn held_by(&self, worker: &WorkerName) -> Vec<(ShardIndex, FencingToken)> {
        let held =
            self.deadlines.iter().filter_map(|(_, index)| Some((*index, self.slots.get(*index as usize)?)));
        held.filter(
            |(_, slot)| matches!(&slot.hold, Hold::Leased { worker: holder, .. } if **holder == *worker),
        )
        .map(|(index, slot)| (ShardIndex(index), slot.token))
        .collect()
    }

    /// Who holds a lease: a name for each.
    pub fn holders(&self) -> impl Iterator<Item = &WorkerName> {
        self.deadlines.iter().filter_map(|(_, index)| match &self.slots.get(*index as usize)?.hold {
            Hold::Leased { worker, .. } => Some(&**worker),
            Hold::Waiting | Hold::Committed => None,
        })
    }

    /// Takes a lease back before its deadline; the shard waits again.
    pub fn hand_back(&mut self, shard: ShardIndex, token: FencingToken) -> Result<(), Refused> {
        let slot = current(&mut self.slots, shard, token)?;
        match slot.hold {
            Hold::Leased { .. } => {
                self.release(shard.0);
                Ok(())
            }
            Hold::Waiting => Err(Refused::Ended),
            Hold::Committed => Err(Refused::Committed),
        }
    }

    /// Whether a commit under `token` may be tried. The ledger has the last word; [`Leases::settle`] tells it.
    ///
    /// A lease that ran out is admitted as long as the shard was not granted again: the work is as good as any.
    pub fn admit(&self, shard: ShardIndex, token: FencingToken) -> Result<Admission, Refused> {
        let slot = self.slots.get(shard.0 as usize).ok_or(Refused::UnknownShard)?;
        if slot.token != token || token == FencingToken::default() {
            return Err(Refused::Stale { current: slot.token });
        }
        Ok(if matches!(slot.hold, Hold::Committed) { Admission::Again } else { Admission::New })
    }

    /// The ledger committed the shard under `token`: a fact, whatever this machine thought.
    pub fn settle(&mut self, shard: ShardIndex, token: FencingToken) -> Result<Admission, Refused> {
        let slot = self.slots.get_mut(shard.0 as usize).ok_or(Refused::UnknownShard)?;
        if matches!(slot.hold, Hold::Committed) {
            return if slot.token == token {
                Ok(Admission::Again)
            } else {
                Err(Refused::Stale { current: slot.token })
            };
        }
        self.release(shard.0);
        self.returned.remove(&shard.0);
        if let Some(slot) = self.slots.get_mut(shard.0 as usize) {
            slot.hold = Hold::Committed;
            // A grant that the ledger had not seen yet ends here: its token was never durable.
            slot.token = token;
        }
        self.committed += 1;
        Ok(Admission::New)
    }

    /// Takes over what the ledger holds about a shard: after a restart, or after it refused a grant.
    ///
    /// The ledger's token replaces ours even where it is smaller: a token that it does not hold was never told to
    /// anybody. A shard that somebody holds gets a whole time to live from `now`, so that a living worker can renew it.
    pub fn observe(&mut self, now: Moment, shard: ShardIndex, known: &Known) -> Result<(), Refused> {
        let slot = self.slots.get(shard.0 as usize).ok_or(Refused::UnknownShard)?;
        if matches!(slot.hold, Hold::Committed) {
            return Ok(());
        }
        self.release(shard.0);
        if known.committed {
            self.settle(shard, known.token)?;
        }
        let Some(slot) = self.slots.get_mut(shard.0 as usize) else { return Ok(()) };
        slot.token = known.token;
        slot.attempt = known.attempt;
        if let Some(worker) = &known.worker
            && !known.committed
        {
            let deadline = now.after(self.ttl_ms);
            slot.hold = Hold::Leased { worker: Arc::clone(worker), deadline };
            self.returned.remove(&shard.0);
            self.deadlines.insert((deadline, shard.0));
        }
        Ok(())
    }

    /// Makes a shard wait, unless it is committed.
    fn release(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        if let Hold::Leased { deadline, .. } = slot.hold {
            self.deadlines.remove(&(deadline, index));
            slot.hold = Hold::Waiting;
            if index < self.cursor {
                self.returned.insert(index);
            }
        }
    }

    fn next_fresh(&mut self) -> Option<u32> {
        loop {
            let slot = self.slots.get(self.cursor as usize)?;
            let index = self.cursor;
            self.cursor += 1;
            if matches!(slot.hold, Hold::Waiting) {
                return Some(index);
            }
        }
    }
}

/// The slot of a shard, if `token` is its newest.
fn current(slots: &mut [Slot], shard: ShardIndex, token: FencingToken) -> Result<&mut Slot, Refused> {
    let slot = slots.get_mut(shard.0 as usize).ok_or(Refused::UnknownShard)?;
    if slot.token == token && token != FencingToken::default() {
        Ok(slot)
    } else {
        Err(Refused::Stale { current: slot.token })
    }
}
