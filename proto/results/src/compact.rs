//! Many small parts → few files with the same rows in the order of the corpus.
//!
//! Rows are copied as Arrow batches and are not decoded into outcomes. Memory holds one batch and the compressed pages of
//! one row group.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use domain::ids::PartHash;
use tempfile::NamedTempFile;

use crate::crash::{Point, reach};
use crate::fingerprint::{Fingerprint, Fingerprinter};
use crate::part::{BatchWriter, PartError};
use crate::scan::{self, Part, ScanError};
use crate::schema;
use crate::store::unfinished;

/// Batches that may wait for the fingerprint.
const BATCHES: usize = 4;

/// A new file, complete and synced, under a temporary name: [`crate::store::Store::put_file`] gives it its own.
#[derive(Debug)]
pub struct Compacted {
    /// The file; deleted when dropped.
    pub file: NamedTempFile,
    /// How many rows.
    pub rows: u64,
    /// BLAKE3 of its bytes.
    pub hash: PartHash,
}

/// Why parts could not be compacted. The parts are left as they were.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum CompactError {
    /// A part cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The new file cannot be written.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The folder of the new files refused.
    #[error("cannot write a compacted file: {0}")]
    Io(#[from] io::Error),
    /// Two rows claim one place in the corpus, or a part is not in order.
    #[error(
        "{part}: position {position} comes after {last}: parts overlap or are not in the order of the corpus"
    )]
    Order { part: String, position: u64, last: u64 },
}

/// Why parts that come one by one could not be merged.
#[derive(Debug)]
pub enum MergeError<E> {
    /// The next part did not come, for this reason.
    Source(E),
    /// The parts that came could not be merged.
    Compact(CompactError),
}

/// `compact`, and the fingerprint of what was copied. Two threads work on what is read once: to open a small part
/// costs more than its rows. The parts come one by one, each after the last one is copied.
pub fn merge<E>(
    parts: impl Iterator<Item = Result<Part, E>>,
    folder: &Path,
    rows_per_file: u64,
) -> Result<(Vec<Compacted>, Fingerprint), MergeError<E>> {
    let mut missing = None;
    let given = parts.map_while(|part| part.map_err(|error| missing = Some(error)).ok());
    let merged = merge_given(given, folder, rows_per_file);
    match missing {
        Some(error) => Err(MergeError::Source(error)),
        None => merged.map_err(MergeError::Compact),
    }
}

fn merge_given(
    parts: impl Iterator<Item = Part>,
    folder: &Path,
    rows_per_file: u64,
) -> Result<(Vec<Compacted>, Fingerprint), CompactError> {
    let (batches, read) = sync_channel::<RecordBatch>(BATCHES);
    std::thread::scope(|threads| {
        let printing = threads.spawn(move || {
            let mut print = Fingerprinter::new();
            read.iter().try_for_each(|batch| print.add(&batch)).map(|()| print.finish())
        });
        // Nobody listens once the other thread has failed; it says why below.
        let compacted = compact(parts, folder, rows_per_file, |batch| drop(batches.send(batch.clone())));
        drop(batches);
        let printed = printing.join().map_err(|_| io::Error::other("the fingerprint's thread panicked"))?;
        let print =
            printed.map_err(|error| ScanError { part: "a part".to_owned(), problem: error.into() })?;
        Ok((compacted?, print))
    })
}

/// Copies the rows of `parts`, which come in the order of the corpus, into files of at most `rows_per_file` rows, made in
/// `folder`. `each` sees every batch on its way.
fn compact(
    parts: impl IntoIterator<Item = Part>,
    folder: &Path,
    rows_per_file: u64,
    mut each: impl FnMut(&RecordBatch),
) -> Result<Vec<Compacted>, CompactError> {
    let mut done = Vec::new();
    let mut open: Option<(BatchWriter<HashingFile>, u64)> = None;
    let mut last: Option<u64> = None;
    for batch in scan::batches(parts, None) {
        let (part, batch) = batch?;
        check_order(&part, &batch, &mut last)?;
        let batch = schema::with_later_columns(batch)
            .map_err(|error| ScanError { part: part.name(), problem: error.into() })?;
        each(&batch);
        let mut rest = batch;
        while rest.num_rows() > 0 {
            let (writer, rows) = match &mut open {
                Some(open) => open,
                None => open.insert((BatchWriter::new(HashingFile::new(folder)?)?, 0)),
            };
            let room =
                usize::try_from(rows_per_file.max(1) - *rows).unwrap_or(usize::MAX).min(rest.num_rows());
            writer.write(&rest.slice(0, room))?;
            *rows += room as u64;
            reach(Point::CompactionBegun);
            rest = rest.slice(room, rest.num_rows() - room);
            if *rows >= rows_per_file {
                done.extend(finish(open.take())?);
            }
        }
    }
    done.extend(finish(open)?);
    Ok(done)
}

