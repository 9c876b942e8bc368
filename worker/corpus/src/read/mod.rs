//! Streaming readers of every form a corpus comes in.
//!
//! A bad entry is a value among the others ([`Malformed`](results::input::json::Malformed)); only a file that cannot be read any further is
//! an error ([`FileError`](results::file_error::FileError)).

mod archive;
mod files;
mod format;
mod manifests;
mod names;
mod parquet;
mod text;
mod walk;

pub use self::parquet::{ParquetDetections, ParquetDetectionsWriter};
pub(crate) use archive::is_archive;
pub use files::{FileId, Files, SourceFile};
pub use format::Format;
pub use manifests::{ManifestProblem, Manifests};
pub(crate) use names::{NAME_BYTES, shortened};
pub use text::FileProblem;
pub(crate) use text::as_text;
