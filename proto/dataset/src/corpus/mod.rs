//! Corpora in: streaming readers of every form a corpus comes in, and the run's own copy on disk.
//!
//! A bad entry is a value among the others ([`Malformed`]); only a file that cannot be read on is an error
//! ([`FileError`]).

mod entry;
mod error;
mod files;
mod format;
mod input;
pub mod json;
mod manifests;
mod names;
mod parquet;
mod slices;
mod tar;
mod text;
mod walk;

pub use self::parquet::{ParquetDetections, ParquetDetectionsWriter};
pub use entry::{Entry, Malformed};
pub use error::{FileError, Place};
pub use files::{Files, SourceFile};
pub use format::Format;
pub use input::Input;
pub use json::Detections;
pub use manifests::{ManifestProblem, Manifests};
pub use slices::{CorpusReader, CorpusSummary, CorpusWriter, FoundCorpus, check_corpus};
pub use text::FileProblem;
