//! Who is next of those who wait for one pool: the run of the highest priority, among equals whoever was served least.
//!
//! Runs of equal priority take turns as they do for workers ([`Turns`]): by what their calls count, not by how many wait.
//! An entry that is not wanted any more is dropped when its turn comes; its owner knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::ids::{AnswerKey, RunId};

use crate::runs::Turns;

/// One that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// For the answer of this key.
    pub(crate) key: AnswerKey,
    /// Tells apart what waits, and waited before, for the same key.
    pub(crate) place: u64,
    /// Tokens that the call will take, as estimated.
    pub(crate) tokens: u64,
}

#[derive(Debug, Default)]
struct Lane {
    priority: i32,
    waiting: VecDeque<Entry>,
}

/// Those who wait, by run.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<RunId, Lane>,
    turns: Turns,
}

impl Lanes {
    /// Waits at the end of its run's lane.
    pub(crate) fn push(&mut self, run_id: &RunId, priority: i32, entry: Entry) {
        self.lane(run_id, priority).waiting.push_back(entry);
    }

    /// Waits at the head of its run's lane: it has waited before.
    pub(crate) fn push_first(&mut self, run_id: &RunId, priority: i32, entry: Entry) {
        self.lane(run_id, priority).waiting.push_front(entry);
    }

    fn lane(&mut self, run_id: &RunId, priority: i32) -> &mut Lane {
        let lane = self.lanes.entry(run_id.clone()).or_default();
        lane.priority = priority;
        lane
    }

    /// The next one: `wanted` says whether it still is, `open` whether its run may call now.
    pub(crate) fn next(
        &mut self,
        wanted: impl Fn(&Entry) -> bool,
        open: impl Fn(&RunId, &Entry) -> bool,
    ) -> Option<(RunId, Entry)> {
        self.drop_unwanted(wanted);
        let priorities: BTreeSet<i32> = self.lanes.values().map(|lane| lane.priority).collect();
        priorities.into_iter().rev().find_map(|priority| {
            let equal = self.lanes.iter().filter(|(_, lane)| lane.priority == priority);
            self.turns.order(equal.map(|(run_id, _)| run_id)).into_iter().find_map(|run_id| {
                let entry = *self.lanes.get(&run_id)?.waiting.front()?;
                open(&run_id, &entry).then_some((run_id, entry))
            })
        })
    }

    fn drop_unwanted(&mut self, wanted: impl Fn(&Entry) -> bool) {
        self.lanes.retain(|_, lane| {
            while lane.waiting.front().is_some_and(|entry| !wanted(entry)) {
                lane.waiting.pop_front();
            }
            !lane.waiting.is_empty()
        });
    }

    /// The head of a run's lane is served, which counts so many units.
    pub(crate) fn serve(&mut self, run_id: &RunId, units: u64) {
        if let Some(lane) = self.lanes.get_mut(run_id) {
            lane.waiting.pop_front();
            self.turns.took(run_id, units);
        }
    }

    /// Runs that wait, dead entries aside.
    pub(crate) fn runs(&mut self, wanted: impl Fn(&Entry) -> bool) -> Vec<RunId> {
        self.drop_unwanted(wanted);
        self.lanes.keys().cloned().collect()
    }

    /// A run has ended.
    pub(crate) fn forget(&mut self, run_id: &RunId) {
        self.lanes.remove(run_id);
        self.turns.forget(run_id);
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    fn entry(place: u64, tokens: u64) -> Entry {
        Entry { key: AnswerKey::of(&place.to_le_bytes()), place, tokens }
    }

    /// Serves `turns` entries; gives the units each run got.
    fn served(lanes: &mut Lanes, turns: usize) -> BTreeMap<String, u64> {
        let mut given = BTreeMap::new();
        for _ in 0..turns {
            let Some((run_id, entry)) = lanes.next(|_| true, |_, _| true) else { break };
            lanes.serve(&run_id, entry.tokens);
            *given.entry(run_id.to_string()).or_default() += entry.tokens;
        }
        given
    }

    #[test]
    fn equal_runs_share_by_what_their_calls_count() {
        let mut lanes = Lanes::default();
        for place in 0..4000 {
            lanes.push(&id("large"), 0, entry(place, 3000));
            lanes.push(&id("small"), 0, entry(place, 500));
        }
        let given = served(&mut lanes, 2000);
        let (large, small) = (given["large"] as f64, given["small"] as f64);
        assert!((large / small - 1.0).abs() < 0.02, "{given:?}");
    }

    #[test]
    fn a_higher_priority_goes_first_and_one_that_is_barred_stops_nobody() {
        let mut lanes = Lanes::default();
        for place in 0..10 {
            lanes.push(&id("low"), -1, entry(place, 1));
            lanes.push(&id("high"), 5, entry(place, 1));
        }
        let given = served(&mut lanes, 12);
        assert_eq!((given["high"], given["low"]), (10, 2));
        lanes.push(&id("high"), 5, entry(99, 1));
        let next = lanes.next(|_| true, |run_id, _| run_id.as_str() != "high");
        assert_eq!(next.unwrap().0, id("low"));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_passed_over() {
        let mut lanes = Lanes::default();
        for place in 0..5 {
            lanes.push(&id("r"), 0, entry(place, 1));
        }
        lanes.push_first(&id("r"), 0, entry(9, 1));
        let next = lanes.next(|entry| entry.place < 9 && entry.place > 2, |_, _| true);
        assert_eq!(next.unwrap().1.place, 3);
        assert!(lanes.runs(|_| false).is_empty() && lanes.is_empty());
    }
}
