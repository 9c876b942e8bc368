//! Splits shards, and tracks which exist and which wait.
//!
//! *Invariant*: open shards, committed shards and the records from the cursor on cover every record exactly once.

use domain::ids::ShardIndex;

use super::shard_state::{LeaseState, ShardState};
use super::{LeaseError, Leases};
use crate::clock::Monotonic;

impl Leases {
    pub(super) fn fresh_records(&self) -> u64 {
        u64::from(self.cut.records.saturating_sub(self.cursor))
    }

    /// Opens the first shard that was never leased.
    pub(super) fn begin_fresh(&mut self) -> Option<ShardIndex> {
        let shard = self.cut.shard_at(self.cursor)?;
        self.cursor = shard.end();
        self.open.insert(shard.index, ShardState::fresh(shard.len, 0));
        self.wait(shard.index);
        Some(shard.index)
    }

    /// Opens a shard that the ledger names and that is not open here: one beyond the cursor, or a part of an open shard that
    /// was split. A committed shard stays as it is.
    pub(super) fn bring_up(&mut self, shard: ShardIndex) -> Result<(), LeaseError> {
        if shard.0 >= self.cut.records {
            return Err(LeaseError::UnknownShard);
        }
        while self.cursor <= shard.0 {
            self.begin_fresh().ok_or(LeaseError::UnknownShard)?;
        }
        loop {
            let holder = self.open.range(..=shard).next_back();
            let Some((first, state)) = holder else { return Ok(()) };
            let (first, held) = (*first, state.shard(*first));
            if first == shard || !held.holds(shard) {
                return Ok(());
            }
            // The shard was split since its entry was read; the ledger's reply to the next grant has its new state.
            let (half, _) = held.halves().ok_or(LeaseError::UnknownShard)?;
            self.release(first, Monotonic::default());
            if half.len == 1
                && let Some(state) = self.open.get_mut(&first)
            {
                state.lost = 0;
            }
            self.shrink(first, half.len);
        }
    }

    /// Shortens an open shard to `len` records; the shards that are split off wait. Returns whether splitting can lead to
    /// that length.
    pub(super) fn shrink(&mut self, index: ShardIndex, len: u32) -> bool {
        let Some(state) = self.open.get_mut(&index) else { return false };
        let Some((_, off)) = state.shard(index).shrunk_to(len) else { return false };
        let was_waiting = self.waiting.remove(&index);
        if was_waiting {
            self.waiting_records -= u64::from(state.len);
        }
        state.len = len;
        let lost = state.lost;
        if was_waiting {
            self.wait(index);
        }
        for mut piece in off {
            if mutated!(SplitLosesRecord) && piece.len > 1 {
                piece.len -= 1;
            }
            self.splits = self.splits.saturating_add(1);
            // The cause of the losses may be in either half; a single record starts without losses.
            self.open.insert(piece.index, ShardState::fresh(piece.len, if piece.len > 1 { lost } else { 0 }));
            self.wait(piece.index);
        }
        true
    }

    /// Ends the lease of a shard, if it is leased; the shard waits.
    pub(super) fn release(&mut self, index: ShardIndex, now: Monotonic) {
        let Some(state) = self.open.get_mut(&index) else { return };
        if let LeaseState::Leased { worker, deadline, .. } =
            std::mem::replace(&mut state.lease, LeaseState::Waiting)
        {
            let len = state.len;
            self.deadlines.remove(&(deadline, index));
            self.throughputs.dropped(&worker, len);
            if deadline <= now {
                self.throughputs.remove_idle(&worker);
            }
            self.wait(index);
        }
    }

    pub(super) fn wait(&mut self, index: ShardIndex) {
        let Some(state) = self.open.get(&index) else { return };
        if state.len == 1 && state.lost >= self.terms.max_lost {
            self.poison.insert(index);
        } else if self.waiting.insert(index) {
            self.waiting_records += u64::from(state.len);
        }
    }

    pub(super) fn unwait(&mut self, index: ShardIndex) {
        self.poison.remove(&index);
        if self.waiting.remove(&index)
            && let Some(state) = self.open.get(&index)
        {
            self.waiting_records -= u64::from(state.len);
        }
    }
}
