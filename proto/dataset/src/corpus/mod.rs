//! Corpora in: streaming readers of every form a corpus comes in, and the run's own copy on disk.
//!
//! A bad entry is a value among the others ([`Malformed`]); only a file that cannot be read on is an error
//! ([`FileError`]).

mod error;
mod files;
mod input;
pub mod json;
mod manifests;
mod parquet;
mod slices;
mod tar;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use domain::published::Detection;

pub use self::parquet::{ParquetDetections, ParquetDetectionsWriter};
pub use error::{FileError, Place};
pub use files::{FileProblem, Files, SourceFile};
pub use input::Input;
pub use json::Detections;
pub use manifests::{ManifestProblem, Manifests};
pub use slices::{CorpusReader, CorpusSummary, CorpusWriter, FoundCorpus, check_corpus};

/// One entry of a file of detections.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// 0-based place among the entries.
    pub index: u64,
    /// The detection, or why the entry is none.
    pub content: Result<Detection, Malformed>,
}

/// An entry that is no detection. The others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Its id, when that much could be read.
    pub id: Option<String>,
    /// Its policy, when that much could be read.
    pub policy_id: Option<String>,
    /// Its path, when that much could be read.
    pub manifest_path: Option<String>,
    /// What is wrong, where, and what to do about it.
    pub message: String,
}

impl Malformed {
    fn of(message: String) -> Self {
        Self { id: None, policy_id: None, manifest_path: None, message }
    }
}

/// What lies at a corpus path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder, a tar archive or one YAML file: manifests, to be searched by the detector.
    Manifests,
    /// Published detections as JSON or JSON lines, plain or gz; also standard input.
    Json,
    /// Detections as Parquet.
    Parquet,
}

impl Format {
    /// Looks at the path and, for a file, at its name and first bytes.
    pub fn of(path: &str) -> Result<Self, FileError> {
        if path == "-" {
            return Ok(Self::Json);
        }
        let metadata = std::fs::metadata(path).map_err(|error| FileError::open(path, error))?;
        if metadata.is_dir() || is_yaml(Path::new(path)) || self::tar::is_tar(Path::new(path))? {
            return Ok(Self::Manifests);
        }
        let mut magic = [0; 4];
        let mut file = File::open(path).map_err(|error| FileError::open(path, error))?;
        let parquet = file.read_exact(&mut magic).is_ok() && magic == *b"PAR1";
        Ok(if parquet { Self::Parquet } else { Self::Json })
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

fn is_manifest(path: &Path) -> bool {
    is_yaml(path) || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"))
}
