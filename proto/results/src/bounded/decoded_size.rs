//! How large a Parquet file becomes when it is decoded: an upper bound from the headers of its pages, before anything is
//! decompressed.
//!
//! A page of a few bytes can stand for gigabytes: a dictionary whose one long value is named a million times, or a compressed
//! run. What the footer says of sizes is the writer's word; the header of a page is what its reader obeys, for the compressions
//! that `obeys_headers` names.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::page_header::Compact;
use super::pages::obeys_headers;

/// Bytes that a value takes beside its own: offset, validity, levels.
const VALUE_BYTES: u64 = 16;

/// Largest dictionary that is looked into, decoded.
const DICTIONARY_BYTES: u64 = 16 << 20;

/// Why no bound can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum SizeError {
    /// A column's pages cannot be found, or their headers are damaged.
    #[error("the pages of column {column} are damaged")]
    Damaged { column: String },
    /// Values are encoded in a way whose decoded size the headers do not bound.
    #[error("column {column} has an encoding ({encoding}) that results are not written with")]
    Encoding { column: String, encoding: i64 },
    /// Its pages are compressed in a way whose decompressed size the headers do not bound.
    #[error("column {column} has a compression ({codec}) that results are not written with")]
    Codec { column: String, codec: String },
    /// It is larger than the limit.
    #[error("it has more than {limit} bytes when it is decoded")]
    TooLarge { limit: u64 },
}

/// Why a file is refused before it is decoded.
#[derive(Debug, thiserror::Error)]
pub enum FileRefused {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It is not Parquet, or is damaged.
    #[error("it cannot be read as Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// It is too large when it is decoded.
    #[error(transparent)]
    Size(#[from] SizeError),
}

/// Checks that a Parquet file has no row group with more than `group` decoded bytes, and not more than `whole` in all. Takes
/// the memory of the packed file.
///
/// # Errors
/// Why it is refused.
pub fn check_file(path: &Path, group: u64, whole: u64) -> Result<(), FileRefused> {
    let bytes = Bytes::from(std::fs::read(path)?);
    let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())?;
    let sizes = decoded_sizes(metadata.metadata(), &bytes, group)?;
    let sum = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
    if sum > whole { Err(SizeError::TooLarge { limit: whole }.into()) } else { Ok(()) }
}

/// Upper bound of the decoded bytes of each row group of a file with these `bytes`.
///
/// # Errors
/// When a row group has more than `limit` bytes, or no bound can be given.
pub fn decoded_sizes(metadata: &ParquetMetaData, bytes: &Bytes, limit: u64) -> Result<Vec<u64>, SizeError> {
    metadata
        .row_groups()
        .iter()
        .map(|group| {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let mut sizes = Vec::with_capacity(group.columns().len());
            for column in group.columns() {
                sizes.push(Chunk::of(column, bytes)?);
            }
            let loose =
                sizes.iter().fold(0_u64, |sum, chunk| sum.saturating_add(chunk.bytes(chunk.dictionary)));
            if loose <= limit {
                return Ok(loose);
            }
            // The longest value of each dictionary instead of the whole dictionary.
            let mut exact = 0_u64;
            for (chunk, column) in sizes.iter().zip(group.columns()) {
                let longest = chunk.longest(column, rows, bytes)?;
                exact = exact.saturating_add(chunk.bytes(longest));
            }
            if exact <= limit { Ok(exact) } else { Err(SizeError::TooLarge { limit }) }
        })
        .collect()
}

/// Sizes of the pages of one column of a row group.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chunk {
    /// Bytes of data pages, decompressed.
    plain: u64,
    /// Values of data pages.
    values: u64,
    /// Values that name one of the dictionary.
    named: u64,
    /// Bytes of the dictionary, decompressed.
    dictionary: u64,
}

impl Chunk {
    fn of(column: &ColumnChunkMetaData, bytes: &Bytes) -> Result<Self, SizeError> {
        let name = || column.column_path().string();
        let damaged = || SizeError::Damaged { column: name() };
        if !obeys_headers(column.compression()) {
            return Err(SizeError::Codec { column: name(), codec: column.compression().to_string() });
        }
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let start = usize::try_from(start).map_err(|_| damaged())?;
        let len = usize::try_from(column.compressed_size()).map_err(|_| damaged())?;
        let end = start.checked_add(len).ok_or_else(damaged)?;
        let mut rest = bytes.get(start..end).ok_or_else(damaged)?;
        let mut chunk = Self::default();
        while !rest.is_empty() {
            let mut reader = Compact { rest };
            let page = reader.page_header().ok_or_else(damaged)?;
            rest = reader.rest.get(page.compressed..).ok_or_else(damaged)?;
            match page.kind {
                // An index page is skipped by every reader.
                1 => {}
                2 => chunk.dictionary = chunk.dictionary.max(page.decompressed),
                0 | 3 => {
                    chunk.plain = chunk.plain.saturating_add(page.decompressed);
                    chunk.values = chunk.values.saturating_add(page.values);
                    match page.encoding {
                        // PLAIN, and RLE of truth values.
                        0 | 3 => {}
                        // PLAIN_DICTIONARY and RLE_DICTIONARY.
                        2 | 8 => chunk.named = chunk.named.saturating_add(page.values),
                        encoding => return Err(SizeError::Encoding { column: name(), encoding }),
                    }
                }
                _ => return Err(damaged()),
            }
        }
        if column.column_type() != Type::BYTE_ARRAY {
            chunk.dictionary = chunk.dictionary.min(VALUE_BYTES);
        }
        Ok(chunk)
    }

