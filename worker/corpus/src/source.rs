//! Reads a corpus of any form into records with their documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::config::{Documents, RunConfig};
use domain::outcome::ErrorKind;
use domain::record::{Record, SourceDocument};
use results::file_error::FileError;
use results::input::json::{Detections, Entry};

use crate::detected;
use crate::detections::Published;
use crate::error::CorpusError;
use crate::read::{Format, ParquetDetections};
use crate::resolve::Resolver;
use crate::sink::Sink;

/// Paths of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A folder, an archive or a file of manifests; published detections as JSON or Parquet; `-` for standard input.
    pub corpus: PathBuf,
    /// A folder or an archive of manifests, for published records whose whole document is wanted.
    pub manifests: Option<PathBuf>,
}

/// Which form the input had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Manifests, which went through the detector.
    Manifests,
    /// Published detections.
    Detections,
}

/// What [`read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Which form the input had.
    pub form: Form,
    /// Which documents the records carry; those of manifests are always whole.
    pub documents: Documents,
    /// Records read.
    pub records: u64,
    /// Records that cannot be processed, by the kind of their error.
    pub problems: BTreeMap<ErrorKind, u64>,
}

/// Reads a corpus and passes every record with its document to `each`, in the order of the corpus.
///
/// # Errors
/// When the input as a whole cannot be read, when `documents: manifest` is set for published records without manifests,
/// or when `each` fails. What is wrong with one record is its `problem`.
pub fn read<E: From<CorpusError>>(
    source: &Source,
    config: &RunConfig,
    each: &mut dyn FnMut(Record, SourceDocument) -> Result<(), E>,
) -> Result<Summary, E> {
    let corpus = text_of(&source.corpus)?;
    let mut sink = Sink::new(each);
    let limits = &config.limits;
    let form = match Format::of(corpus).map_err(CorpusError::from)? {
        Format::Manifests => {
            detected::read(corpus, config, &mut sink)?;
            Form::Manifests
        }
        format => {
            let mut published = Published::new(config, resolver(source, config)?);
            let mut unlike = Unlike::default();
            let mut put = |entry: Entry| {
                let (record, document) =
                    published.record(entry, sink.next_position()).map_err(CorpusError::from)?;
                sink.put(record, document)
            };
            let mut take = |entry: Result<Entry, FileError>| {
                unlike.take(entry.map_err(CorpusError::from)?).into_iter().try_for_each(&mut put)
            };
            if format == Format::Parquet {
                let mut entries = ParquetDetections::open(corpus, limits).map_err(CorpusError::from)?;
                entries.try_for_each(&mut take)?;
            } else {
                let mut entries = Detections::open(corpus, limits).map_err(CorpusError::from)?;
                entries.try_for_each(&mut take)?;
            }
            unlike.check(corpus)?;
            Form::Detections
        }
    };
    let documents = if form == Form::Manifests { Documents::Manifest } else { config.documents };
    Ok(Summary { form, documents, records: sink.records, problems: sink.problems })
}

/// Entries of which nothing is like a record, held back as long as no other comes.
#[derive(Debug, Default)]
struct Unlike {
    held: Vec<Entry>,
    /// What is wrong with the first entry.
    first: Option<String>,
    /// Whether an entry was like a record.
    is_corpus: bool,
}

impl Unlike {
    /// Most entries that are held back.
    const MOST: usize = 10_000;

    /// The entries that may be passed on.
    fn take(&mut self, entry: Entry) -> Vec<Entry> {
        match &entry.content {
            Err(malformed) if malformed.is_no_record() => {
                self.first.get_or_insert_with(|| malformed.message.clone());
            }
            _ => self.is_corpus = true,
        }
        self.held.push(entry);
        if self.is_corpus || self.held.len() > Self::MOST {
            std::mem::take(&mut self.held)
        } else {
            Vec::new()
        }
    }

    /// Fails when there were entries, and none like a record.
    fn check(self, path: &str) -> Result<(), CorpusError> {
        match self.first {
            Some(first) if !self.is_corpus => Err(CorpusError::NoRecord { path: path.to_owned(), first }),
            _ => Ok(()),
        }
    }
}

fn text_of(path: &Path) -> Result<&str, CorpusError> {
    path.to_str().ok_or_else(|| CorpusError::NotUtf8(path.to_owned()))
}

fn resolver(source: &Source, config: &RunConfig) -> Result<Option<Resolver>, CorpusError> {
    match &source.manifests {
        Some(path) => Ok(Some(Resolver::open(text_of(path)?, &config.limits)?)),
        None if config.documents == Documents::Manifest => Err(CorpusError::NoManifests),
        None => Ok(None),
    }
}
