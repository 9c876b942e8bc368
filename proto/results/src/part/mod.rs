//! Outcomes → Parquet: one part in memory, or a stream into a file.
//!
//! *Invariant*: a row group holds at most [`ROW_GROUP_ROWS`] rows, fewer where these are long, and its statistics hold
//! the range of `position`.

pub mod check;

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use domain::ids::RunId;
use domain::outcome::Outcome;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::rows;
use crate::schema::{self as col, Kind};

/// Rows of a row group at most.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Bytes of a row group at most, compressed: they are held until the group is complete.
const ROW_GROUP_BYTES: usize = 2 << 20;

/// Bytes of a page, and of a dictionary, at most, as they are: each of some sixty columns holds one of both.
const PAGE_BYTES: usize = 64 << 10;

/// Long text of a row group at most, as it is: what a reader may find in one batch.
const ROW_GROUP_TEXT: usize = 256 << 20;

/// Rows that are turned into columns at once, at most.
const BATCH_ROWS: usize = 4096;

/// Text of the rows that are turned into columns at once, at most (one row may go beyond it): a column's offsets are 32
/// bits wide, and memory is bounded.
const BATCH_BYTES: usize = 32 << 20;

/// Bytes of a column from which on a part compresses it. Below, a compressor's set-up (some 25 µs a column, again when it
/// is read) costs more than the bytes are worth: small parts are compacted later, and then everything is compressed.
const WORTH_COMPRESSING: usize = 4 << 10;

/// Columns whose values are long or all different: a dictionary would be built and thrown away, and the smallest and
/// largest value of a row group tell nothing.
const LONG_COLUMNS: &[&str] = &[col::PATCH, col::COMPANIONS, col::PATCHED_YAML, col::PUBLISHED];

/// Why a part could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a part: {0}")]
pub struct PartError(#[from] ParquetError);

/// One part with `outcomes` in the order given: what a worker sends as the result of a shard.
pub fn write_part(run_id: &RunId, outcomes: &[Outcome]) -> Result<Bytes, PartError> {
    let mut pieces = chunks(outcomes);
    let first = rows::encode(run_id, pieces.next().unwrap_or_default()).map_err(ParquetError::from)?;
    let small =
        |name: &str| first.column_by_name(name).is_none_or(|column| column_bytes(column) < WORTH_COMPRESSING);
    let mut batches = BatchWriter::with_properties(Vec::new(), properties(|name| !small(name)))?;
    batches.write(&first)?;
    for rows in pieces {
        batches.write(&rows::encode(run_id, rows).map_err(ParquetError::from)?)?;
    }
    Ok(batches.finish()?.into())
}

/// Writes outcomes as they come; what is buffered does not grow with their number.
pub struct PartWriter<W: Write + Send> {
    run_id: RunId,
    batches: BatchWriter<W>,
}

impl<W: Write + Send> PartWriter<W> {
    /// Begins a part of `run_id` in `out`.
    pub fn new(out: W, run_id: RunId) -> Result<Self, PartError> {
        Ok(Self { run_id, batches: BatchWriter::new(out)? })
    }

    /// Appends `outcomes`.
    pub fn write(&mut self, outcomes: &[Outcome]) -> Result<(), PartError> {
        for rows in chunks(outcomes) {
            let batch = rows::encode(&self.run_id, rows).map_err(ParquetError::from)?;
            self.batches.write(&batch)?;
        }
        Ok(())
    }

    /// Ends the part and gives back what it was written to.
    pub fn finish(self) -> Result<W, PartError> {
        self.batches.finish()
    }
}

/// Writes record batches that already have the columns of [`crate::schema`].
pub(crate) struct BatchWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    /// Long text of the group at hand.
    text: usize,
}

