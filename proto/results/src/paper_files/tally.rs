//! Counts over the entries of one published file.

/// How many examples of each trouble are kept.
const EXAMPLES: usize = 10;

/// What one file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries of any sort: what the original counts.
    pub entries: u64,
    /// Entries that are not objects; skipped.
    pub no_objects: u64,
    /// Entries that a later one with the same id replaces.
    pub superseded: u64,
    /// Entries of the wrong shape; skipped.
    pub malformed: u64,
    /// What is wrong with the first of them.
    pub malformed_examples: Vec<String>,
}

impl Tally {
    pub(super) fn malformed(&mut self, message: String) {
        self.malformed += 1;
        if self.malformed_examples.len() < EXAMPLES {
            self.malformed_examples.push(message);
        }
    }
}
