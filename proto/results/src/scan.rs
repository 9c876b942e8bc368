//! Parts → outcomes or record batches, streamed: memory does not grow with the number of rows.
//!
//! A file without our format version, or with another one, is refused with its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;
use domain::outcome::Outcome;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::statistics::Statistics;
use tempfile::TempPath;

pub use crate::rows::DecodeError;
use crate::rows::decode;
use crate::schema;

/// Rows of a batch at most.
const BATCH_ROWS: usize = 1024;

/// Bytes of a batch at which its rows get fewer, by the average row of a row group.
const BATCH_BYTES: u64 = 16 << 20;

/// Where a part lies.
#[derive(Debug, Clone)]
pub enum Part {
    /// A file on this machine, read piece by piece.
    File(PathBuf),
    /// A part in memory, with the name that errors call it by.
    Bytes {
        /// What to call it.
        name: String,
        /// The Parquet bytes.
        bytes: Bytes,
    },
    /// A part from elsewhere in a temporary file, deleted with its last copy.
    Temporary {
        /// What to call it.
        name: String,
        /// The file.
        file: Arc<TempPath>,
    },
}

impl Part {
    /// What to call it in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { name, .. } | Self::Temporary { name, .. } => name.clone(),
        }
    }

    /// A part from elsewhere in a temporary file.
    pub(crate) fn temporary(name: String, file: TempPath) -> Self {
        Self::Temporary { name, file: Arc::new(file) }
    }
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes { name: "part in memory".to_owned(), bytes }
    }
}

