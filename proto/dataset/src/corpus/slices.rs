//! The run's own copy of its corpus: written once when the run is submitted, read shard by shard.
//!
//! Parquet whose row groups stand alone: a document's text lies in the first row of the group that names it, so that a
//! slice costs the groups it touches and nothing else.
//! *Invariant*: the corpus hash depends on content and order, not on how rows fall into groups.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use domain::ids::{CorpusHash, DocumentHash, RecordId};
use domain::outcome::ErrorKind;
use domain::record::{Neighbours, Problem, Record, Slice, SourceDocument};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::NamedTempFile;

use super::FileError;

/// Rows of a group at most.
const GROUP_ROWS: usize = 1000;

/// Text of a group's documents at most (one document may go beyond it).
const GROUP_BYTES: usize = 8 << 20;

/// Groups that a reader keeps decoded.
const CACHED_GROUPS: usize = 3;

/// Metadata key of the format version.
const FORMAT_KEY: &str = "k8s_auto_fix.corpus";

/// Version of the format.
const FORMAT_VERSION: &str = "1";

const REMEDY: &str = "submit the corpus again under another run id";

const POSITION: &str = "position";
const ID: &str = "id";
const MANIFEST_PATH: &str = "manifest_path";
const DOCUMENT_HASH: &str = "document_hash";
const RAW_POLICY_ID: &str = "raw_policy_id";
const VIOLATION_TEXT: &str = "violation_text";
const PROBLEM_KIND: &str = "problem_kind";
const PROBLEM_MESSAGE: &str = "problem_message";
const DOCUMENT: &str = "document";
const NEIGHBOURS: &str = "neighbours";

