//! Detections as Parquet, as they come.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use domain::published::Detection;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::{BATCH_BYTES, ID, MANIFEST_PATH, MANIFEST_YAML, POLICY_ID, VIOLATION_TEXT};

/// Rows written at once, at most.
const BATCH_ROWS: usize = 512;

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
