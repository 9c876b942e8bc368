//! Detections as Parquet: the columns of the published JSON, in and out.

mod cells;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;

use arrow_array::RecordBatch;
use domain::config::Limits;
use domain::published::Detection;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::metadata::ParquetMetaData;
use results::bounded::pages::check_pages;
use results::bounded::views::{VIEW_ROWS, view_reader};
use results::file_error::FileError;
use results::input::json::{Entry, Malformed};

use cells::{Cell, Cells, Role};

pub use writer::ParquetDetectionsWriter;

const ID: &str = "id";
const MANIFEST_PATH: &str = "manifest_path";
const MANIFEST_YAML: &str = "manifest_yaml";
const POLICY_ID: &str = "policy_id";
const VIOLATION_TEXT: &str = "violation_text";

const REMEDY: &str = "write a file with the columns of detections.json";

/// Columns that an error names at most.
const SHOWN_COLUMNS: usize = 20;

/// Bytes of the cells that name a row which is too long as a whole.
const KEPT_BYTES: usize = 4096;

/// Text of the rows read or written at once, at most.
const BATCH_BYTES: usize = 8 << 20;

/// Unpacked bytes of one page at most. Writers end a page at 1 MiB (`DuckDB`: at 100 MB), but only between some hundred rows.
const PAGE_BYTES: u64 = 256 << 20;

/// The entries of a Parquet file of detections, in order. After an error of the file it ends.
pub struct ParquetDetections {
    name: String,
    reader: ParquetRecordBatchReader,
    batch: Option<Batch>,
    index: u64,
    limit: usize,
    done: bool,
}

impl std::fmt::Debug for ParquetDetections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetDetections").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Batch {
    id: Cells,
    manifest_path: Option<Cells>,
    manifest_yaml: Option<Cells>,
    policy_id: Cells,
    violation_text: Option<Cells>,
    row: usize,
    rows: usize,
}

impl ParquetDetections {
    /// Opens a file; its columns may come in any order, beside others, as any kind of text, and the ids as numbers.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let broken = |error: &dyn std::fmt::Display| {
            FileError::new(path, None, format!("cannot be read as Parquet: {error}"), REMEDY)
        };
        let file = File::open(path).map_err(|error| FileError::open(path, error))?;
        let pages = file.try_clone().map_err(|error| FileError::open(path, error))?;
        let builder = view_reader(file).map_err(|error| broken(&error))?;
        for needed in [ID, POLICY_ID] {
            if builder.schema().column_with_name(needed).is_none() {
                let fields = builder.schema().fields().iter().take(SHOWN_COLUMNS);
                let columns: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
                let what = format!("has no column {needed}, but {}", columns.join(", "));
                return Err(FileError::new(path, None, what, REMEDY));
            }
        }
        let columns = [ID, MANIFEST_PATH, MANIFEST_YAML, POLICY_ID, VIOLATION_TEXT];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        check_pages(&pages, builder.metadata(), &mask, PAGE_BYTES).map_err(|error| {
            FileError::new(path, None, error.to_string(), "write the file again, or save it as JSON")
        })?;
        let rows = rows_at_once(builder.metadata());
        let reader =
            builder.with_projection(mask).with_batch_size(rows).build().map_err(|error| broken(&error))?;
        Ok(Self {
            name: path.to_owned(),
            reader,
            batch: None,
            index: 0,
            limit: limits.record_bytes,
            done: false,
        })
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, FileError> {
        loop {
            if let Some(batch) = self.batch.as_mut().filter(|batch| batch.row < batch.rows) {
                let index = self.index;
                self.index += 1;
                let content = batch.detection(index, self.limit);
                batch.row += 1;
                return Ok(Some(Entry { index, content }));
            }
            let broken = |what: String| {
                FileError::new(&self.name, None, format!("row {}: {what}", self.index + 1), REMEDY)
            };
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            self.batch = Some(Batch::new(&batch).map_err(broken)?);
        }
    }
}

impl Iterator for ParquetDetections {
    type Item = Result<Entry, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_entry();
        self.done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Batch {
    fn new(batch: &RecordBatch) -> Result<Self, String> {
        let cells = |name: &str, role| -> Result<Option<Cells>, String> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            Cells::of(column.as_ref(), role)
                .map(Some)
                .ok_or_else(|| format!("column {name} holds {}, not text", column.data_type()))
        };
        let needed = |name: &str, role| cells(name, role)?.ok_or_else(|| format!("has no column {name}"));
        Ok(Self {
            id: needed(ID, Role::Id)?,
            manifest_path: cells(MANIFEST_PATH, Role::Text)?,
            manifest_yaml: cells(MANIFEST_YAML, Role::Text)?,
            policy_id: needed(POLICY_ID, Role::Text)?,
            violation_text: cells(VIOLATION_TEXT, Role::Text)?,
            row: 0,
            rows: batch.num_rows(),
        })
    }

    fn detection(&self, index: u64, limit: usize) -> Result<Detection, Malformed> {
        let columns = [
            (ID, Some(&self.id)),
            (POLICY_ID, Some(&self.policy_id)),
            (MANIFEST_PATH, self.manifest_path.as_ref()),
            (MANIFEST_YAML, self.manifest_yaml.as_ref()),
            (VIOLATION_TEXT, self.violation_text.as_ref()),
        ];
        let cells =
            columns.map(|(name, column)| (name, column.map_or(Cell::Null, |column| column.cell(self.row))));
        // The longest text, before a byte is copied: a dictionary holds that of many rows once.
        let bytes = cells.iter().map(|(_, cell)| cell.len()).max().unwrap_or(0);
        let [id, policy_id, manifest_path, manifest_yaml, violation_text] = cells.map(|(_, cell)| cell);
        let kept = |cell: Cell<'_>| {
            cell.text().filter(|text| bytes <= limit || text.len() <= KEPT_BYTES).map(str::to_owned)
        };
        let what = if bytes > limit {
            Some(format!(
                "{bytes} bytes are more than limits.record_bytes = {limit}; raise the limit or drop the row"
            ))
        } else if let Some((name, _)) = cells.iter().find(|(_, cell)| matches!(cell, Cell::NotUtf8(_))) {
            Some(format!("{name} is not UTF-8; write it as text"))
        } else {
            None
        };
        match (what, kept(id), kept(policy_id)) {
            (None, Some(id), Some(policy_id)) => Ok(Detection {
                id,
                manifest_path: kept(manifest_path),
                manifest_yaml: kept(manifest_yaml),
                policy_id,
                violation_text: kept(violation_text).unwrap_or_default(),
            }),
            (what, id, policy_id) => {
                let missing = if id.is_none() { ID } else { POLICY_ID };
                let what = what.unwrap_or_else(|| format!("has no {missing}; give it one"));
                let message = format!("row {}: {what}", index + 1);
                Err(Malformed { id, policy_id, manifest_path: kept(manifest_path), message })
            }
        }
    }
}

/// As many rows as make a batch of moderate size.
fn rows_at_once(metadata: &ParquetMetaData) -> usize {
    let bytes: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size().max(0)).sum();
    let per_row = usize::try_from(bytes / metadata.file_metadata().num_rows().max(1)).unwrap_or(0).max(1);
    (BATCH_BYTES / per_row).clamp(1, VIEW_ROWS)
}
