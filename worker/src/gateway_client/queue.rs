//! Requests that are not on the stream yet: runs take turns, each run's oldest request first. No I/O.
//!
//! A run with very many requests does not delay those of another run.

use std::collections::{BTreeSet, VecDeque};

use domain::ids::RunId;

/// Numbers of requests by run. *Invariant*: each run in it has a number.
#[derive(Debug, Default)]
pub(super) struct Queue {
    runs: VecDeque<(RunId, BTreeSet<u64>)>,
    len: usize,
}

impl Queue {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn push(&mut self, run_id: &RunId, number: u64) {
        let known = self.runs.iter_mut().find(|(known, _)| known == run_id);
        let added = if let Some((_, numbers)) = known {
            numbers.insert(number)
        } else {
            self.runs.push_back((run_id.clone(), BTreeSet::from([number])));
            true
        };
        self.len += usize::from(added);
    }

    /// Removes a request; returns whether it was queued.
    pub(super) fn remove(&mut self, run_id: &RunId, number: u64) -> bool {
        let Some(at) = self.runs.iter().position(|(known, _)| known == run_id) else { return false };
        let Some((_, numbers)) = self.runs.get_mut(at) else { return false };
        let removed = numbers.remove(&number);
        if numbers.is_empty() {
            self.runs.remove(at);
        }
        self.len -= usize::from(removed);
        removed
    }

    /// Removes the next request: the oldest of the run whose turn it is.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let (run_id, mut numbers) = self.runs.pop_front()?;
        let number = numbers.pop_first()?;
        self.len -= 1;
        if !numbers.is_empty() {
            self.runs.push_back((run_id, numbers));
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_turns_and_the_oldest_request_of_each_goes_first() {
        let [many, few] = ["many", "few"].map(|name| RunId::new(name).unwrap());
        let mut queue = Queue::default();
        for number in [3, 1, 2, 2, 4] {
            queue.push(&many, number);
        }
        queue.push(&few, 9);
        assert_eq!(queue.len(), 5, "the same request twice counts once");
        assert!(queue.remove(&many, 2) && !queue.remove(&many, 2) && !queue.remove(&few, 1));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 9, 3, 4]);
        assert!(queue.is_empty());
        queue.push(&few, 5);
        assert!(queue.remove(&few, 5) && queue.pop().is_none());
    }
}