impl<W: Write + Send> BatchWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self, PartError> {
        Self::with_properties(out, properties(|_| true))
    }

    fn with_properties(out: W, properties: WriterProperties) -> Result<Self, PartError> {
        Ok(Self { writer: ArrowWriter::try_new(out, col::outcomes(), Some(properties))?, text: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), PartError> {
        let text = text_bytes(batch);
        if self.text > 0 && self.text + text > ROW_GROUP_TEXT {
            self.writer.flush()?;
            self.text = 0;
        }
        self.text += text;
        Ok(self.writer.write(batch)?)
    }

    pub(crate) fn finish(self) -> Result<W, PartError> {
        Ok(self.writer.into_inner()?)
    }
}

/// Bytes of the values of `column`, about.
fn column_bytes(column: &ArrayRef) -> usize {
    let texts = column.as_list_opt::<i32>().map_or(column, |lists| lists.values());
    let text = texts.as_string_opt::<i32>().map(|texts| texts.value_data().len());
    text.unwrap_or_else(|| column.len() * 8)
}

/// Bytes of the text columns of `batch`.
fn text_bytes(batch: &RecordBatch) -> usize {
    let length = |column: &ArrayRef| -> Option<i32> {
        let offsets = column.as_string_opt::<i32>()?.value_offsets();
        Some(offsets.last()? - offsets.first()?)
    };
    batch.columns().iter().filter_map(length).filter_map(|bytes| usize::try_from(bytes).ok()).sum()
}

/// How a file is written whose columns are compressed where `compressed` says so.
fn properties(compressed: impl Fn(&str) -> bool) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Without statistics of pages nobody reads it, and [`check`] wants no byte that nobody reads.
        .set_offset_index_disabled(true)
        .set_created_by(concat!("k8s-auto-fix ", env!("CARGO_PKG_VERSION")).to_owned());
    for &(name, kind, _) in col::COLUMNS {
        if compressed(name) {
            let path = match kind {
                Kind::TextList | Kind::TextListOrNull => {
                    ColumnPath::new([name, "list", "item"].map(str::to_owned).to_vec())
                }
                _ => ColumnPath::from(name),
            };
            properties = properties.set_column_compression(path, Compression::ZSTD(ZstdLevel::default()));
        }
    }
    for name in LONG_COLUMNS {
        let path = ColumnPath::from(*name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    properties.build()
}

/// Cuts `outcomes` so that neither rows nor text of a piece grow beyond what one batch may hold.
fn chunks(outcomes: &[Outcome]) -> impl Iterator<Item = &[Outcome]> {
    let mut rest = outcomes;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fitting = rest
            .iter()
            .take(BATCH_ROWS)
            .take_while(|row| {
                bytes += long_text(row);
                bytes <= BATCH_BYTES
            })
            .count();
        let (piece, left) = rest.split_at_checked(fitting.max(1))?;
        rest = left;
        Some(piece)
    })
}

fn long_text(row: &Outcome) -> usize {
    row.patched_yaml.as_ref().map_or(0, |text| text.len())
        + row.published.as_ref().map_or(0, String::len)
        + row.errors.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::RowGroupMetaData;

    use super::*;
    use crate::testing::outcome;

    #[test]
    fn pieces_are_bounded_and_complete() {
        let mut rows: Vec<Outcome> = (0..5000).map(outcome).collect();
        for row in &mut rows[10..13] {
            row.patched_yaml = Some("x".repeat(BATCH_BYTES + 1).into());
        }
        let lengths: Vec<usize> = chunks(&rows).map(<[Outcome]>::len).collect();
        assert_eq!(lengths, [10, 1, 1, 1, 4096, 891]);
        assert_eq!(chunks(&[]).count(), 0);
    }

    #[test]
    fn long_rows_make_short_groups() {
        let mut row = outcome(0);
        row.patched_yaml = Some("x".repeat(20 << 20).into());
        let mut writer = PartWriter::new(Vec::new(), RunId::new("r").unwrap()).unwrap();
        for position in 0..14 {
            writer.write(&[Outcome { position, ..row.clone() }]).unwrap();
        }
        let part = bytes::Bytes::from(writer.finish().unwrap());
        let groups = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(part).unwrap();
        let rows: Vec<i64> = groups.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [12, 2]);
    }

    #[test]
    fn what_is_large_is_compressed_and_what_is_small_is_not() {
        let mut rows: Vec<Outcome> = (0..10).map(outcome).collect();
        rows[0].patched_yaml = Some("x".repeat(5000).into());
        rows[0].errors = vec!["e".repeat(5000)];
        let run = RunId::new("r").unwrap();
        let compressed = |part: bytes::Bytes| -> Vec<String> {
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(part).unwrap();
            let columns = reader.metadata().row_group(0).columns().to_vec();
            let zstd = columns.iter().filter(|column| matches!(column.compression(), Compression::ZSTD(_)));
            zstd.map(|column| column.column_path().string()).collect()
        };
        assert_eq!(compressed(write_part(&run, &rows).unwrap()), ["errors.list.item", "patched_yaml"]);
        let mut stream = PartWriter::new(Vec::new(), run).unwrap();
        stream.write(&rows).unwrap();
        assert_eq!(compressed(stream.finish().unwrap().into()).len(), col::COLUMNS.len());
    }

    #[test]
    fn an_empty_part_is_a_part() {
        let part = write_part(&RunId::new("r").unwrap(), &[]).unwrap();
        assert_eq!(crate::scan::outcomes([part.into()]).count(), 0);
    }
}
