//! Records and their documents → the file, one group at a time.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::ArrowError;
use domain::ids::{CorpusHash, DocumentHash, RecordId};
use domain::record::{Neighbours, Record, SourceDocument};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::NamedTempFile;

use super::{DOCUMENT, GROUP_ROWS, ID, POSITION, columns};
use crate::file_error::FileError;
use crate::store::unfinished;

/// Text of a group's documents at most (one document may go beyond it).
const GROUP_BYTES: usize = 8 << 20;

/// What a corpus came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusSummary {
    /// How many records.
    pub records: u64,
    /// Hash of content and order.
    pub corpus_hash: CorpusHash,
    /// Ids that stand at more than one record, the first ten.
    pub repeated_ids: Vec<RecordId>,
}

/// Writes a corpus, record by record. The file appears under its name when it is complete.
#[derive(Debug)]
pub struct CorpusWriter {
    path: PathBuf,
    writer: Option<ArrowWriter<NamedTempFile>>,
    group: Group,
    hasher: Box<blake3::Hasher>,
    records: u64,
    // 64 bits of each hash: enough to tell ids apart, at a few bytes a record.
    ids: HashSet<u64>,
    repeated_ids: Vec<RecordId>,
}

/// Rows of the group that is being filled.
#[derive(Debug, Default)]
struct Group {
    rows: Vec<(Record, Option<SourceDocument>)>,
    documents: HashSet<DocumentHash>,
    bytes: usize,
}

impl CorpusWriter {
    /// Begins the file `path`; its folder must exist.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::write(&path.display().to_string(), error);
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = unfinished(folder).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(None)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_dictionary_enabled(ID.into(), false)
            .set_column_dictionary_enabled(POSITION.into(), false)
            .set_column_dictionary_enabled(DOCUMENT.into(), false)
            .build();
        let writer = ArrowWriter::try_new(file, columns(), Some(properties))
            .map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(Self {
            path: path.to_owned(),
            writer: Some(writer),
            group: Group::default(),
            hasher: Box::default(),
            records: 0,
            ids: HashSet::new(),
            repeated_ids: Vec::new(),
        })
    }

    /// Appends a record and the document it names. Its position is given here: the next one.
    pub fn push(&mut self, mut record: Record, document: &SourceDocument) -> Result<(), FileError> {
        record.position = self.records;
        record.document = document.hash;
        self.records += 1;
        hash_record(&mut self.hasher, &record);
        let id = prefix(blake3::hash(record.id.as_str().as_bytes()).as_bytes());
        if !self.ids.insert(id) && self.repeated_ids.len() < 10 && !self.repeated_ids.contains(&record.id) {
            self.repeated_ids.push(record.id.clone());
        }
        let fresh = self.group.documents.insert(document.hash);
        if fresh {
            self.group.bytes += document.text.len();
        }
        self.group.rows.push((record, fresh.then(|| document.clone())));
        if self.group.rows.len() >= GROUP_ROWS || self.group.bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the file: synced, then visible under its name.
    pub fn finish(mut self) -> Result<CorpusSummary, FileError> {
        self.flush()?;
        let Some(writer) = self.writer.take() else { return Err(self.failed(closed())) };
        let file = writer.into_inner().map_err(|error| self.failed(std::io::Error::other(error)))?;
        let durable = || -> std::io::Result<()> {
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            if let Some(folder) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        durable().map_err(|error| self.failed(error))?;
        self.hasher.update(&self.records.to_le_bytes());
        Ok(CorpusSummary {
            records: self.records,
            corpus_hash: CorpusHash::from_bytes(*self.hasher.finalize().as_bytes()),
            repeated_ids: self.repeated_ids,
        })
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let group = std::mem::take(&mut self.group);
        if group.rows.is_empty() {
            return Ok(());
        }
        let Some(writer) = &mut self.writer else { return Err(self.failed(closed())) };
        let written = encode(&group.rows)
            .map_err(Into::into)
            .and_then(|batch| writer.write(&batch).and_then(|()| writer.flush()));
        written.map_err(|error: parquet::errors::ParquetError| self.failed(std::io::Error::other(error)))
    }

    fn failed(&self, error: std::io::Error) -> FileError {
        FileError::write(&self.path.display().to_string(), error)
    }
}

fn closed() -> std::io::Error {
    std::io::Error::other("the file is closed")
}

fn prefix(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Everything of a record but its place, which the order says.
pub(super) fn hash_record(hasher: &mut blake3::Hasher, record: &Record) {
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(record.id.as_str());
    text(&record.manifest_path);
    text(&record.raw_policy_id);
    text(&record.violation_text);
    text(record.problem.as_ref().map_or("", |problem| problem.kind.as_str()));
    text(record.problem.as_ref().map_or("", |problem| problem.message.as_str()));
    hasher.update(record.document.as_bytes());
}

fn encode(rows: &[(Record, Option<SourceDocument>)]) -> Result<RecordBatch, ArrowError> {
    let texts = |get: fn(&Record) -> Option<&str>| -> ArrayRef {
        let mut column = StringBuilder::new();
        rows.iter().map(|(record, _)| get(record)).for_each(|cell| column.append_option(cell));
        Arc::new(column.finish())
    };
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows.len(), 32);
    let mut documents = StringBuilder::new();
    let mut neighbours = StringBuilder::new();
    for (record, document) in rows {
        hashes.append_value(record.document.as_bytes())?;
        documents.append_option(document.as_ref().map(|document| &*document.text));
        let known = document.as_ref().filter(|document| document.neighbours != Neighbours::Unknown);
        let json = known.map(|document| serde_json::to_string(&document.neighbours));
        neighbours.append_option(
            json.transpose().map_err(|error| ArrowError::from_external_error(Box::new(error)))?,
        );
    }
    RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(record, _)| record.position))),
            texts(|record| Some(record.id.as_str())),
            texts(|record| Some(&record.manifest_path)),
            Arc::new(hashes.finish()),
            texts(|record| Some(&record.raw_policy_id)),
            texts(|record| Some(&record.violation_text)),
            texts(|record| record.problem.as_ref().map(|problem| problem.kind.as_str())),
            texts(|record| record.problem.as_ref().map(|problem| problem.message.as_str())),
            Arc::new(documents.finish()),
            Arc::new(neighbours.finish()),
        ],
    )
}
