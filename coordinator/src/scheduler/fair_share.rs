//! Start-time fair queueing of runs by records, whatever the size of their shards. No I/O.
//!
//! Start-time fair queueing: a run that has been given `n` records comes again `n` later on a common scale; the one that
//! stands first on it is next. *Invariants*: between two runs that always have something to lease, the records they were
//! given differ by no more than one shard of each; a run that had nothing to lease gains no claim for later.

use std::collections::BTreeMap;

use domain::ids::RunId;

/// The order of runs.
#[derive(Debug, Default)]
pub(crate) struct FairShare {
    /// Where the run that was served last stood.
    now: u64,
    /// Where each run stands next.
    next: BTreeMap<RunId, u64>,
}

impl FairShare {
    /// The runs in the order in which they should be asked for something to lease.
    pub(crate) fn order<'r>(&self, runs: impl Iterator<Item = &'r RunId>) -> Vec<RunId> {
        let mut order: Vec<(u64, RunId)> = runs.map(|run_id| (self.place(run_id), run_id.clone())).collect();
        order.sort();
        order.into_iter().map(|(_, run_id)| run_id).collect()
    }

    /// A run was given a shard of so many records.
    pub(crate) fn took(&mut self, run_id: &RunId, records: u64) {
        let place = self.place(run_id);
        self.now = place;
        self.next.insert(run_id.clone(), place.saturating_add(records.max(1)));
    }

    /// A run has ended.
    pub(crate) fn forget(&mut self, run_id: &RunId) {
        self.next.remove(run_id);
    }

    fn place(&self, run_id: &RunId) -> u64 {
        self.next.get(run_id).copied().unwrap_or(0).max(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    /// Serves `turns` times; gives the records each run got. `open` says whether a run has something at a turn.
    fn served(sizes: &[(&str, u64)], turns: u64, open: impl Fn(&str, u64) -> bool) -> BTreeMap<String, u64> {
        let mut order = FairShare::default();
        let ids: Vec<(RunId, u64)> = sizes.iter().map(|(name, size)| (id(name), *size)).collect();
        let mut given = BTreeMap::new();
        for turn in 0..turns {
            let next = order.order(ids.iter().map(|(run_id, _)| run_id));
            let Some(run_id) = next.into_iter().find(|run_id| open(run_id.as_str(), turn)) else { continue };
            let size = ids.iter().find(|(known, _)| *known == run_id).unwrap().1;
            order.took(&run_id, size);
            *given.entry(run_id.to_string()).or_default() += size;
        }
        given
    }

    #[test]
    fn records_count_and_not_shards() {
        let given = served(&[("large", 1000), ("small", 1)], 10_010, |_, _| true);
        assert!(given["large"].abs_diff(given["small"]) <= 1001, "{given:?}");
        let given = served(&[("a", 250), ("b", 250), ("c", 250)], 9, |_, _| true);
        assert!(given.values().all(|records| *records == 750), "{given:?}");
    }

    #[test]
    fn who_waits_for_nothing_gains_nothing() {
        let given = served(&[("a", 10), ("idle", 10)], 2000, |name, turn| name == "a" || turn >= 1000);
        assert_eq!(given["a"] - 10_000, given["idle"], "half of the second half: {given:?}");
    }

    #[test]
    fn a_run_that_ended_is_forgotten() {
        let mut turns = FairShare::default();
        turns.took(&id("a"), 5);
        turns.forget(&id("a"));
        assert!(turns.next.is_empty());
    }
}
