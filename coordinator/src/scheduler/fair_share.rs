//! Start-time fair queueing of runs by records, whatever the size of their shards. No I/O.
//!
//! Leasing `n` records advances a run's virtual start time by `n`; the run with the least start time is next.
//! *Invariants*: the numbers of records leased to two runs that always have shards to lease differ by no more than one shard
//! of each; a run gains no credit for time in which it had nothing to lease.

use std::collections::BTreeMap;

use domain::ids::RunId;

/// Fair order of the runs.
#[derive(Debug, Default)]
pub(crate) struct FairShare {
    /// Virtual time: the start time of the run that was served last.
    virtual_time: u64,
    /// Virtual start time of each run.
    start_times: BTreeMap<RunId, u64>,
}

impl FairShare {
    /// The runs in the order in which a shard should be leased from them.
    pub(crate) fn order<'r>(&self, runs: impl Iterator<Item = &'r RunId>) -> Vec<RunId> {
        let mut order: Vec<(u64, RunId)> =
            runs.map(|run_id| (self.start_time(run_id), run_id.clone())).collect();
        order.sort();
        order.into_iter().map(|(_, run_id)| run_id).collect()
    }

    /// Charges a run for a leased shard of `records` records.
    pub(crate) fn took(&mut self, run_id: &RunId, records: u64) {
        let start = self.start_time(run_id);
        self.virtual_time = start;
        self.start_times.insert(run_id.clone(), start.saturating_add(records.max(1)));
    }

    /// Removes a run that has ended.
    pub(crate) fn forget(&mut self, run_id: &RunId) {
        self.start_times.remove(run_id);
    }

    fn start_time(&self, run_id: &RunId) -> u64 {
        self.start_times.get(run_id).copied().unwrap_or(0).max(self.virtual_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    /// Serves `turns` times and returns the records leased from each run. `open`: whether a run has a shard at a turn.
    fn served(sizes: &[(&str, u64)], turns: u64, open: impl Fn(&str, u64) -> bool) -> BTreeMap<String, u64> {
        let mut order = FairShare::default();
        let ids: Vec<(RunId, u64)> = sizes.iter().map(|(name, size)| (id(name), *size)).collect();
        let mut leased = BTreeMap::new();
        for turn in 0..turns {
            let next = order.order(ids.iter().map(|(run_id, _)| run_id));
            let Some(run_id) = next.into_iter().find(|run_id| open(run_id.as_str(), turn)) else { continue };
            let size = ids.iter().find(|(known, _)| *known == run_id).unwrap().1;
            order.took(&run_id, size);
            *leased.entry(run_id.to_string()).or_default() += size;
        }
        leased
    }

    #[test]
    fn records_count_and_not_shards() {
        let leased = served(&[("large", 1000), ("small", 1)], 10_010, |_, _| true);
        assert!(leased["large"].abs_diff(leased["small"]) <= 1001, "{leased:?}");
        let leased = served(&[("a", 250), ("b", 250), ("c", 250)], 9, |_, _| true);
        assert!(leased.values().all(|records| *records == 750), "{leased:?}");
    }

    #[test]
    fn an_idle_run_gains_no_credit() {
        let leased = served(&[("a", 10), ("idle", 10)], 2000, |name, turn| name == "a" || turn >= 1000);
        assert_eq!(leased["a"] - 10_000, leased["idle"], "half of the second half: {leased:?}");
    }

    #[test]
    fn an_ended_run_is_removed() {
        let mut order = FairShare::default();
        order.took(&id("a"), 5);
        order.forget(&id("a"));
        assert!(order.start_times.is_empty());
    }
}