    /// Bytes when no value of the dictionary is longer than `longest`.
    fn bytes(&self, longest: u64) -> u64 {
        let named = self.named.saturating_mul(longest);
        self.plain.saturating_add(named).saturating_add(self.values.saturating_mul(VALUE_BYTES))
    }

    /// Bytes of the longest value of the dictionary.
    fn longest(&self, column: &ColumnChunkMetaData, rows: usize, bytes: &Bytes) -> Result<u64, SizeError> {
        if self.named == 0 || column.column_type() != Type::BYTE_ARRAY {
            return Ok(self.dictionary);
        }
        let damaged = || SizeError::Damaged { column: column.column_path().string() };
        if self.dictionary > DICTIONARY_BYTES {
            return Err(SizeError::TooLarge { limit: DICTIONARY_BYTES });
        }
        let pages = SerializedPageReader::new(Arc::new(bytes.clone()), column, rows, None);
        let mut pages = pages.map_err(|_| damaged())?;
        // The dictionary is the first page where the column has one.
        match pages.get_next_page().map_err(|_| damaged())? {
            Some(Page::DictionaryPage { buf, .. }) => longest_plain(&buf).ok_or_else(damaged),
            _ => Err(damaged()),
        }
    }
}

/// The longest of plainly encoded byte arrays: each a length of four bytes, then its bytes.
fn longest_plain(mut values: &[u8]) -> Option<u64> {
    let mut longest = 0;
    while let Some((length, rest)) = values.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        values = rest.get(usize::try_from(length).ok()?..)?;
    }
    values.is_empty().then_some(longest)
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::{Compression, Encoding, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn file(values: Vec<String>, properties: WriterProperties) -> Bytes {
        let column: ArrayRef = Arc::new(StringArray::from(values));
        let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    fn sizes(bytes: &Bytes, limit: u64) -> Result<Vec<u64>, SizeError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
        decoded_sizes(reader.metadata(), bytes, limit)
    }

    #[test]
    fn a_dictionary_counts_as_often_as_it_is_named() {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let bomb = file(vec!["x".repeat(100_000); 10_000], properties.clone());
        assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
        assert_eq!(sizes(&bomb, 512 << 20), Err(SizeError::TooLarge { limit: 512 << 20 }));
        let size = sizes(&bomb, 2 << 30).unwrap()[0];
        assert!((1_000_000_000..1_100_000_000).contains(&size), "{size}");

        // One long value among short ones: the bound by the longest is loose, and holds.
        let mut values: Vec<String> = (0..1000).map(|number| format!("value {}", number % 50)).collect();
        values.push("y".repeat(1000));
        let usual = file(values, properties);
        assert!(sizes(&usual, 3 << 20).unwrap()[0] < 3 << 20);
    }

    #[test]
    fn a_compressed_run_counts_decompressed() {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .build();
        let bomb = file(vec!["x".repeat(8 << 20)], properties);
        assert!(bomb.len() < 20_000, "{} bytes", bomb.len());
        assert_eq!(sizes(&bomb, 1 << 20), Err(SizeError::TooLarge { limit: 1 << 20 }));
        assert!(sizes(&bomb, 9 << 20).unwrap()[0] > 8 << 20);
    }

    #[test]
    fn an_encoding_without_a_bound_is_refused() {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_BYTE_ARRAY)
            .build();
        let prefixes = file(vec!["x".repeat(1000); 100], properties);
        assert!(matches!(sizes(&prefixes, 1 << 30), Err(SizeError::Encoding { .. })));
    }

    #[test]
    fn a_compression_that_keeps_to_no_header_is_refused() {
        for codec in [
            Compression::GZIP(parquet::basic::GzipLevel::default()),
            Compression::BROTLI(parquet::basic::BrotliLevel::default()),
            Compression::LZ4,
        ] {
            let properties = WriterProperties::builder().set_compression(codec).build();
            let found = sizes(&file(vec!["x".repeat(1000); 10], properties), 1 << 30);
            assert!(matches!(found, Err(SizeError::Codec { .. })), "{found:?}");
        }
    }
}
