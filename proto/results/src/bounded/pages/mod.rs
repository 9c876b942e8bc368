//! Pages of a Parquet file of any writer, before one is decompressed: how large each becomes.
//!
//! A reader reserves what the header of a page says, up to 2 GiB, and the decoders of some compressions do not even keep to
//! that: a page of a few kilobytes fills any memory. After this check no page takes more than its limit.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;

use super::page_header::{Compact, PageHeader};
use super::views::VIEW_ROWS;

/// Bytes in which a page header is looked for at first, and at most: it holds the smallest and largest value of its page.
const HEADER_BYTES: (u64, u64) = (4 << 10, 16 << 20);

/// The encoding of a text by the length it shares with the one before: each row of a batch may take what the page takes.
const DELTA_BYTE_ARRAY: i64 = 7;

/// Why a page is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum PageError {
    /// A column's pages cannot be found, or their headers are damaged.
    #[error("the pages of column {column} are damaged")]
    Damaged { column: String },
    /// A page becomes larger than the limit.
    #[error(
        "a page of column {column} unpacks to more than {limit} bytes; write the file with smaller pages (pyarrow: \
         write_batch_size, data_page_size)"
    )]
    TooLarge { column: String, limit: u64 },
    /// A page becomes larger than its header says.
    #[error("a page of column {column} unpacks to more than its header says")]
    Exceeds { column: String },
    /// Pages in a form that is not read.
    #[error("column {column} is written in {form}, which is not read; write it with zstd or snappy")]
    Unread { column: String, form: String },
}

/// Whether the decoder of a compression keeps to the size that the header of a page gives.
pub(super) fn obeys_headers(compression: Compression) -> bool {
    match compression {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::LZ4_RAW
        | Compression::ZSTD(_)
        // Not read at all.
        | Compression::LZO => true,
        Compression::GZIP(_) | Compression::BROTLI(_) | Compression::LZ4 => false,
    }
}

/// Reads the header of every page of the columns in `mask`, and unpacks pages of compressions whose decoders do not keep to
/// it, in bounded memory.
///
/// # Errors
/// When a page becomes larger than `limit`, or is written in a form that has no bound.
pub fn check_pages(
    file: &impl ChunkReader,
    metadata: &ParquetMetaData,
    mask: &ProjectionMask,
    limit: u64,
) -> Result<(), PageError> {
    for group in metadata.row_groups() {
        let columns = group.columns().iter().enumerate();
        for (_, column) in columns.filter(|(leaf, _)| mask.leaf_included(*leaf)) {
            Pages { file, column, limit }.check()?;
        }
    }
    Ok(())
}

/// The pages of one column of a row group.
struct Pages<'a, R> {
    file: &'a R,
    column: &'a ColumnChunkMetaData,
    limit: u64,
}

impl<R: ChunkReader> Pages<'_, R> {
    fn check(&self) -> Result<(), PageError> {
        if self.column.compression() == Compression::LZO {
            return Err(self.unread("LZO"));
        }
        let start = self.column.dictionary_page_offset().unwrap_or_else(|| self.column.data_page_offset());
        let mut at = u64::try_from(start).map_err(|_| self.damaged())?;
        let bytes = u64::try_from(self.column.compressed_size()).map_err(|_| self.damaged())?;
        let end =
            at.checked_add(bytes).filter(|end| *end <= self.file.len()).ok_or_else(|| self.damaged())?;
        while at < end {
            let (page, length) = self.header(at, end - at).ok_or_else(|| self.damaged())?;
            let packed = u64::try_from(page.compressed).map_err(|_| self.damaged())?;
            at += length;
            if packed > end - at || page.levels > packed.min(page.decompressed) {
                return Err(self.damaged());
            }
            let shares = self.column.column_type() == Type::BYTE_ARRAY && page.encoding == DELTA_BYTE_ARRAY;
            let limit = if shares { self.limit / VIEW_ROWS as u64 } else { self.limit };
            if page.decompressed > limit || packed > limit {
                return Err(PageError::TooLarge { column: self.name(), limit });
            }
            if !page.is_plain {
                self.unpack(&page, at + page.levels, packed - page.levels)?;
            }
            at += packed;
        }
        Ok(())
    }

    /// The header that begins `at`, and its length.
    fn header(&self, at: u64, left: u64) -> Option<(PageHeader, u64)> {
        let (mut window, most) = HEADER_BYTES;
        loop {
            let length = usize::try_from(window.min(left)).ok()?;
            let bytes = self.file.get_bytes(at, length).ok()?;
            let mut reader = Compact { rest: &bytes };
            match reader.page_header() {
                Some(page) => return Some((page, (bytes.len() - reader.rest.len()) as u64)),
                None if window < most.min(left) => window = (window * 16).min(most),
                None => return None,
            }
        }
    }

    /// Unpacks what no decoder bounds.
    fn unpack(&self, page: &PageHeader, at: u64, packed: u64) -> Result<(), PageError> {
        let compression = self.column.compression();
        if obeys_headers(compression) {
            return Ok(());
        }
        let mut bytes = self.file.get_read(at).map_err(|_| self.damaged())?.take(packed);
        let said = page.decompressed - page.levels;
        let found = match compression {
            Compression::GZIP(_) => length(MultiGzDecoder::new(bytes), said),
            Compression::BROTLI(_) => length(brotli_decompressor::Decompressor::new(bytes, 4096), said),
            _ => {
                let mut head = Vec::new();
                (&mut bytes).take(4).read_to_end(&mut head).map_err(|_| self.damaged())?;
                return if is_lz4_frame(&head) { Err(self.unread("frames of LZ4")) } else { Ok(()) };
            }
        };
        match found {
            Ok(found) if found <= said => Ok(()),
            Ok(_) => Err(PageError::Exceeds { column: self.name() }),
            Err(_) => Err(self.damaged()),
        }
    }

    fn name(&self) -> String {
        self.column.column_path().string()
    }

    fn damaged(&self) -> PageError {
        PageError::Damaged { column: self.name() }
    }

    fn unread(&self, form: &str) -> PageError {
        PageError::Unread { column: self.name(), form: form.to_owned() }
    }
}

/// Whether bytes begin like a frame of LZ4: the usual, one that is skipped, or the first version. Columns with the old
/// compression LZ4 hold blocks, which are bounded; readers that find none look for frames, which are not.
fn is_lz4_frame(head: &[u8]) -> bool {
    matches!(head, [0x04, 0x22, 0x4d, 0x18] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] | [0x02, 0x21, 0x4c, 0x18])
}

/// How many bytes come out, one beyond `said` at most.
fn length(reader: impl Read, said: u64) -> std::io::Result<u64> {
    std::io::copy(&mut reader.take(said.saturating_add(1)), &mut std::io::sink())
}

#[cfg(test)]
mod tests;
