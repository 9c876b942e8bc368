//! Parquet that may be hostile: texts are read as views of their pages and never copied, so that a dictionary whose one long
//! text stands in every row takes the memory of that text once.
//!
//! What a page itself unpacks to is bounded by [`pages`](super::pages).

use std::fs::File;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::footer;
use crate::scan::{Part, Problem, ScanError};

/// Rows of a batch: few, because a batch holds the pages of all its rows.
pub const VIEW_ROWS: usize = 16;

/// The schema with every text and every byte string as a view, those in lists included.
fn with_views(schema: &Schema) -> SchemaRef {
    fn view_of(field: &Field) -> Field {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            DataType::List(item) => DataType::List(Arc::new(view_of(item))),
            other => other.clone(),
        };
        field.clone().with_data_type(kind)
    }
    Arc::new(Schema::new_with_metadata(
        schema.fields().iter().map(|field| view_of(field)).collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// A builder of a reader whose texts are views, whatever the Arrow types of their writer were. At most [`VIEW_ROWS`] rows
/// make a batch.
pub fn view_reader<R: ChunkReader + 'static>(
    reader: R,
) -> Result<ParquetRecordBatchReaderBuilder<R>, ParquetError> {
    footer::check(&reader)?;
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(&reader, options())?;
    let options = options().with_schema(with_views(found.schema()));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata).with_batch_size(VIEW_ROWS))
}

/// Bytes that the columns of a batch of [`view_reader`] take once their texts are copied out, each cell for itself.
pub fn decoded_bytes(batch: &RecordBatch) -> u64 {
    fn of(column: &dyn Array) -> u64 {
        let lengths = |lengths: &mut dyn Iterator<Item = u32>| lengths.map(u64::from).sum::<u64>();
        let rows = u64::try_from(column.len()).unwrap_or(u64::MAX);
        if let Some(texts) = column.as_string_view_opt() {
            rows * 16 + lengths(&mut texts.lengths())
        } else if let Some(bytes) = column.as_binary_view_opt() {
            rows * 16 + lengths(&mut bytes.lengths())
        } else if let Some(lists) = column.as_list_opt::<i32>() {
            rows * 4 + of(lists.values())
        } else {
            // Numbers, flags and hashes: their buffers are not shared.
            u64::try_from(column.get_array_memory_size()).unwrap_or(u64::MAX)
        }
    }
    batch.columns().iter().map(|column| of(column.as_ref())).sum()
}

/// Reads a part without copying its texts, up to `limit` decoded bytes. Returns how many it has.
///
/// # Errors
/// Where it has more ([`Problem::TooLarge`]), or cannot be read.
pub fn measure(part: &Part, limit: u64) -> Result<u64, ScanError> {
    let read = || -> Result<u64, Problem> {
        let reader: ParquetRecordBatchReader = match part {
            Part::File(path) => all_columns(File::open(path)?)?,
            Part::Temporary { file, .. } => all_columns(File::open(file.as_ref())?)?,
            Part::Bytes { bytes, .. } => all_columns(bytes.clone())?,
        };
        let mut decoded = 0_u64;
        for batch in reader {
            decoded = decoded.saturating_add(decoded_bytes(&batch?));
            if decoded > limit {
                return Err(Problem::TooLarge { limit });
            }
        }
        Ok(decoded)
    };
    read().map_err(|problem| ScanError { part: part.name(), problem })
}

fn all_columns<R: ChunkReader + 'static>(reader: R) -> Result<ParquetRecordBatchReader, ParquetError> {
    view_reader(reader)?.with_projection(ProjectionMask::all()).build()
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{ArrayRef, StringArray, UInt64Array};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// A part of `rows` rows with the same text of a mebibyte in each.
    fn bomb(rows: usize) -> Bytes {
        let text = "x".repeat(1 << 20);
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&text, rows)));
        let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default()))
            .set_dictionary_page_size_limit(16 << 20)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    #[test]
    fn a_dictionary_bomb_is_measured_without_being_unpacked() {
        let part = Part::from(bomb(200));
        let Part::Bytes { bytes, .. } = &part else { panic!("in memory") };
        assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
        let decoded = measure(&part, u64::MAX).unwrap();
        assert!((200 << 20..201 << 20).contains(&decoded), "{decoded}");
        let error = measure(&part, 100 << 20).unwrap_err().to_string();
        assert!(error.contains("more than 104857600 bytes"), "{error}");
        let batch = all_columns(bytes.clone()).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.num_rows(), VIEW_ROWS);
        // The text of all its rows lies in memory once.
        assert!(batch.get_array_memory_size() < 4 << 20, "{}", batch.get_array_memory_size());
    }

    #[test]
    fn every_column_counts() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.values().append_value("ab");
        lists.append(true);
        let columns: [(&str, ArrayRef); 3] = [
            ("number", Arc::new(UInt64Array::from(vec![7]))),
            ("text", Arc::new(StringArray::from(vec![Some("abc")]))),
            ("list", Arc::new(lists.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let bytes: Bytes = writer.into_inner().unwrap().into();
        let read = all_columns(bytes).unwrap().next().unwrap().unwrap();
        assert_eq!(read.column(1).as_string_view().value(0), "abc");
        assert!((8 + 16 + 3 + 4 + 16 + 2..400).contains(&decoded_bytes(&read)), "{}", decoded_bytes(&read));
    }

    #[test]
    fn a_part_of_outcomes_can_be_measured() {
        let outcomes = [crate::testing::outcome(0)];
        let part = crate::part::write_part(&domain::ids::RunId::new("r").unwrap(), &outcomes).unwrap();
        assert!(measure(&Part::from(part), 1 << 20).is_ok());
    }
}
