//! Speculative execution: re-leases stragglers' shards to idle workers. Fencing tokens make it safe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::{ShardIndex, WorkerName};

use super::shard_state::LeaseState;
use super::{Grant, Leases};
use crate::clock::Monotonic;

/// How often a shard may be taken from holders that are late; afterwards its lease has to end.
const MOST_TAKEN: u32 = 3;

/// How much longer the holder must be expected to need than the worker that would take over.
const NOTABLY: f64 = 1.25;

/// The least it must be longer, in ms.
const LEAST_MS: f64 = 20.0;

/// What became of the wish for a lease that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speculation {
    /// It was taken from its holder.
    Granted(Grant),
    /// Nothing can be taken before this moment.
    NotBefore(Monotonic),
    /// There is nothing to take.
    Nothing,
}

/// A lease, and when the worker that asks may have it.
struct Late {
    index: ShardIndex,
    from: Monotonic,
    gone: bool,
    remaining_ms: f64,
}

impl Leases {
    /// Leases a shard to `worker` that another one holds, if that one is expected to need notably longer, or its stream
    /// has ended and it has not been heard for as long as a heartbeat takes. For when nothing waits.
    ///
    /// A lease that the ledger has not recorded yet is left alone: a second grant might overtake the first on its way
    /// there, or name a length that the first has just split, and the ledger would hold a lease that nobody was told of.
    pub fn speculate(&mut self, now: Monotonic, worker: &Arc<WorkerName>, fleet: u32) -> Speculation {
        let late = self.late(now, worker);
        let ready = late.iter().filter(|late| late.from <= now);
        let Some(late) = ready.max_by(|a, b| a.remaining_ms.total_cmp(&b.remaining_ms)) else {
            let next = late.iter().map(|late| late.from).min();
            return next.map_or(Speculation::Nothing, Speculation::NotBefore);
        };
        let Some(state) = self.open.get_mut(&late.index) else { return Speculation::Nothing };
        match (late.gone, &state.lease) {
            (false, _) => state.taken += 1,
            (true, LeaseState::Leased { recovered: false, .. }) => state.lose(true),
            (true, _) => {}
        }
        self.release(late.index, now);
        if self.poison.contains(&late.index) {
            return Speculation::Nothing;
        }
        self.lease_open(now, worker, late.index, fleet).map_or(Speculation::Nothing, Speculation::Granted)
    }

    /// Every lease of others that may be taken, and from when on.
    fn late(&self, now: Monotonic, worker: &WorkerName) -> Vec<Late> {
        let mut leases: Vec<_> = self
            .deadlines
            .iter()
            .filter_map(|(_, index)| Some((*index, self.open.get(index)?)))
            .filter_map(|(index, state)| match &state.lease {
                LeaseState::Leased { worker: holder, since, gone, recorded, .. } if **holder != *worker => {
                    Some((holder, *since, index, state, *gone, *recorded))
                }
                _ => None,
            })
            .collect();
        // A worker takes its shards in the order in which it got them.
        leases.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        let mut ahead: BTreeMap<&WorkerName, u64> = BTreeMap::new();
        let mut late = Vec::new();
        for (holder, since, index, state, gone, recorded) in leases {
            let ahead = ahead.entry(holder).or_default();
            *ahead += u64::from(state.len);
            let soonest = if recorded { Monotonic::default() } else { now.after(whole(LEAST_MS)) };
            if let Some(gone) = gone {
                let from = gone.after(self.terms.heartbeat_ms()).max(soonest);
                late.push(Late { index, from, gone: true, remaining_ms: f64::INFINITY });
            } else if state.taken < MOST_TAKEN
                && let Some(own_ms) = self.throughputs.expected_ms(worker, state.len)
            {
                let needed = NOTABLY * own_ms + LEAST_MS;
                let (remaining_ms, overdue_from) = self.remaining(now, holder, since, *ahead);
                let from = if remaining_ms >= needed { now } else { overdue_from.after(whole(needed)) };
                let from = from.max(soonest);
                late.push(Late { index, from, gone: false, remaining_ms });
            }
        }
        late
    }

    /// How much longer `holder` is expected to need, in ms, and from when on it is overdue. One that is overdue is
    /// expected to need as long again.
    fn remaining(
        &self,
        now: Monotonic,
        holder: &WorkerName,
        since: Monotonic,
        records: u64,
    ) -> (f64, Monotonic) {
        let (Some(rate), Some(begun)) = (self.throughputs.rate(holder), self.throughputs.since(holder))
        else {
            return (now.since(since) as f64, since);
        };
        let due = begun.after(whole(records as f64 / rate));
        let remaining = if due > now { due.since(now) } else { now.since(due) };
        (remaining as f64, due)
    }
}

/// Whole ms.
fn whole(ms: f64) -> u64 {
    let duration = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Cut, LeaseTerms};
    use super::*;

    #[test]
    fn what_the_ledger_has_not_recorded_is_not_taken() {
        let worker = |name: &str| Arc::new(WorkerName::new(name).unwrap());
        let (gone, idle) = (worker("gone"), worker("idle"));
        let terms = LeaseTerms { ttl_ms: 30_000, max_lost: 3 };
        let mut leases = Leases::new(Cut { records: 1, shard_size: 1 }, terms);
        let grant = leases.grant(Monotonic(0), &gone, 2).unwrap();
        leases.disconnected(Monotonic(0), &gone);
        let now = Monotonic(20_000);
        assert_eq!(
            leases.speculate(now, &idle, 2),
            Speculation::NotBefore(Monotonic(20_020)),
            "it is asked again soon"
        );
        assert!(leases.confirm(&grant));
        assert!(
            matches!(leases.speculate(now, &idle, 2), Speculation::Granted(taken) if taken.previous == grant.token)
        );
    }
}
