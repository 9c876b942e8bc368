//! The door of the intake: which form an input has, and what was read of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use cli_support::failure::WithHint;
use domain::config::{Documents, RunConfig};
use domain::outcome::ErrorKind;
use domain::record::{Record, SourceDocument};
use results::json::Detections;

use crate::detected;
use crate::detections::Published;
use crate::read::{Format, ParquetDetections};
use crate::resolve::Resolver;
use crate::sink::Sink;

/// Where a corpus comes from.
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

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Which form the input had.
    pub form: Form,
    /// Which documents the records carry; those of manifests are always whole.
    pub documents: Documents,
    /// How many records there are.
    pub records: u64,
    /// How many records cannot be processed, by the sort of trouble.
    pub problems: BTreeMap<ErrorKind, u64>,
}

/// Reads a corpus and hands every record with its document to `each`, in the order of the corpus.
///
/// # Errors
/// When the input as a whole cannot be read, when `documents: manifest` is asked of published records without
/// manifests, or when `each` fails. What is wrong with one record is its `problem`.
pub fn read(
    source: &Source,
    config: &RunConfig,
    each: &mut dyn FnMut(Record, SourceDocument) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let corpus = text_of(&source.corpus)?;
    let mut sink = Sink::new(each);
    let limits = &config.limits;
    let form = match Format::of(corpus)? {
        Format::Manifests => {
            detected::read(corpus, config, &mut sink)?;
            Form::Manifests
        }
        format => {
            let mut published = Published::new(config, resolver(source, config)?);
            let mut take = |entry| {
                let (record, document) = published.record(entry, sink.next_position())?;
                sink.put(record, document)
            };
            if format == Format::Parquet {
                ParquetDetections::open(corpus, limits)?.try_for_each(|entry| take(entry?))?;
            } else {
                Detections::open(corpus, limits)?.try_for_each(|entry| take(entry?))?;
            }
            Form::Detections
        }
    };
    let documents = if form == Form::Manifests { Documents::Manifest } else { config.documents };
    Ok(Summary { form, documents, records: sink.records, problems: sink.problems })
}

fn text_of(path: &std::path::Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("path {} is not UTF-8", path.display()))
}

fn resolver(source: &Source, config: &RunConfig) -> anyhow::Result<Option<Resolver>> {
    match &source.manifests {
        Some(path) => Ok(Some(Resolver::open(text_of(path)?, &config.limits)?)),
        None if config.documents == Documents::Manifest => {
            Err(anyhow::anyhow!("documents: manifest needs the manifests that the records were found in"))
                .hint("add --manifests with their folder or archive, or use documents: record")
        }
        None => Ok(None),
    }
}
