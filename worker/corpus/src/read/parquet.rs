//! Detections as Parquet: the columns of the published JSON, in and out.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use domain::config::Limits;
use domain::published::Detection;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use results::bounded::views::{VIEW_ROWS, view_reader};
use results::file_error::FileError;
use results::json::{Entry, Malformed};

const ID: &str = "id";
const MANIFEST_PATH: &str = "manifest_path";
const MANIFEST_YAML: &str = "manifest_yaml";
const POLICY_ID: &str = "policy_id";
const VIOLATION_TEXT: &str = "violation_text";

const REMEDY: &str = "write a file with the columns of detections.json";

/// Rows written at once, at most.
const BATCH_ROWS: usize = 512;

/// Bytes of the cells that name a row which is too long as a whole.
const KEPT_BYTES: usize = 4096;

/// Text of the rows read or written at once, at most.
const BATCH_BYTES: usize = 8 << 20;

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
    id: StringViewArray,
    manifest_path: Option<StringViewArray>,
    manifest_yaml: Option<StringViewArray>,
    policy_id: StringViewArray,
    violation_text: Option<StringViewArray>,
    row: usize,
}

impl ParquetDetections {
    /// Opens a file; its columns may come in any order, beside others, in any of Arrow's text types.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let broken = |error: &dyn std::fmt::Display| {
            FileError::new(path, None, format!("cannot be read as Parquet: {error}"), REMEDY)
        };
        let file = File::open(path).map_err(|error| FileError::open(path, error))?;
        let builder = view_reader(file).map_err(|error| broken(&error))?;
        for needed in [ID, POLICY_ID] {
            if builder.schema().column_with_name(needed).is_none() {
                return Err(FileError::new(path, None, format!("has no column {needed}"), REMEDY));
            }
        }
        let columns = [ID, MANIFEST_PATH, MANIFEST_YAML, POLICY_ID, VIOLATION_TEXT];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
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
            if let Some(batch) = self.batch.as_mut().filter(|batch| batch.row < batch.id.len()) {
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
        let texts = |name: &str| -> Result<Option<StringViewArray>, String> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            let text = column.as_string_view_opt().cloned().map(Some);
            text.ok_or_else(|| format!("column {name} holds {}, not text", column.data_type()))
        };
        let needed = |name: &str| texts(name)?.ok_or_else(|| format!("has no column {name}"));
        Ok(Self {
            id: needed(ID)?,
            manifest_path: texts(MANIFEST_PATH)?,
            manifest_yaml: texts(MANIFEST_YAML)?,
            policy_id: needed(POLICY_ID)?,
            violation_text: texts(VIOLATION_TEXT)?,
            row: 0,
        })
    }

    fn detection(&self, index: u64, limit: usize) -> Result<Detection, Malformed> {
        let text = |column: &StringViewArray| column.is_valid(self.row).then(|| column.value(self.row).len());
        let columns = [
            Some(&self.id),
            Some(&self.policy_id),
            self.manifest_path.as_ref(),
            self.manifest_yaml.as_ref(),
            self.violation_text.as_ref(),
        ];
        // The longest text, before a byte is copied: a dictionary holds that of many rows once.
        let bytes = columns.into_iter().flatten().filter_map(text).max().unwrap_or(0);
        let cell = |column: &StringViewArray| {
            let is_kept =
                column.is_valid(self.row) && (bytes <= limit || column.value(self.row).len() <= KEPT_BYTES);
            is_kept.then(|| column.value(self.row).to_owned())
        };
        let optional = |column: &Option<StringViewArray>| column.as_ref().and_then(cell);
        let (id, policy_id, manifest_path) =
            (cell(&self.id), cell(&self.policy_id), optional(&self.manifest_path));
        let what = if bytes > limit {
            format!(
                "{bytes} bytes are more than limits.record_bytes = {limit}; raise the limit or drop the row"
            )
        } else if id.is_none() {
            "has no id; give it one".to_owned()
        } else if policy_id.is_none() {
            "has no policy_id; give it one".to_owned()
        } else {
            String::new()
        };
        match (id, policy_id) {
            (Some(id), Some(policy_id)) if what.is_empty() => Ok(Detection {
                id,
                manifest_path,
                manifest_yaml: optional(&self.manifest_yaml),
                policy_id,
                violation_text: optional(&self.violation_text).unwrap_or_default(),
            }),
            (id, policy_id) => {
                Err(Malformed { id, policy_id, manifest_path, message: format!("row {}: {what}", index + 1) })
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

/// Writes detections as Parquet, as they come.
pub struct ParquetDetectionsWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    pending: Vec<Detection>,
    bytes: usize,
}

impl<W: Write + Send> std::fmt::Debug for ParquetDetectionsWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetDetectionsWriter")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetDetectionsWriter<W> {
    /// Begins a file in `out`.
    pub fn new(out: W) -> Result<Self, parquet::errors::ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(MANIFEST_YAML.into(), false)
            .set_column_statistics_enabled(MANIFEST_YAML.into(), EnabledStatistics::None)
            .build();
        let writer = ArrowWriter::try_new(out, columns(), Some(properties))?;
        Ok(Self { writer, pending: Vec::new(), bytes: 0 })
    }

    /// Appends one detection.
    pub fn push(&mut self, detection: Detection) -> Result<(), parquet::errors::ParquetError> {
        self.bytes +=
            detection.manifest_yaml.as_ref().map_or(0, String::len) + detection.violation_text.len();
        self.pending.push(detection);
        if self.pending.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the file and gives back what it was written to.
    pub fn finish(mut self) -> Result<W, parquet::errors::ParquetError> {
        self.flush()?;
        self.writer.into_inner()
    }

    fn flush(&mut self) -> Result<(), parquet::errors::ParquetError> {
        let rows = std::mem::take(&mut self.pending);
        self.bytes = 0;
        let texts = |get: fn(&Detection) -> Option<&str>| -> ArrayRef {
            let mut column = StringBuilder::new();
            rows.iter().map(get).for_each(|cell| column.append_option(cell));
            Arc::new(column.finish())
        };
        let arrays = vec![
            texts(|row| Some(&row.id)),
            texts(|row| row.manifest_path.as_deref()),
            texts(|row| row.manifest_yaml.as_deref()),
            texts(|row| Some(&row.policy_id)),
            texts(|row| Some(&row.violation_text)),
        ];
        self.writer.write(&RecordBatch::try_new(columns(), arrays)?)
    }
}

fn columns() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text(ID, false),
        text(MANIFEST_PATH, true),
        text(MANIFEST_YAML, true),
        text(POLICY_ID, false),
        text(VIOLATION_TEXT, false),
    ]))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{DictionaryArray, LargeStringArray, StringArray};

    use super::*;

    fn detection(number: usize) -> Detection {
        Detection {
            id: format!("{number:03}"),
            manifest_path: number.is_multiple_of(2).then(|| format!("{number}.yaml")),
            manifest_yaml: (!number.is_multiple_of(3)).then(|| "kind: Pod\n".repeat(number)),
            policy_id: "latest-tag".to_owned(),
            violation_text: String::new(),
        }
    }

    fn read(file: &tempfile::NamedTempFile, limits: &Limits) -> Result<Vec<Entry>, FileError> {
        ParquetDetections::open(&file.path().display().to_string(), limits)?.collect()
    }

    #[test]
    fn detections_survive() {
        let mut writer = ParquetDetectionsWriter::new(tempfile::NamedTempFile::new().unwrap()).unwrap();
        let rows: Vec<Detection> = (0..1500).map(detection).collect();
        for row in &rows {
            writer.push(row.clone()).unwrap();
        }
        let file = writer.finish().unwrap();
        let found = read(&file, &Limits { record_bytes: 14_990 - 1, ..Limits::default() }).unwrap();
        assert_eq!(found.len(), rows.len());
        for (entry, row) in found.iter().zip(&rows).take(1499) {
            assert_eq!(entry.content.as_ref().unwrap(), row);
        }
        let last = found[1499].content.as_ref().unwrap_err();
        assert_eq!(last.id.as_deref(), Some("1499"));
        assert!(last.message.starts_with("row 1500: 14990 bytes are more than"), "{last:?}");
    }

    #[test]
    fn other_columns_other_types_and_nulls() {
        let column = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let policy: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("p"), None]));
        let ids: DictionaryArray<Int32Type> = ["1", "2"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("more", column(vec![None, None])),
            (POLICY_ID, policy),
            (ID, Arc::new(ids)),
        ])
        .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file = writer.into_inner().unwrap();
        let found = read(&file, &Limits::default()).unwrap();
        assert_eq!(found[0].content.as_ref().unwrap().policy_id, "p");
        assert_eq!(found[1].content.as_ref().unwrap_err().message, "row 2: has no policy_id; give it one");
    }

    #[test]
    fn a_long_text_in_the_dictionary_takes_its_memory_once() {
        let (rows, long) = (400, "x".repeat(4 << 20));
        let column = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
        };
        let columns = [(ID, column("1")), (POLICY_ID, column("p")), (MANIFEST_YAML, column(&long))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_page_size_limit(64 << 20)
            .build();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let file = writer.into_inner().unwrap();
        assert!(file.as_file().metadata().unwrap().len() < 100_000);
        let limits = Limits { record_bytes: 1 << 20, ..Limits::default() };
        let mut detections = ParquetDetections::open(&file.path().display().to_string(), &limits).unwrap();
        let mut found = 0;
        while let Some(entry) = detections.next() {
            let malformed = entry.unwrap().content.unwrap_err();
            assert_eq!(malformed.id.as_deref(), Some("1"));
            assert!(malformed.message.contains("more than limits.record_bytes"), "{malformed:?}");
            let batch = detections.batch.as_ref().unwrap();
            let memory = batch.manifest_yaml.as_ref().unwrap().get_array_memory_size();
            assert!(memory < 12 << 20, "{memory} bytes for rows of {} bytes", long.len());
            found += 1;
        }
        assert_eq!(found, rows);
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"PAR1 and no more").unwrap();
        let error = read(&file, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("cannot be read as Parquet"), "{error}");
        let part = results::part::write_part(&domain::ids::RunId::new("r").unwrap(), &[]).unwrap();
        std::fs::write(file.path(), part).unwrap();
        let error = read(&file, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("has no column id"), "{error}");
    }
}
