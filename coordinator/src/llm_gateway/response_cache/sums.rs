//! What of a batch counts, whichever store writes it.

use std::collections::BTreeMap;

use domain::ids::RunId;

use super::{CacheWrite, Counted, FailureCounts, LlmUsage};

/// What a batch adds to the usage of each run: added once, after the last of its results.
#[derive(Debug, Default)]
pub(super) struct Sums<'b> {
    pub(super) spent: BTreeMap<&'b RunId, LlmUsage>,
    pub(super) failed: BTreeMap<&'b RunId, FailureCounts>,
}

impl<'b> Sums<'b> {
    /// Counts the result of a call; returns what of it counts. `is_open`: the call had a row. `is_stored`: it brought no
    /// answer, or the one that was stored before.
    ///
    /// A call without a row was counted before: by the result that this one repeats, or as lost. In the second case its
    /// answer is not stored, and what it used is not counted.
    pub(super) fn count(&mut self, write: &'b CacheWrite, is_open: bool, is_stored: bool) -> Counted {
        let mut spent = write.spent;
        let counted = match (is_open, is_stored) {
            (true, _) => Counted::Whole,
            (false, false) => {
                spent.take_back(&write.spent.calls_alone());
                Counted::Usage
            }
            (false, true) => return Counted::Nothing,
        };
        *self.spent.entry(&write.run_id).or_default() += spent;
        if let Some(reason) = write.failure.as_ref().filter(|_| is_open) {
            self.failed.entry(&write.run_id).or_default().add(reason);
        }
        counted
    }

    /// The usage that is not zero.
    pub(super) fn spent(&self) -> impl Iterator<Item = (&'b RunId, &LlmUsage)> {
        let spent = self.spent.iter().filter(|(_, spent)| **spent != LlmUsage::default());
        spent.map(|(run_id, spent)| (*run_id, spent))
    }
}
