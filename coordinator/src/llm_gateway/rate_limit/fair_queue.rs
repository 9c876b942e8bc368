//! Fair queue of pending calls for one (account, model): strict priority, then start-time fair queueing by run.
//!
//! Runs of equal priority share as they do for workers ([`FairShare`]): by the units of their calls, not by how many wait.
//! A stale entry is dropped when it comes to the head of its queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::ids::{AnswerKey, RunId};

use crate::scheduler::fair_share::FairShare;

/// Call that waits for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedCall {
    pub(crate) key: AnswerKey,
    /// Distinguishes the entry from earlier ones of the same key, which are stale.
    pub(crate) sequence: u64,
    /// Estimated tokens of the call.
    pub(crate) tokens: u64,
}

#[derive(Debug, Default)]
struct RunQueue {
    priority: i32,
    waiting: VecDeque<QueuedCall>,
}

/// Pending calls by run.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    queue: BTreeMap<RunId, RunQueue>,
    fair_share: FairShare,
}

impl FairQueue {
    /// Appends a call to the queue of its run.
    pub(crate) fn push(&mut self, run_id: &RunId, priority: i32, entry: QueuedCall) {
        self.run_queue(run_id, priority).waiting.push_back(entry);
    }

    /// Puts a call at the head of the queue of its run: it has waited before.
    pub(crate) fn push_first(&mut self, run_id: &RunId, priority: i32, entry: QueuedCall) {
        self.run_queue(run_id, priority).waiting.push_front(entry);
    }

    fn run_queue(&mut self, run_id: &RunId, priority: i32) -> &mut RunQueue {
        let run_queue = self.queue.entry(run_id.clone()).or_default();
        run_queue.priority = priority;
        run_queue
    }

    /// The next call. `wanted` is false for stale entries, `open` where the run may not call now.
    pub(crate) fn next(
        &mut self,
        wanted: impl Fn(&QueuedCall) -> bool,
        open: impl Fn(&RunId, &QueuedCall) -> bool,
    ) -> Option<(RunId, QueuedCall)> {
        self.drop_unwanted(wanted);
        let priorities: BTreeSet<i32> = self.queue.values().map(|run_queue| run_queue.priority).collect();
        priorities.into_iter().rev().find_map(|priority| {
            let equal = self.queue.iter().filter(|(_, run_queue)| run_queue.priority == priority);
            self.fair_share.order(equal.map(|(run_id, _)| run_id)).into_iter().find_map(|run_id| {
                let entry = *self.queue.get(&run_id)?.waiting.front()?;
                open(&run_id, &entry).then_some((run_id, entry))
            })
        })
    }

    fn drop_unwanted(&mut self, wanted: impl Fn(&QueuedCall) -> bool) {
        self.queue.retain(|_, run_queue| {
            while run_queue.waiting.front().is_some_and(|entry| !wanted(entry)) {
                run_queue.waiting.pop_front();
            }
            !run_queue.waiting.is_empty()
        });
    }

    /// Removes the head of a run's queue, and counts its units.
    pub(crate) fn serve(&mut self, run_id: &RunId, units: u64) {
        if let Some(run_queue) = self.queue.get_mut(run_id) {
            run_queue.waiting.pop_front();
            self.fair_share.took(run_id, units);
        }
    }

    /// Runs with calls that are not stale.
    pub(crate) fn runs(&mut self, wanted: impl Fn(&QueuedCall) -> bool) -> Vec<RunId> {
        self.drop_unwanted(wanted);
        self.queue.keys().cloned().collect()
    }

    /// Drops an ended run.
    pub(crate) fn forget(&mut self, run_id: &RunId) {
        self.queue.remove(run_id);
        self.fair_share.forget(run_id);
    }

    /// Whether no call waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    fn entry(sequence: u64, tokens: u64) -> QueuedCall {
        QueuedCall { key: AnswerKey::of(&sequence.to_le_bytes()), sequence, tokens }
    }

    /// Serves `turns` entries; gives the units each run got.
    fn served(queue: &mut FairQueue, fair_share: usize) -> BTreeMap<String, u64> {
        let mut given = BTreeMap::new();
        for _ in 0..fair_share {
            let Some((run_id, entry)) = queue.next(|_| true, |_, _| true) else { break };
            queue.serve(&run_id, entry.tokens);
            *given.entry(run_id.to_string()).or_default() += entry.tokens;
        }
        given
    }

    #[test]
    fn equal_runs_share_by_what_their_calls_count() {
        let mut queue = FairQueue::default();
        for sequence in 0..4000 {
            queue.push(&id("large"), 0, entry(sequence, 3000));
            queue.push(&id("small"), 0, entry(sequence, 500));
        }
        let given = served(&mut queue, 2000);
        let (large, small) = (given["large"] as f64, given["small"] as f64);
        assert!((large / small - 1.0).abs() < 0.02, "{given:?}");
    }

    #[test]
    fn a_higher_priority_goes_first_and_one_that_is_barred_stops_nobody() {
        let mut queue = FairQueue::default();
        for sequence in 0..10 {
            queue.push(&id("low"), -1, entry(sequence, 1));
            queue.push(&id("high"), 5, entry(sequence, 1));
        }
        let given = served(&mut queue, 12);
        assert_eq!((given["high"], given["low"]), (10, 2));
        queue.push(&id("high"), 5, entry(99, 1));
        let next = queue.next(|_| true, |run_id, _| run_id.as_str() != "high");
        assert_eq!(next.unwrap().0, id("low"));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_passed_over() {
        let mut queue = FairQueue::default();
        for sequence in 0..5 {
            queue.push(&id("r"), 0, entry(sequence, 1));
        }
        queue.push_first(&id("r"), 0, entry(9, 1));
        let next = queue.next(|entry| entry.sequence < 9 && entry.sequence > 2, |_, _| true);
        assert_eq!(next.unwrap().1.sequence, 3);
        assert!(queue.runs(|_| false).is_empty() && queue.is_empty());
    }
}
