//! Why results cannot be loaded, or nothing be computed from them.

use std::io;
use std::path::PathBuf;

use dataset::run_file::RunFileError;
use dataset::scan::ScanError;
use polars::error::PolarsError;

/// Why results cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{place} does not exist")]
    Missing {
        /// What was asked for.
        place: String,
    },
    /// A place that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file or folder.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A folder or a pattern without results.
    #[error("{place} holds no results: no run.json and no *.parquet")]
    Empty {
        /// What was asked for.
        place: String,
    },
    #[error("{pattern:?} is not a pattern of file names: {reason}")]
    Pattern {
        /// What was asked for.
        pattern: String,
        reason: String,
    },
    /// A URL that this build cannot read.
    #[error("{url} cannot be read by this build: it lacks the feature {feature:?} of polars")]
    NotBuilt {
        /// What was asked for.
        url: String,
        feature: &'static str,
    },
    /// A URL of an unknown kind.
    #[error("{url} is not a URL that results can be read from")]
    Url {
        /// What was asked for.
        url: String,
    },
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// `run.json` names a part outside its folder.
    #[error("{}: run.json names the part {name:?}, which does not lie in its folder", folder.display())]
    Outside {
        /// The folder of the run.
        folder: PathBuf,
        name: String,
    },
    /// `run.json` names a part that is not there.
    #[error("{}: the part {name:?} that run.json names is missing", folder.display())]
    PartMissing {
        /// The folder of the run.
        folder: PathBuf,
        name: String,
    },
    /// A file is no part of results.
    #[error(transparent)]
    Part(#[from] ScanError),
    /// A file has other columns.
    #[error("{}: foreign schema: {problems}", path.display())]
    Schema {
        path: PathBuf,
        /// The columns that are missing or of another type.
        problems: String,
    },
    /// Polars refuses the file.
    #[error("cannot scan {}", path.display())]
    Scan {
        path: PathBuf,
        #[source]
        source: PolarsError,
    },
}

/// Why an analysis fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnalysisError {
    /// The results cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A query over the results fails: a damaged file, or memory.
    #[error("cannot compute from the results")]
    Query(#[from] PolarsError),
    /// The same record occurs twice, so every count would be wrong.
    #[error("record {record_id:?} of run {run_id:?} occurs {times} times in the results")]
    Repeated { run_id: String, record_id: String, times: u64 },
}
