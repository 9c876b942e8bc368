//! Checks the rows of a run: every record exists exactly once, at its position.
//!
//! Streams; memory holds one batch and 8 bytes for each record id.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use domain::outcome::{Outcome, Status};

use crate::corpus_copy::CorpusReader;
use crate::file_error::FileError;
use crate::fingerprint::{Fingerprint, Fingerprinter};
use crate::rows::decode;
use crate::scan::{self, Part, ScanError};

/// Records that are compared with the corpus at a time.
const STRIDE: u64 = 1000;

/// Examples of each fault that are kept.
const EXAMPLES: usize = 3;

/// What the rows of some parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// How many rows.
    pub rows: u64,
    /// How many rows have each status.
    pub statuses: BTreeMap<Status, u64>,
    /// Positions that no row has, before the last position that one has.
    pub missing: Faults,
    /// Rows whose position an earlier row has.
    pub repeated: Faults,
    /// Rows that name another record than the corpus has at their position.
    pub misplaced: Faults,
    /// Record ids that more than one row has.
    pub ids_repeated: Faults,
    /// Position after the last row's.
    pub end: u64,
    /// Fingerprint of the rows.
    pub fingerprint: Fingerprint,
}

/// How often something is wrong, and where first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Number of occurrences.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Faults {
    fn add(&mut self, count: u64, example: impl FnOnce() -> String) {
        self.count += count;
        if count > 0 && self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Why the rows cannot be looked through.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A part cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] FileError),
}

/// Looks through `parts`, given in any order, and compares them with the corpus where there is one. Blocks.
pub fn audit(parts: Vec<Part>, corpus: Option<&Path>) -> Result<Audit, AuditError> {
    let mut looker = Looker {
        corpus: corpus.map(CorpusReader::open).transpose()?,
        ids: HashSet::new(),
        statuses: BTreeMap::new(),
        rows: 0,
        next: 0,
        missing: Faults::default(),
        repeated: Faults::default(),
        misplaced: Faults::default(),
        ids_repeated: Faults::default(),
    };
    let mut print = Fingerprinter::new();
    for batch in scan::batches(scan::in_order(parts)?, None) {
        let (part, batch) = batch?;
        let named = |problem: scan::DecodeError| ScanError { part: part.name(), problem: problem.into() };
        print.add(&batch).map_err(named)?;
        looker.look(&decode(&batch).map_err(named)?)?;
    }
    Ok(Audit {
        rows: looker.rows,
        statuses: looker.statuses,
        missing: looker.missing,
        repeated: looker.repeated,
        misplaced: looker.misplaced,
        ids_repeated: looker.ids_repeated,
        end: looker.next,
        fingerprint: print.finish(),
    })
}

struct Looker {
    corpus: Option<CorpusReader>,
    /// 64 bits of each hash: enough to count by.
    ids: HashSet<u64>,
    statuses: BTreeMap<Status, u64>,
    rows: u64,
    next: u64,
    missing: Faults,
    repeated: Faults,
    misplaced: Faults,
    ids_repeated: Faults,
}

impl Looker {
    fn look(&mut self, rows: &[Outcome]) -> Result<(), FileError> {
        for row in rows {
            self.rows += 1;
            *self.statuses.entry(row.status).or_default() += 1;
            let (next, position) = (self.next, row.position);
            if position >= next {
                self.missing.add(position - next, || format!("{next} to {}", position - 1));
                self.next = position + 1;
            } else {
                self.repeated.add(1, || format!("{position} (record {})", row.record_id));
            }
            let hash = blake3::hash(row.record_id.as_str().as_bytes());
            let short = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            if !self.ids.insert(short) {
                self.ids_repeated.add(1, || row.record_id.to_string());
            }
        }
        self.compare(rows)
    }

    fn compare(&mut self, rows: &[Outcome]) -> Result<(), FileError> {
        let Some(corpus) = &self.corpus else { return Ok(()) };
        let mut slice = (0, Vec::new());
        for row in rows {
            let (start, records) = &slice;
            let inside = row.position.checked_sub(*start).and_then(|at| usize::try_from(at).ok());
            if inside.is_none_or(|at| at >= records.len()) {
                slice = (row.position, corpus.slice(row.position, STRIDE)?.records);
            }
            let at = usize::try_from(row.position - slice.0).unwrap_or(usize::MAX);
            let known = slice.1.get(at).map(|record| &record.id);
            if known != Some(&row.record_id) {
                self.misplaced.add(1, || match known {
                    Some(known) => {
                        format!("position {} has record {}, the corpus {known}", row.position, row.record_id)
                    }
                    None => format!("position {} is beyond the corpus", row.position),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::RunId;

    use super::*;
    use crate::corpus_copy::CorpusWriter;
    use crate::fingerprint::fingerprint;
    use crate::part::write_part;
    use crate::testing::outcome;

    fn part(rows: &[Outcome]) -> Part {
        write_part(&RunId::new("r").unwrap(), rows).unwrap().into()
    }

    #[test]
    fn what_is_whole_is_found_whole_and_every_fault_is_named() {
        let rows: Vec<Outcome> = (0..10).map(outcome).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.parquet");
        let mut writer = CorpusWriter::create(&path).unwrap();
        for row in &rows {
            let (mut record, document) = domain::testing::record(row.position, "latest-tag", "kind: Pod");
            record.id = row.record_id.clone();
            writer.push(record, &document).unwrap();
        }
        writer.finish().unwrap();

        let whole = audit(vec![part(&rows[5..]), part(&rows[..5])], Some(&path)).unwrap();
        assert_eq!((whole.rows, whole.end), (10, 10));
        assert_eq!(whole.fingerprint, fingerprint([part(&rows)]).unwrap());
        for faults in [&whole.missing, &whole.repeated, &whole.misplaced, &whole.ids_repeated] {
            assert_eq!(faults, &Faults::default());
        }

        let gap = audit(vec![part(&rows[..3]), part(&rows[7..])], Some(&path)).unwrap();
        assert_eq!((gap.missing.count, gap.missing.examples[0].as_str()), (4, "3 to 6"));

        let twice = audit(vec![part(&rows[..6]), part(&rows[5..])], Some(&path)).unwrap();
        assert_eq!((twice.repeated.count, twice.ids_repeated.count, twice.misplaced.count), (1, 1, 0));

        let mut crooked = rows.clone();
        crooked[4].record_id = rows[3].record_id.clone();
        let crooked = audit(vec![part(&crooked)], Some(&path)).unwrap();
        assert_eq!((crooked.misplaced.count, crooked.ids_repeated.count), (1, 1));
        assert!(crooked.misplaced.examples[0].starts_with("position 4"), "{crooked:?}");
    }
}