/// What a corpus came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusSummary {
    /// How many records.
    pub records: u64,
    /// How many distinct documents they share.
    pub documents: u64,
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
    // 64 bits of each hash: enough to count by, at a few bytes a record.
    documents: HashSet<u64>,
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
        let file = NamedTempFile::new_in(folder).map_err(failed)?;
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
            documents: HashSet::new(),
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
        self.documents.insert(prefix(document.hash.as_bytes()));
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
            documents: self.documents.len() as u64,
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
fn hash_record(hasher: &mut blake3::Hasher, record: &Record) {
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

fn columns() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let fields = vec![
        Field::new(POSITION, DataType::UInt64, false),
        text(ID, false),
        text(MANIFEST_PATH, false),
        Field::new(DOCUMENT_HASH, DataType::FixedSizeBinary(32), false),
        text(RAW_POLICY_ID, false),
        text(VIOLATION_TEXT, false),
        text(PROBLEM_KIND, true),
        text(PROBLEM_MESSAGE, true),
        text(DOCUMENT, true),
        text(NEIGHBOURS, true),
    ];
    let metadata = HashMap::from([(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn encode(rows: &[(Record, Option<SourceDocument>)]) -> Result<RecordBatch, arrow::error::ArrowError> {
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
            json.transpose()
                .map_err(|error| arrow::error::ArrowError::from_external_error(Box::new(error)))?,
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

/// Reads slices of a corpus that [`CorpusWriter`] wrote. May be shared between threads.
#[derive(Debug)]
pub struct CorpusReader {
    name: String,
    metadata: ArrowReaderMetadata,
    /// First position of each group, and at last the number of records.
    bounds: Vec<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Decoded groups, the most recently used last.
    cache: Vec<(usize, Arc<Decoded>)>,
}

#[derive(Debug)]
struct Decoded {
    records: Vec<Record>,
    documents: HashMap<DocumentHash, SourceDocument>,
}

impl CorpusReader {
    /// Opens the file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let broken = |what: String| FileError::new(&name, None, what, REMEDY);
        let file = File::open(path).map_err(|error| FileError::open(&name, error))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(|error| broken(format!("is damaged: {error}")))?;
        match metadata.schema().metadata().get(FORMAT_KEY).map(String::as_str) {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(broken(format!(
                    "has format version {other}, this program reads {FORMAT_VERSION}"
                )));
            }
            None => return Err(broken("is no corpus of a run".to_owned())),
        }
        let mut bounds = vec![0];
        let mut records = 0_u64;
        for group in metadata.metadata().row_groups() {
            records += u64::try_from(group.num_rows()).unwrap_or(0);
            bounds.push(records);
        }
        Ok(Self { name, metadata, bounds, inner: Mutex::new(Inner { file, cache: Vec::new() }) })
    }

    /// How many records the corpus has.
    pub fn records(&self) -> u64 {
        self.bounds.last().copied().unwrap_or(0)
    }

    /// The records from position `start` on, `len` of them or what there is, each of their documents once, in the order
    /// in which the records name them. Blocks on the disk.
    pub fn slice(&self, start: u64, len: u64) -> Result<Slice, FileError> {
        let end = start.saturating_add(len).min(self.records());
        let mut slice = Slice::default();
        let mut taken = HashSet::new();
        let mut next = start;
        while next < end {
            let index = self.bounds.partition_point(|bound| *bound <= next).saturating_sub(1);
            let first = self.bounds.get(index).copied().unwrap_or(0);
            let group = self.group(index)?;
            let from = usize::try_from(next - first).unwrap_or(usize::MAX);
            let upto = usize::try_from(end - first).unwrap_or(usize::MAX).min(group.records.len());
            let records = group.records.get(from..upto).unwrap_or_default();
            if records.is_empty() {
                return Err(FileError::new(
                    &self.name,
                    None,
                    "is damaged: a group is shorter than it says",
                    REMEDY,
                ));
            }
            for record in records {
                if taken.insert(record.document) {
                    let document = group.documents.get(&record.document).ok_or_else(|| {
                        let what = format!("is damaged: record {} has no document", record.position);
                        FileError::new(&self.name, None, what, REMEDY)
                    })?;
                    slice.documents.push(document.clone());
                }
            }
            slice.records.extend_from_slice(records);
            next += records.len() as u64;
        }
        Ok(slice)
    }

    fn group(&self, index: usize) -> Result<Arc<Decoded>, FileError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = inner.cache.iter().position(|(cached, _)| *cached == index) {
            let hit = inner.cache.remove(at);
            let group = Arc::clone(&hit.1);
            inner.cache.push(hit);
            return Ok(group);
        }
        let group = Arc::new(self.decode(&inner.file, index)?);
        if inner.cache.len() >= CACHED_GROUPS {
            inner.cache.remove(0);
        }
        inner.cache.push((index, Arc::clone(&group)));
        Ok(group)
    }

    fn decode(&self, file: &File, index: usize) -> Result<Decoded, FileError> {
        let broken = |what: String| FileError::new(&self.name, None, format!("is damaged: {what}"), REMEDY);
        let file = file.try_clone().map_err(|error| FileError::read(&self.name, None, error))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![index])
            .with_batch_size(GROUP_ROWS)
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let mut decoded = Decoded { records: Vec::new(), documents: HashMap::new() };
        for batch in reader {
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            decode(&batch, &mut decoded).map_err(broken)?;
        }
        Ok(decoded)
    }
}

fn decode(batch: &RecordBatch, into: &mut Decoded) -> Result<(), String> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("no column {name}"));
    let texts = |name: &str| -> Result<&StringArray, String> {
        column(name)?.as_string_opt::<i32>().ok_or_else(|| format!("column {name} is no text"))
    };
    let positions =
        column(POSITION)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| "column position".to_owned())?;
    let hashes =
        column(DOCUMENT_HASH)?.as_fixed_size_binary_opt().ok_or_else(|| "column document_hash".to_owned())?;
    let (ids, paths, policies) = (texts(ID)?, texts(MANIFEST_PATH)?, texts(RAW_POLICY_ID)?);
    let (sentences, kinds, messages) =
        (texts(VIOLATION_TEXT)?, texts(PROBLEM_KIND)?, texts(PROBLEM_MESSAGE)?);
    let (documents, neighbours) = (texts(DOCUMENT)?, texts(NEIGHBOURS)?);
    for row in 0..batch.num_rows() {
        let hash: [u8; 32] = hashes.value(row).try_into().map_err(|_| "a hash is too short".to_owned())?;
        let hash = DocumentHash::from_bytes(hash);
        let problem = kinds.is_valid(row).then(|| {
            let kind = ErrorKind::parse(kinds.value(row)).unwrap_or(ErrorKind::Internal);
            Problem { kind, message: messages.value(row).to_owned() }
        });
        into.records.push(Record {
            id: RecordId::new(ids.value(row)).map_err(|error| error.to_string())?,
            position: positions.value(row),
            manifest_path: paths.value(row).to_owned(),
            document: hash,
            raw_policy_id: policies.value(row).to_owned(),
            violation_text: sentences.value(row).to_owned(),
            problem,
        });
        if documents.is_valid(row) {
            let neighbours = if neighbours.is_valid(row) {
                serde_json::from_str(neighbours.value(row)).map_err(|error| format!("neighbours: {error}"))?
            } else {
                Neighbours::Unknown
            };
            let text = documents.value(row).into();
            into.documents.insert(hash, SourceDocument { hash, text, neighbours });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use domain::record::Neighbour;
    use proptest::prelude::*;

    use super::*;

    fn corpus(number: u64) -> (Record, SourceDocument) {
        // Three records share a document; every fifth has known neighbours, every seventh a problem.
        let text = format!("kind: Pod\nmetadata: {{name: p{}}}\n", number / 3);
        let neighbours = if (number / 3).is_multiple_of(5) {
            Neighbours::Known(vec![Neighbour::ServiceAccount {
                namespace: String::new(),
                name: "sa".to_owned(),
            }])
        } else {
            Neighbours::Unknown
        };
        let document = SourceDocument::new(text, neighbours);
        let record = Record {
            id: RecordId::new(format!("{:03}", number + 1)).unwrap(),
            position: number,
            manifest_path: format!("{number}.yaml"),
            document: document.hash,
            raw_policy_id: "latest-tag".to_owned(),
            violation_text: String::new(),
            problem: number
                .is_multiple_of(7)
                .then(|| Problem { kind: ErrorKind::MalformedRecord, message: "bad".to_owned() }),
        };
        (record, document)
    }

    fn write(path: &Path, rows: impl IntoIterator<Item = (Record, SourceDocument)>) -> CorpusSummary {
        let mut writer = CorpusWriter::create(path).unwrap();
        for (record, document) in rows {
            writer.push(record, &document).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn slices_are_what_was_written_whatever_the_groups() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.parquet");
        let rows: Vec<_> = (0..2500).map(corpus).collect();
        let summary = write(&path, rows.clone());
        assert_eq!((summary.records, summary.documents), (2500, 834));
        assert!(summary.repeated_ids.is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let reader = CorpusReader::open(&path).unwrap();
        assert_eq!((reader.records(), reader.bounds.len()), (2500, 4));
        for (start, len) in [(0, 1), (999, 2), (0, 2500), (990, 1020), (2499, 10), (2500, 1), (7, 0)] {
            let slice = reader.slice(start, len).unwrap();
            let from = usize::try_from(start).unwrap();
            let upto = usize::try_from((start + len).min(2500)).unwrap();
            let wanted = &rows[from..upto];
            assert_eq!(slice.records, wanted.iter().map(|(record, _)| record.clone()).collect::<Vec<_>>());
            let mut documents: Vec<_> = wanted.iter().map(|(_, document)| document.clone()).collect();
            documents.dedup();
            assert_eq!(slice.documents, documents, "{start} {len}");
        }
    }

    #[test]
    fn the_hash_is_about_content_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let rows: Vec<_> = (0..20).map(corpus).collect();
        let hash = write(&path, rows.clone()).corpus_hash;
        assert_eq!(write(&path, rows.clone()).corpus_hash, hash);
        let mut swapped = rows.clone();
        swapped.swap(3, 4);
        assert_ne!(write(&path, swapped).corpus_hash, hash);
        let mut renamed = rows.clone();
        renamed[3].0.violation_text = "x".to_owned();
        assert_ne!(write(&path, renamed).corpus_hash, hash);
        let mut other = rows.clone();
        other[3].1 = SourceDocument::new("kind: Job", Neighbours::Unknown);
        assert_ne!(write(&path, other).corpus_hash, hash);
        assert_ne!(write(&path, rows[..19].iter().cloned()).corpus_hash, hash);
    }

    #[test]
    fn repeated_ids_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [corpus(1), corpus(2), corpus(1), corpus(1)];
        let summary = write(&folder.path().join("c"), rows);
        assert_eq!(summary.repeated_ids, [RecordId::new("002").unwrap()]);
        assert_eq!(summary.records, 4);
    }

    #[test]
    fn an_unfinished_file_does_not_appear() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(&folder.path().join("c")).unwrap();
        let (record, document) = corpus(0);
        writer.push(record, &document).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn foreign_and_cut_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let part = crate::part::write_part(&domain::ids::RunId::new("r").unwrap(), &[]).unwrap();
        std::fs::write(&path, part).unwrap();
        assert!(CorpusReader::open(&path).unwrap_err().to_string().contains("is no corpus of a run"));
        write(&path, (0..5).map(corpus));
        let bytes = std::fs::read(&path).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes[..bytes.len() / 2]).unwrap();
        assert!(CorpusReader::open(&path).unwrap_err().to_string().contains("is damaged"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_text_survives(texts in prop::collection::vec((any::<String>(), any::<String>()), 1..5)) {
            let folder = tempfile::tempdir().unwrap();
            let rows: Vec<_> = texts.into_iter().enumerate().map(|(at, (text, word))| {
                let document = SourceDocument::new(text, Neighbours::Unknown);
                let mut record = corpus(at as u64).0;
                record.document = document.hash;
                record.manifest_path = word.clone();
                record.violation_text = word;
                (record, document)
            }).collect();
            let path = folder.path().join("c");
            write(&path, rows.clone());
            let slice = CorpusReader::open(&path).unwrap().slice(0, u64::MAX).unwrap();
            prop_assert_eq!(slice.records, rows.iter().map(|(record, _)| record.clone()).collect::<Vec<_>>());
            for (record, document) in rows {
                prop_assert!(slice.documents.contains(&document), "{:?}", record);
            }
        }
    }
}
