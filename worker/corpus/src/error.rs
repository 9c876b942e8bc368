//! Why an input as a whole cannot be read. A problem of one record is part of the record.

use std::io;
use std::path::PathBuf;

use domain::ids::InvalidId;
use results::file_error::FileError;

/// An input as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The path does not exist, or its permissions do not allow to read it.
    #[error(
        "cannot read {0}: {1}; name a folder, a file or an archive of manifests, or - for standard input"
    )]
    Path(String, io::Error),
    /// Standard input broke off.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    /// A path that cannot be written into records.
    #[error("path {} is not UTF-8: rename it", .0.display())]
    NotUtf8(PathBuf),
    /// Whole documents are wanted, and there are no manifests to read them from.
    #[error(
        "documents: manifest needs the manifests that the records were found in: add --manifests with their folder or \
         archive, or use documents: record"
    )]
    NoManifests,
    /// Nothing in the input has the form of a record or of a manifest.
    #[error(
        "{path}: nothing in it is a record or a manifest ({first}); records are objects with id and policy_id: a JSON list, alone \
         or under one key of an object, JSON lines, or Parquet; manifests are objects with kind: a folder, an archive or a file of \
         YAML or JSON"
    )]
    NoRecord {
        /// The input.
        path: String,
        /// What is wrong with the first entry.
        first: String,
    },
    /// A file of the input is damaged or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The corpus has more records than ids can be made for.
    #[error(transparent)]
    Id(#[from] InvalidId),
}
