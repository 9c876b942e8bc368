//! Detects the format of a corpus by its name and first bytes.

use std::io::Read;
use std::path::Path;

use results::file_error::FileError;
use results::root::named;

use super::names::is_yaml;
use super::tar::is_tar;

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
        if metadata.is_dir() {
            return Ok(Self::Manifests);
        }
        let mut file = named(Path::new(path)).map_err(|refused| FileError::refused(path, &refused))?;
        if is_yaml(Path::new(path)) || is_tar(Path::new(path))? {
            return Ok(Self::Manifests);
        }
        let mut magic = [0; 4];
        let parquet = file.read_exact(&mut magic).is_ok() && magic == *b"PAR1";
        Ok(if parquet { Self::Parquet } else { Self::Json })
    }
}