fn check_order(part: &Part, batch: &RecordBatch, last: &mut Option<u64>) -> Result<(), CompactError> {
    let positions = batch
        .column_by_name(schema::POSITION)
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .ok_or_else(|| ScanError {
            part: part.name(),
            problem: scan::Problem::NoColumn(schema::POSITION.to_owned()),
        })?;
    for &position in positions.values() {
        if let Some(last) = last.filter(|last| *last >= position) {
            return Err(CompactError::Order { part: part.name(), position, last });
        }
        *last = Some(position);
    }
    Ok(())
}

fn finish(open: Option<(BatchWriter<HashingFile>, u64)>) -> Result<Option<Compacted>, CompactError> {
    let Some((writer, rows)) = open else { return Ok(None) };
    let HashingFile { file, hasher } = writer.finish()?;
    file.as_file().sync_all()?;
    let hash = PartHash::from_bytes(*hasher.finalize().as_bytes());
    Ok(Some(Compacted { file, rows, hash }))
}

/// Hashes what is written on its way to the disk.
struct HashingFile {
    file: NamedTempFile,
    hasher: blake3::Hasher,
}

impl HashingFile {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: unfinished(folder)?, hasher: blake3::Hasher::new() })
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::RunId;
    use domain::outcome::Outcome;

    use super::*;
    use crate::fingerprint::fingerprint;
    use crate::part::write_part;
    use crate::testing::outcome;

    fn part(positions: std::ops::Range<u64>) -> Part {
        let rows: Vec<Outcome> = positions.map(outcome).collect();
        write_part(&RunId::new("r").unwrap(), &rows).unwrap().into()
    }

    fn merge_all(parts: Vec<Part>, folder: &Path, rows_per_file: u64) -> (Vec<Compacted>, Fingerprint) {
        merge(parts.into_iter().map(Ok::<_, &str>), folder, rows_per_file).unwrap()
    }

    #[test]
    fn a_part_that_does_not_come_ends_the_merge() {
        let folder = tempfile::tempdir().unwrap();
        let parts = [Ok(part(0..3)), Err("gone"), Ok(part(3..7))];
        let merged = merge(parts.into_iter(), folder.path(), 2);
        assert!(matches!(merged, Err(MergeError::Source("gone"))), "{merged:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what was written is deleted");
    }

    fn files(done: &[Compacted]) -> Vec<Part> {
        done.iter().map(|compacted| compacted.file.path().into()).collect()
    }

    #[test]
    fn the_same_rows_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let parts = vec![part(0..3), part(3..7), part(5..5), part(7..20)];
        let before = fingerprint(parts.clone()).unwrap();
        for rows_per_file in [1_000, 20, 6, 1] {
            let (done, print) = merge_all(parts.clone(), folder.path(), rows_per_file);
            assert_eq!(print, before);
            assert_eq!(done.len() as u64, 20_u64.div_ceil(rows_per_file));
            assert_eq!(fingerprint(files(&done)).unwrap(), before);
            let positions: Vec<u64> = scan::outcomes(files(&done)).map(|row| row.unwrap().position).collect();
            assert_eq!(positions, (0..20).collect::<Vec<_>>());
            for compacted in &done {
                assert_eq!(compacted.hash, PartHash::of(&std::fs::read(compacted.file.path()).unwrap()));
                assert_eq!(scan::info(&compacted.file.path().into()).unwrap().rows, compacted.rows);
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "dropped files are deleted");
        assert!(compact(Vec::new(), folder.path(), 5, |_| ()).unwrap().is_empty());
    }

    /// A part as a release wrote it that had no later columns.
    fn earlier_part(positions: std::ops::Range<u64>) -> Part {
        let rows: Vec<Outcome> = positions.map(outcome).collect();
        let batch = crate::rows::encode(&RunId::new("r").unwrap(), &rows).unwrap();
        let is_later = |at: &usize| schema::LATER.contains(&batch.schema().field(*at).name().as_str());
        let known: Vec<usize> = (0..batch.num_columns()).filter(|at| !is_later(at)).collect();
        let batch = batch.project(&known).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        bytes::Bytes::from(writer.into_inner().unwrap()).into()
    }

    #[test]
    fn parts_of_an_earlier_release_get_the_later_columns() {
        let folder = tempfile::tempdir().unwrap();
        let parts = vec![earlier_part(0..3), part(3..7)];
        let (done, print) = merge_all(parts.clone(), folder.path(), 100);
        assert_eq!(print, fingerprint(vec![part(0..3), part(3..7)]).unwrap());
        assert_eq!(print, fingerprint(parts).unwrap());
        let rows: Vec<Outcome> = scan::outcomes(files(&done)).map(Result::unwrap).collect();
        assert_eq!(rows[0], Outcome { schema_depth: None, ..outcome(0) });
        assert_eq!(rows[3], outcome(3));
    }

    #[test]
    fn two_rows_of_one_place_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for parts in [
            vec![part(3..7), part(0..3)],
            vec![part(0..3), part(2..5)],
            vec![part(0..3), part(0..3)],
            vec![part(0..9), part(3..4)],
        ] {
            let error = compact(parts, folder.path(), 100, |_| ()).unwrap_err();
            assert!(matches!(error, CompactError::Order { .. }), "{error}");
        }
    }
}
