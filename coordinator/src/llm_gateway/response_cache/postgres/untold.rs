//! What took effect, or may have, and the caller was not told: the answer to a COMMIT was lost. The caller repeats it.
//!
//! A file has no such state: its transaction is rolled back where its COMMIT fails. Here a repeated end of a call finds no row of
//! its call, and would count nothing although its first try was never told; and an answer without a call (`call: None`) would
//! count twice. So each transaction stores its number. The next one of this process, which waits until the one before has ended,
//! sees by it whether that took effect.

use crate::llm_gateway::response_cache::{Counted, OrphanedCall, StoreWrite};

/// What a transaction did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Writes, and what of them counts.
    pub(super) writes: Vec<(StoreWrite, Counted)>,
    /// Calls that were taken up.
    pub(super) taken: Vec<OrphanedCall>,
}

/// What the caller was not told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Took effect.
    done: Done,
    /// The number of a transaction of which it is not known whether it took effect, and what it did.
    perhaps: Option<(i64, Done)>,
}

impl Untold {
    /// What counts of each write of a batch that took effect before; `None`: it did not. `last` is the number of the last
    /// transaction that took effect.
    pub(super) fn counted(&self, batch: &[&StoreWrite], last: i64) -> Vec<Option<Counted>> {
        let perhaps = self.perhaps.iter().filter(|(number, _)| *number == last);
        let writes = self.done.writes.iter().chain(perhaps.flat_map(|(_, done)| &done.writes));
        // A caller repeats its writes in their order, so that the first one mostly is the right one.
        let mut writes: Vec<Option<&(StoreWrite, Counted)>> = writes.map(Some).collect();
        let mut first = 0;
        let mut find = |write: &StoreWrite| {
            while writes.get(first).is_some_and(Option::is_none) {
                first += 1;
            }
            let is_it =
                |known: &&mut Option<&(StoreWrite, Counted)>| known.is_some_and(|(known, _)| known == write);
            let known = writes.iter_mut().skip(first).find(is_it)?;
            known.take().map(|(_, counted)| *counted)
        };
        batch.iter().map(|write| find(write)).collect()
    }

    /// It is known now whether the uncertain transaction took effect.
    pub(super) fn settle(&mut self, last: i64) {
        if let Some((_, mut done)) = self.perhaps.take().filter(|(number, _)| *number == last) {
            self.done.writes.append(&mut done.writes);
            self.done.taken.append(&mut done.taken);
        }
    }

    /// The answer to the COMMIT of this transaction was lost.
    pub(super) fn lost(&mut self, number: i64, done: Done) {
        self.perhaps = Some((number, done));
    }

    /// The caller is told what counts of a batch. A batch that repeats nothing shows that the rest will not be repeated.
    pub(super) fn told(&mut self, batch: &[&StoreWrite], repeated: &[Option<Counted>]) {
        if repeated.iter().all(Option::is_none) {
            self.done.writes.clear();
        }
        for (write, _) in batch.iter().zip(repeated).filter(|(_, counted)| counted.is_some()) {
            if let Some(place) = self.done.writes.iter().position(|(known, _)| known == *write) {
                self.done.writes.remove(place);
            }
        }
    }

    /// The calls that were taken up, which the caller is told now.
    pub(super) fn take(&mut self) -> Vec<OrphanedCall> {
        std::mem::take(&mut self.done.taken)
    }
}
