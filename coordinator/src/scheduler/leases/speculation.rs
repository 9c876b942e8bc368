//! Speculative execution: re-leases stragglers' shards to idle workers. Fencing tokens make it safe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::{ShardIndex, WorkerName};

use super::shard_state::LeaseState;
use super::{Grant, Leases};
use crate::clock::Monotonic;

/// How often a shard may be leased speculatively because its holder is slow; after that its lease has to end.
const MAX_SPECULATIVE: u32 = 3;

/// Factor by which the holder must be expected to need longer than the idle worker.
const SLOWDOWN: f64 = 1.25;

/// Least difference of the two times in ms.
const MIN_GAIN_MS: f64 = 20.0;

/// Result of trying to lease a shard that another worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speculation {
    /// The shard was leased.
    Granted(Grant),
    /// No shard can be taken before this time.
    NotBefore(Monotonic),
    /// No shard can be taken.
    Nothing,
}

/// A lease that may be taken from its holder, and when.
struct Candidate {
    index: ShardIndex,
    from: Monotonic,
    gone: bool,
    remaining_ms: f64,
}

impl Leases {
    /// Leases to `worker` a shard of another holder that is expected to need much longer, or whose stream has ended at least
    /// a heartbeat ago. Used when no shard waits.
    ///
    /// A lease that the ledger has not recorded yet is not taken: the second grant might overtake the first, or use a length
    /// from before its split, and the ledger would hold a lease that no worker has received.
    pub(crate) fn speculate(&mut self, now: Monotonic, worker: &Arc<WorkerName>, fleet: u32) -> Speculation {
        let candidates = self.candidates(now, worker);
        let ready = candidates.iter().filter(|candidate| candidate.from <= now);
        let Some(slowest) = ready.max_by(|a, b| a.remaining_ms.total_cmp(&b.remaining_ms)) else {
            let next = candidates.iter().map(|candidate| candidate.from).min();
            return next.map_or(Speculation::Nothing, Speculation::NotBefore);
        };
        let Some(state) = self.open.get_mut(&slowest.index) else { return Speculation::Nothing };
        match (slowest.gone, &state.lease) {
            (false, _) => state.speculated += 1,
            (true, LeaseState::Leased { recovered: false, .. }) => state.lose(true),
            (true, _) => {}
        }
        self.release(slowest.index, now);
        if self.poison.contains(&slowest.index) {
            return Speculation::Nothing;
        }
        self.lease_open(now, worker, slowest.index, fleet).map_or(Speculation::Nothing, Speculation::Granted)
    }

    /// All leases of other workers that may be taken.
    fn candidates(&self, now: Monotonic, worker: &WorkerName) -> Vec<Candidate> {
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
        // A worker processes its shards in the order of their grants.
        leases.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        let mut ahead: BTreeMap<&WorkerName, u64> = BTreeMap::new();
        let mut candidates = Vec::new();
        for (holder, since, index, state, gone, recorded) in leases {
            let ahead = ahead.entry(holder).or_default();
            *ahead += u64::from(state.len);
            let soonest = if recorded { Monotonic::default() } else { now.after(whole(MIN_GAIN_MS)) };
            if let Some(gone) = gone {
                let from = gone.after(self.terms.heartbeat_ms()).max(soonest);
                candidates.push(Candidate { index, from, gone: true, remaining_ms: f64::INFINITY });
            } else if state.speculated < MAX_SPECULATIVE
                && let Some(own_ms) = self.throughputs.expected_ms(worker, state.len)
            {
                let needed = SLOWDOWN * own_ms + MIN_GAIN_MS;
                let (remaining_ms, overdue_from) = self.remaining(now, holder, since, *ahead);
                let from = if remaining_ms >= needed { now } else { overdue_from.after(whole(needed)) };
                let from = from.max(soonest);
                candidates.push(Candidate { index, from, gone: false, remaining_ms });
            }
        }
        candidates
    }

    /// How much longer `holder` is expected to need, in ms, and from when on it is overdue. An overdue holder is expected to
    /// need as long again as it is overdue.
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

/// Converts to whole milliseconds.
fn whole(ms: f64) -> u64 {
    let duration = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Cut, LeaseTerms};
    use super::*;

    #[test]
    fn a_lease_that_is_not_recorded_is_not_taken() {
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
            "to be tried again soon"
        );
        assert!(leases.confirm(&grant));
        assert!(
            matches!(leases.speculate(now, &idle, 2), Speculation::Granted(taken) if taken.previous == grant.token)
        );
    }
}
