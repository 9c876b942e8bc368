//! A run → the three published files, streamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use domain::outcome::Outcome;
use domain::record::{Record, SourceDocument};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::shape::{Entries, Entry};
use crate::corpus_copy::CorpusReader;
use crate::file_error::FileError;
use crate::scan::{Part, ScanError, outcomes};

/// Records of the corpus that are read at once.
const SLICE: u64 = 1000;

/// What to write where.
#[derive(Debug, Clone)]
pub struct Export<'a> {
    /// The run's own copy of its corpus.
    pub corpus: &'a CorpusReader,
    /// Its parts, in the order of the corpus.
    pub parts: Vec<Part>,
    /// The folder that gets `detections.json`, `patches.json` and `verified.json`; made when missing.
    pub to: &'a Path,
    /// Whether to write `.json.gz` instead.
    pub gz: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The three files.
    pub files: [PathBuf; 3],
    /// Entries in each of them.
    pub entries: [u64; 3],
}

/// Why an export failed; no file appears then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum ExportError {
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] FileError),
    /// A part cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Rows and records do not belong together.
    #[error("the row of position {position} is that of record {row:?}, the corpus has {record:?} there")]
    Mismatch {
        position: u64,
        row: String,
        /// Empty when the corpus ends before.
        record: String,
    },
    /// The column `published` holds what no import wrote.
    #[error("record {record:?}: the column 'published' cannot be read: {reason}")]
    Published { record: String, reason: String },
}

/// Writes the published files of a run: an entry for every row, in the order of the rows.
pub fn export(export: Export<'_>) -> Result<Exported, ExportError> {
    let Export { corpus, parts, to, gz } = export;
    let failed = |source| ExportError::Write { path: to.to_owned(), source };
    std::fs::create_dir_all(to).map_err(failed)?;
    let mut arrays = [Array::new(to, gz)?, Array::new(to, gz)?, Array::new(to, gz)?];
    let mut window = Window::new(corpus);
    for row in outcomes(parts) {
        let row = row?;
        let entries = entries(&mut window, &row)?;
        let own = [entries.detection, entries.patch, entries.verified];
        for (array, entry) in arrays.iter_mut().zip(own) {
            if let Some(entry) = entry {
                array.push(&entry).map_err(failed)?;
            }
        }
    }
    let counts = [arrays[0].entries, arrays[1].entries, arrays[2].entries];
    let end = if gz { ".json.gz" } else { ".json" };
    let files = ["detections", "patches", "verified"].map(|name| to.join(format!("{name}{end}")));
    let done = arrays.into_iter().map(Array::finish).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    for (file, path) in done.into_iter().zip(&files) {
        file.persist(path).map_err(|error| ExportError::Write { path: path.clone(), source: error.error })?;
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Exported { files, entries: counts })
}

fn entries(window: &mut Window<'_>, row: &Outcome) -> Result<Entries, ExportError> {
    let mismatch = |record: &str| ExportError::Mismatch {
        position: row.position,
        row: row.record_id.to_string(),
        record: record.to_owned(),
    };
    let (record, document) = window.at(row.position)?.ok_or_else(|| mismatch(""))?;
    if record.id != row.record_id {
        return Err(mismatch(record.id.as_str()));
    }
    let entries = Entries::of(record, &document.text, row);
    match &row.published {
        None => Ok(entries),
        Some(difference) => entries
            .apply(difference)
            .map_err(|reason| ExportError::Published { record: record.id.to_string(), reason }),
    }
}

/// The records around the row at hand.
struct Window<'a> {
    corpus: &'a CorpusReader,
    start: u64,
    records: Vec<Record>,
    documents: std::collections::HashMap<domain::ids::DocumentHash, SourceDocument>,
}

impl<'a> Window<'a> {
    fn new(corpus: &'a CorpusReader) -> Self {
        Self { corpus, start: 0, records: Vec::new(), documents: std::collections::HashMap::new() }
    }

    fn at(&mut self, position: u64) -> Result<Option<(&Record, &SourceDocument)>, FileError> {
        let end = self.start + self.records.len() as u64;
        if !(self.start..end).contains(&position) {
            let slice = self.corpus.slice(position, SLICE)?;
            self.start = position;
            self.records = slice.records;
            self.documents = slice.documents.into_iter().map(|document| (document.hash, document)).collect();
        }
        let record = usize::try_from(position - self.start).ok().and_then(|at| self.records.get(at));
        Ok(record.and_then(|record| Some((record, self.documents.get(&record.document)?))))
    }
}

/// A JSON array that is written entry by entry, with an indent of two blanks as published.
struct Array {
    out: Sink,
    entries: u64,
}

enum Sink {
    Plain(BufWriter<NamedTempFile>),
    Gz(Box<GzEncoder<BufWriter<NamedTempFile>>>),
}

impl Sink {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gz(out) => out,
        }
    }
}

impl Array {
    fn new(folder: &Path, gz: bool) -> Result<Self, ExportError> {
        let file = NamedTempFile::new_in(folder)
            .map_err(|source| ExportError::Write { path: folder.to_owned(), source })?;
        let file = BufWriter::with_capacity(1 << 18, file);
        let out = if gz {
            Sink::Gz(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Sink::Plain(file)
        };
        Ok(Self { out, entries: 0 })
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let before = if self.entries == 0 { "[\n  " } else { ",\n  " };
        self.entries += 1;
        // Line breaks of a pretty text stand between its tokens, never inside a string.
        let text = serde_json::to_string_pretty(entry)?.replace('\n', "\n  ");
        let out = self.out.writer();
        out.write_all(before.as_bytes())?;
        out.write_all(text.as_bytes())
    }

    fn finish(mut self) -> io::Result<NamedTempFile> {
        let end = if self.entries == 0 { "[]\n" } else { "\n]\n" };
        self.out.writer().write_all(end.as_bytes())?;
        let file = match self.out {
            Sink::Plain(out) => out,
            Sink::Gz(out) => out.finish()?,
        };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}
