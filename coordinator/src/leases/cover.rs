//! Which shards there are, and which of them wait: open shards, committed ones and what lies beyond the cursor cover every
//! record exactly once.

use domain::ids::ShardIndex;

use super::slot::{Hold, Slot};
use super::{Leases, Moment, Refused};

impl Leases {
    pub(super) fn fresh_records(&self) -> u64 {
        u64::from(self.cut.records.saturating_sub(self.cursor))
    }

    /// Opens the first shard that nobody has touched.
    pub(super) fn begin_fresh(&mut self) -> Option<ShardIndex> {
        let shard = self.cut.shard_at(self.cursor)?;
        self.cursor = shard.end();
        self.open.insert(shard.index, Slot::fresh(shard.len, 0));
        self.wait(shard.index);
        Some(shard.index)
    }

    /// Opens what the ledger knows and this machine has not come to: shards beyond the cursor, or the half of an open
    /// one. A committed shard stays as it is.
    pub(super) fn bring_up(&mut self, shard: ShardIndex) -> Result<(), Refused> {
        if shard.0 >= self.cut.records {
            return Err(Refused::UnknownShard);
        }
        while self.cursor <= shard.0 {
            self.begin_fresh().ok_or(Refused::UnknownShard)?;
        }
        loop {
            let holder = self.open.range(..=shard).next_back();
            let Some((first, slot)) = holder else { return Ok(()) };
            let (first, held) = (*first, slot.shard(*first));
            if first == shard || !held.holds(shard) {
                return Ok(());
            }
            // Its entry has been halved since it was read; what it is now, the next grant will be told.
            let (half, _) = held.halves().ok_or(Refused::UnknownShard)?;
            self.release(first, Moment::default());
            if half.len == 1
                && let Some(slot) = self.open.get_mut(&first)
            {
                slot.lost = 0;
            }
            self.shrink(first, half.len);
        }
    }

    /// Cuts an open shard down; what comes off waits. Gives whether halving leads there.
    pub(super) fn shrink(&mut self, index: ShardIndex, len: u32) -> bool {
        let Some(slot) = self.open.get_mut(&index) else { return false };
        let Some((_, off)) = slot.shard(index).shrunk_to(len) else { return false };
        let was_waiting = self.waiting.remove(&index);
        if was_waiting {
            self.waiting_records -= u64::from(slot.len);
        }
        slot.len = len;
        let lost = slot.lost;
        if was_waiting {
            self.wait(index);
        }
        for mut piece in off {
            if mutated!(HalvingLosesRecord) && piece.len > 1 {
                piece.len -= 1;
            }
            self.halvings = self.halvings.saturating_add(1);
            // What made the whole suspicious may lie in either half; a record alone begins anew.
            self.open.insert(piece.index, Slot::fresh(piece.len, if piece.len > 1 { lost } else { 0 }));
            self.wait(piece.index);
        }
        true
    }

    /// Makes a shard wait, if it is held.
    pub(super) fn release(&mut self, index: ShardIndex, now: Moment) {
        let Some(slot) = self.open.get_mut(&index) else { return };
        if let Hold::Leased { worker, deadline, .. } = std::mem::replace(&mut slot.hold, Hold::Waiting) {
            let len = slot.len;
            self.deadlines.remove(&(deadline, index));
            self.paces.dropped(&worker, len);
            if deadline <= now {
                self.paces.forget_idle(&worker);
            }
            self.wait(index);
        }
    }

    pub(super) fn wait(&mut self, index: ShardIndex) {
        let Some(slot) = self.open.get(&index) else { return };
        if slot.len == 1 && slot.lost >= self.terms.max_lost {
            self.condemned.insert(index);
        } else if self.waiting.insert(index) {
            self.waiting_records += u64::from(slot.len);
        }
    }

    pub(super) fn unwait(&mut self, index: ShardIndex) {
        self.condemned.remove(&index);
        if self.waiting.remove(&index)
            && let Some(slot) = self.open.get(&index)
        {
            self.waiting_records -= u64::from(slot.len);
        }
    }
}
