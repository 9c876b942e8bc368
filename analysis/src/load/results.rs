//! The results of one or several runs as a lazy frame.

use std::path::{Path, PathBuf};

use dataset::run_file::RunFile;
use dataset::scan::{self, Part};
use dataset::schema;
use polars::prelude::*;

use super::columns;
use super::error::LoadError;
use super::places::Found;
use crate::error::AnalysisError;
use crate::query;

/// The rows of one or several runs. Nothing but footers is read before a query runs.
pub struct Results {
    frame: LazyFrame,
    runs: Vec<(PathBuf, RunFile)>,
    parts: Vec<PathBuf>,
}

impl Results {
    /// Finds and checks the parts behind `places`: run folders (by their `run.json`, else every `*.parquet` in
    /// them), globs, Parquet files, `file://` URLs. A file named twice is taken once.
    ///
    /// Refuses what does not exist, what is no part of results, and a file with other columns.
    pub fn load<S: AsRef<str>>(places: &[S]) -> Result<Self, LoadError> {
        let mut found = Found::default();
        for place in places {
            found.add(place.as_ref())?;
        }
        for path in &found.parts {
            scan::info(&Part::File(path.clone()))?;
            let schema = scan_files(std::slice::from_ref(path)).and_then(|mut frame| frame.collect_schema());
            let schema = schema.map_err(|source| LoadError::Scan { path: path.clone(), source })?;
            if let Some(problems) = columns::problems(&schema) {
                return Err(LoadError::Schema { path: path.clone(), problems });
            }
        }
        let frame = if found.parts.is_empty() {
            DataFrame::empty_with_schema(&columns::expected()).lazy()
        } else {
            scan_files(&found.parts).map_err(|source| LoadError::Scan {
                path: found.parts.first().cloned().unwrap_or_default(),
                source,
            })?
        };
        Ok(Self { frame, runs: found.runs, parts: found.parts })
    }

    /// The rows, with the columns of [`dataset::schema`].
    pub fn frame(&self) -> LazyFrame {
        self.frame.clone()
    }

    /// The runs whose folders were named.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = &RunFile> {
        self.runs.iter().map(|(_, run)| run)
    }

    /// The folders of those runs.
    pub fn folders(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.runs.iter().map(|(folder, _)| folder.as_path())
    }

    /// The Parquet files, each once.
    pub fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// Refuses results in which a record of a run occurs more than once.
    pub fn refuse_repeats(&self) -> Result<(), AnalysisError> {
        let repeats = self
            .frame()
            .group_by([col(schema::RUN_ID), col(schema::RECORD_ID)])
            .agg([query::rows("times")])
            .filter(col("times").gt(lit(1)))
            .sort([schema::RUN_ID, schema::RECORD_ID], SortMultipleOptions::default())
            .limit(1);
        match query::run(repeats)?.rows().next() {
            None => Ok(()),
            Some(row) => Err(AnalysisError::Repeated {
                run_id: row.word(schema::RUN_ID)?,
                record_id: row.word(schema::RECORD_ID)?,
                times: row.count("times")?,
            }),
        }
    }
}

fn scan_files(paths: &[PathBuf]) -> PolarsResult<LazyFrame> {
    let paths: Vec<PlRefPath> =
        paths.iter().map(|path| PlRefPath::try_from_path(path)).collect::<PolarsResult<_>>()?;
    // The paths are files: a `*` in a name is a letter of it.
    let args = ScanArgsParquet { glob: false, cache: false, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet_files(paths.into(), args)
}
