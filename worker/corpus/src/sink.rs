//! Passes records to the caller of [`read`](crate::read), and counts them.

use std::collections::BTreeMap;

use domain::outcome::ErrorKind;
use domain::record::{Record, SourceDocument};

/// Takes each record with its document, in the order of the corpus.
pub(crate) struct Sink<'a, E> {
    each: &'a mut dyn FnMut(Record, SourceDocument) -> Result<(), E>,
    pub(crate) records: u64,
    pub(crate) problems: BTreeMap<ErrorKind, u64>,
}

impl<'a, E> Sink<'a, E> {
    pub(crate) fn new(each: &'a mut dyn FnMut(Record, SourceDocument) -> Result<(), E>) -> Self {
        Self { each, records: 0, problems: BTreeMap::new() }
    }

    /// The position of the next record.
    pub(crate) const fn next_position(&self) -> u64 {
        self.records
    }

    /// Counts a record and passes it on.
    pub(crate) fn put(&mut self, record: Record, document: SourceDocument) -> Result<(), E> {
        self.records += 1;
        if let Some(problem) = &record.problem {
            *self.problems.entry(problem.kind).or_default() += 1;
        }
        (self.each)(record, document)
    }
}