impl From<&Path> for Part {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<PathBuf> for Part {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {problem}")]
pub struct ScanError {
    /// File name of the part.
    pub part: String,
    /// What is wrong with the part.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a part.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Problem {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(#[from] std::io::Error),
    /// It is not Parquet, or is damaged.
    #[error("cannot be read as Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// A batch cannot be decoded.
    #[error("cannot be read: {0}")]
    Arrow(#[from] ArrowError),
    /// A Parquet file of another program.
    #[error("is not a part of results: its metadata lacks '{}'", schema::FORMAT_KEY)]
    Foreign,
    /// Another version of the software wrote it, with other columns.
    #[error(
        "has format version {found}, this program reads {}: use the release that wrote it, or repeat the run",
        schema::FORMAT_VERSION
    )]
    Version { found: String },
    /// A requested column does not exist.
    #[error("has no column {0}")]
    NoColumn(String),
    /// Its rows take more memory than they may, however small the file is.
    #[error("unpacks to more than {limit} bytes")]
    TooLarge { limit: u64 },
    /// A row cannot be decoded into an outcome.
    #[error("{0}")]
    Row(#[from] DecodeError),
}

/// Every outcome of `parts`, in the order of the parts and of their rows. A part that cannot be read ends the stream
/// with its error.
pub fn outcomes(parts: impl IntoIterator<Item = Part>) -> impl Iterator<Item = Result<Outcome, ScanError>> {
    batches(parts, None).flat_map(|batch| {
        let rows = batch.and_then(|(part, batch)| {
            decode(&batch).map_err(|problem| ScanError { part: part.name(), problem: problem.into() })
        });
        match rows {
            Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    })
}

/// The record batches of `parts` with the columns named (`None`: all), each with the part it comes from. The columns
/// come in the order of the schema; those that came later are missing where an earlier release wrote the part.
pub fn batches(
    parts: impl IntoIterator<Item = Part>,
    columns: Option<&[&str]>,
) -> impl Iterator<Item = Result<(Part, RecordBatch), ScanError>> {
    let columns: Option<Vec<String>> =
        columns.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let mut parts = parts.into_iter();
    let mut open: Option<(Part, ParquetRecordBatchReader)> = None;
    let mut failed = false;
    std::iter::from_fn(move || {
        while !failed {
            let Some((part, reader)) = &mut open else {
                let part = parts.next()?;
                match open_part(&part, columns.as_deref()) {
                    Ok(reader) => open = Some((part, reader)),
                    Err(problem) => {
                        failed = true;
                        return Some(Err(ScanError { part: part.name(), problem }));
                    }
                }
                continue;
            };
            match reader.next() {
                Some(Ok(batch)) => return Some(Ok((part.clone(), batch))),
                Some(Err(error)) => {
                    failed = true;
                    return Some(Err(ScanError { part: part.name(), problem: error.into() }));
                }
                None => open = None,
            }
        }
        None
    })
}

/// What the footer of a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartInfo {
    /// How many rows.
    pub rows: u64,
    /// First and last position, when the part has rows.
    pub positions: Option<(u64, u64)>,
}

/// Reads the footer of `part` alone.
pub fn info(part: &Part) -> Result<PartInfo, ScanError> {
    let read = || -> Result<PartInfo, Problem> {
        match part {
            Part::File(path) => footer(File::open(path)?),
            Part::Temporary { file, .. } => footer(File::open(file.as_ref())?),
            Part::Bytes { bytes, .. } => footer(bytes.clone()),
        }
    };
    read().map_err(|problem| ScanError { part: part.name(), problem })
}

/// Sorted by the first position, which the footers tell. Parts without rows fall away.
pub(crate) fn in_order(parts: Vec<Part>) -> Result<Vec<Part>, ScanError> {
    let mut keyed = Vec::with_capacity(parts.len());
    for part in parts {
        let info = info(&part)?;
        if info.rows > 0 {
            keyed.push((info.positions.map_or(0, |(first, _)| first), part));
        }
    }
    keyed.sort_by_key(|(first, _)| *first);
    Ok(keyed.into_iter().map(|(_, part)| part).collect())
}

fn footer<R: ChunkReader + 'static>(reader: R) -> Result<PartInfo, Problem> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader)?;
    check_format(builder.schema())?;
    let column = builder
        .schema()
        .column_with_name(schema::POSITION)
        .map(|(_, field)| field.name().clone())
        .ok_or_else(|| Problem::NoColumn(schema::POSITION.to_owned()))?;
    let metadata = builder.metadata();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    Ok(PartInfo { rows, positions: positions(metadata, &column) })
}

fn positions(metadata: &ParquetMetaData, column: &str) -> Option<(u64, u64)> {
    let index = metadata
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .position(|leaf| leaf.path().string() == column)?;
    metadata
        .row_groups()
        .iter()
        .filter_map(|group| match group.columns().get(index)?.statistics()? {
            // Parquet keeps an unsigned number in a signed cell of the same bits.
            Statistics::Int64(range) => {
                Some((range.min_opt()?.cast_unsigned(), range.max_opt()?.cast_unsigned()))
            }
            _ => None,
        })
        .reduce(|(low, high), (min, max)| (low.min(min), high.max(max)))
}

fn open_part(part: &Part, columns: Option<&[String]>) -> Result<ParquetRecordBatchReader, Problem> {
    match part {
        Part::File(path) => open_reader(File::open(path)?, columns),
        Part::Temporary { file, .. } => open_reader(File::open(file.as_ref())?, columns),
        Part::Bytes { bytes, .. } => open_reader(bytes.clone(), columns),
    }
}

fn open_reader<R: ChunkReader + 'static>(
    reader: R,
    columns: Option<&[String]>,
) -> Result<ParquetRecordBatchReader, Problem> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader)?;
    check_format(builder.schema())?;
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => {
            let lacks = |name: &&String| {
                builder.schema().column_with_name(name).is_none() && !schema::LATER.contains(&name.as_str())
            };
            if let Some(missing) = names.iter().find(lacks) {
                return Err(Problem::NoColumn(missing.clone()));
            }
            ProjectionMask::columns(builder.parquet_schema(), names.iter().map(String::as_str))
        }
    };
    let rows = batch_rows(builder.metadata());
    Ok(builder.with_projection(mask).with_batch_size(rows).build()?)
}

/// As many rows as make a batch of moderate size in the group with the longest rows.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let per_row = |group: &RowGroupMetaData| {
        u64::try_from(group.total_byte_size() / group.num_rows().max(1)).unwrap_or(0).max(1)
    };
    let longest = metadata.row_groups().iter().map(per_row).max().unwrap_or(1);
    usize::try_from(BATCH_BYTES / longest).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

fn check_format(found: &arrow_schema::Schema) -> Result<(), Problem> {
    let version = found.metadata().get(schema::FORMAT_KEY).ok_or(Problem::Foreign)?;
    match version.parse::<u32>() {
        Ok(schema::FORMAT_VERSION) => Ok(()),
        _ => Err(Problem::Version { found: version.clone() }),
    }
}
