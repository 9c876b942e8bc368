//! Verifies a run's copy of its corpus by hashing every document and every record again.

use std::path::Path;

use domain::ids::CorpusHash;
use domain::record::SourceDocument;

use super::CorpusReader;
use super::writer::hash_record;
use crate::file_error::FileError;

/// Records that are read at a time.
const STRIDE: u64 = 1000;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundCorpus {
    /// How many records.
    pub records: u64,
    /// Hash over content and order, as the writer takes it. A document that is not what its hash says gives another one.
    pub corpus_hash: CorpusHash,
}

/// Reads the whole corpus at `path`. Blocks.
pub fn check_corpus(path: &Path) -> Result<FoundCorpus, FileError> {
    let reader = CorpusReader::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut records = 0;
    while records < reader.records() {
        let slice = reader.slice(records, STRIDE)?;
        if slice.records.is_empty() {
            break;
        }
        for document in slice.documents {
            let known = document.hash;
            if SourceDocument::new(document.text, document.neighbours).hash != known {
                // Not a byte that any corpus has here.
                hasher.update(known.as_bytes());
            }
        }
        for record in &slice.records {
            hash_record(&mut hasher, record);
            records += 1;
        }
    }
    hasher.update(&records.to_le_bytes());
    Ok(FoundCorpus { records, corpus_hash: CorpusHash::from_bytes(*hasher.finalize().as_bytes()) })
}
