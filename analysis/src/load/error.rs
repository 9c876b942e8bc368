//! Errors of loading results and of computing from them.

use std::io;
use std::path::PathBuf;

use results::run_file::RunFileError;
use results::scan::ScanError;
use results::store::StoreError;

/// An error of loading results.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{place} does not exist")]
    Missing { place: String },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place} holds no results: no run.json and no *.parquet")]
    Empty { place: String },
    #[error("{pattern:?} is not a pattern of file names: {reason}")]
    Pattern { pattern: String, reason: String },
    /// A bucket cannot be read.
    #[error("{source}")]
    Bucket { source: StoreError },
    /// The URL of a bucket folder that holds no run.
    #[error("{url} holds no run: name the folder of one, with its run.json")]
    NoRun { url: String },
    /// A URL of an unknown scheme.
    #[error("{url} is not a URL that results can be read from")]
    Url { url: String },
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    #[error("{}: run.json names the part {name:?}, which does not lie in its folder", folder.display())]
    Outside { folder: PathBuf, name: String },
    #[error("{}: the part {name:?} that run.json names is missing", folder.display())]
    PartMissing { folder: PathBuf, name: String },
    /// A file is not a part of results.
    #[error(transparent)]
    Part(#[from] ScanError),
    /// A file lacks columns, or has columns of another type.
    #[error("{}: foreign schema: {problems}", path.display())]
    Schema { path: PathBuf, problems: String },
}

/// An error of computing from results.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnalysisError {
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A run's copy of its corpus cannot be read.
    #[error("cannot read the run's corpus")]
    Corpus(#[from] results::corpus_copy::FileError),
    /// A record occurs more than once, so every count would be wrong.
    #[error("record {record_id:?} of run {run_id:?} occurs {times} times in the results")]
    Repeated { run_id: String, record_id: String, times: u64 },
}
