//! The entries of one published file in a temporary file, found by their id.
//!
//! *Invariant*: memory holds ids and offsets, not entries.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use domain::config::Limits;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::tally::Tally;
use crate::file_error::FileError;
use crate::input::json::Elements;

/// What a file of entries gave, and where its entries lie.
pub(super) struct Spool {
    name: String,
    file: File,
    entries: Vec<(u64, usize)>,
    by_id: HashMap<String, usize>,
    pub(super) tally: Tally,
}

#[derive(Deserialize)]
struct Head {
    id: String,
}

impl Spool {
    /// Reads the whole file through. Of several entries with one id the last counts.
    pub(super) fn read(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let mut elements = Elements::open(path, limits)?;
        let failed = |error| FileError::write("temporary file for the import", error);
        let mut out = BufWriter::with_capacity(1 << 18, tempfile::tempfile().map_err(failed)?);
        let (mut entries, mut by_id, mut tally) = (Vec::new(), HashMap::new(), Tally::default());
        let mut written = 0_u64;
        loop {
            let mut stored = None;
            let next = elements.next_with(|bytes| {
                if !bytes.starts_with(b"{") {
                    return Ok(());
                }
                let head: Head = serde_json::from_slice(bytes)?;
                stored = Some((head.id, out.write_all(bytes), bytes.len()));
                Ok(())
            })?;
            let Some(element) = next else { break };
            tally.entries += 1;
            match (element.content, stored) {
                (Err(malformed), _) => tally.malformed(malformed.message),
                (Ok(()), None) => tally.no_objects += 1,
                (Ok(()), Some((id, result, length))) => {
                    result.map_err(failed)?;
                    if by_id.insert(id, entries.len()).is_some() {
                        tally.superseded += 1;
                    }
                    entries.push((written, length));
                    written += length as u64;
                }
            }
        }
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Self { name: path.to_owned(), file, entries, by_id, tally })
    }

    /// How many entries are kept, the superseded ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether entry `index` is the one that counts for `id`.
    pub(super) fn counts(&self, id: &str, index: usize) -> bool {
        self.by_id.get(id) == Some(&index)
    }

    /// The entry of `id`.
    pub(super) fn by_id(&mut self, id: &str) -> Result<Option<Map<String, Value>>, FileError> {
        self.by_id.get(id).copied().map(|index| self.entry(index)).transpose()
    }

    /// Entry `index`, in the order of the file.
    pub(super) fn entry(&mut self, index: usize) -> Result<Map<String, Value>, FileError> {
        let (offset, length) = self.entries.get(index).copied().unwrap_or_default();
        let mut bytes = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| FileError::read("temporary file of the import", None, error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let what = format!("entry {}: {error}", index + 1);
            FileError::new(&self.name, None, what, "repair the entry")
        })
    }

    /// The ids without a partner in `other`, sorted.
    pub(super) fn without(&self, other: &Self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.by_id.keys().filter(|id| !other.by_id.contains_key(*id)).cloned().collect();
        ids.sort_unstable();
        ids
    }
}
