//! Slices of the corpus, group by group, with a cache of the last decoded groups.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch, StringArray};
use domain::ids::{DocumentHash, RecordId};
use domain::outcome::ErrorKind;
use domain::record::{Neighbours, Problem, Record, Slice, SourceDocument};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::{
    DOCUMENT, DOCUMENT_HASH, FORMAT_KEY, FORMAT_VERSION, GROUP_ROWS, ID, MANIFEST_PATH, NEIGHBOURS, POSITION,
    PROBLEM_KIND, PROBLEM_MESSAGE, RAW_POLICY_ID, VIOLATION_TEXT,
};
use crate::file_error::FileError;

/// Groups that a reader keeps decoded.
const CACHED_GROUPS: usize = 3;

const REMEDY: &str = "submit the corpus again under another run id";

/// Reads slices of a corpus that [`super::CorpusWriter`] wrote. May be shared between threads.
#[derive(Debug)]
pub struct CorpusReader {
    name: String,
    metadata: ArrowReaderMetadata,
    /// First position of each group, and at last the number of records.
    pub(super) bounds: Vec<u64>,
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
            None => return Err(broken("is not the corpus of a run".to_owned())),
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
        column(name)?.as_string_opt::<i32>().ok_or_else(|| format!("column {name} is not of type text"))
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
