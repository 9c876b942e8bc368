//! Where records go, and what was counted on the way.

use std::collections::BTreeMap;

use domain::outcome::ErrorKind;
use domain::record::{Record, SourceDocument};

/// Takes each record with its document, in the order of the corpus.
pub(crate) struct Sink<'a> {
    each: &'a mut dyn FnMut(Record, SourceDocument) -> anyhow::Result<()>,
    pub(crate) records: u64,
    pub(crate) problems: BTreeMap<ErrorKind, u64>,
}

impl<'a> Sink<'a> {
    /// Counts from 0.
    pub(crate) fn new(each: &'a mut dyn FnMut(Record, SourceDocument) -> anyhow::Result<()>) -> Self {
        Self { each, records: 0, problems: BTreeMap::new() }
    }

    /// The position of the record that comes next.
    pub(crate) const fn next_position(&self) -> u64 {
        self.records
    }

    /// Hands a record on.
    pub(crate) fn put(&mut self, record: Record, document: SourceDocument) -> anyhow::Result<()> {
        self.records += 1;
        if let Some(problem) = &record.problem {
            *self.problems.entry(problem.kind).or_default() += 1;
        }
        (self.each)(record, document)
    }
}
