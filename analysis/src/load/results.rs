//! The results of one or several runs as a lazy frame.

use std::path::{Path, PathBuf};

use polars::prelude::*;
use results::run_file::RunFile;
use results::scan::{self, Part};
use results::schema::{self, COLUMNS, Kind};

use super::columns;
use super::error::{AnalysisError, LoadError};
use super::places::Found;
use super::query;

/// The rows of one or several runs. Before a query runs, only the footers of the files are read.
pub(crate) struct Results {
    frame: LazyFrame,
    /// The rows as written, with non-finite numbers.
    raw: LazyFrame,
    runs: Vec<(PathBuf, RunFile)>,
    parts: Vec<PathBuf>,
}

impl Results {
    /// Finds and checks the parts behind `places`: run folders (by their `run.json`, else every `*.parquet` in
    /// them), globs, Parquet files, `file://` URLs. A file named twice is used once.
    ///
    /// Fails for places that do not exist, files that are not parts of results, and files with other columns.
    pub(crate) fn load<S: AsRef<str>>(places: &[S]) -> Result<Self, LoadError> {
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
        Ok(Self { frame: measured(frame.clone()), raw: frame, runs: found.runs, parts: found.parts })
    }

    /// The rows, with the columns of [`results::schema`]. Non-finite timings and prices are null;
    /// [`Self::not_finite`] counts them.
    pub(crate) fn frame(&self) -> LazyFrame {
        self.frame.clone()
    }

    /// The runs that were named by their folders.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = &RunFile> {
        self.runs.iter().map(|(_, run)| run)
    }

    pub(crate) fn folders(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.runs.iter().map(|(folder, _)| folder.as_path())
    }

    /// The Parquet files without repeats.
    pub(crate) fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// The ids of all runs that occur in the rows, in alphabetical order.
    pub(crate) fn run_ids(&self) -> Result<Vec<String>, AnalysisError> {
        let ids = self.frame().group_by([col(schema::RUN_ID)]).agg([query::rows("rows")]);
        let mut ids: Vec<String> =
            query::run(ids)?.rows().map(|row| row.word(schema::RUN_ID)).collect::<PolarsResult<_>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// The rows of one run, with its folder if that was named.
    #[must_use]
    pub(crate) fn of_run(&self, run_id: &str) -> Self {
        Self {
            frame: self.frame().filter(col(schema::RUN_ID).eq(lit(run_id))),
            raw: self.raw.clone().filter(col(schema::RUN_ID).eq(lit(run_id))),
            runs: self.runs.iter().filter(|(_, run)| run.run_id.as_str() == run_id).cloned().collect(),
            parts: self.parts.clone(),
        }
    }

    /// Number of non-finite timings and prices; they count as not measured.
    pub(crate) fn not_finite(&self) -> Result<u64, AnalysisError> {
        let none = real_columns().map(|name| col(name).is_finite().not().sum().cast(DataType::UInt64));
        let Some(sum) = none.reduce(|a, b| a + b) else { return Ok(0) };
        Ok(query::run(self.raw.clone().select([sum.alias("none")]))?.only().count("none")?)
    }

    /// Fails if a record of a run occurs more than once.
    pub(crate) fn refuse_repeats(&self) -> Result<(), AnalysisError> {
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

fn real_columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().filter(|(_, kind, _)| *kind == Kind::F64OrNull).map(|(name, _, _)| *name)
}

fn measured(frame: LazyFrame) -> LazyFrame {
    let finite = |name| when(col(name).is_finite()).then(col(name)).otherwise(lit(NULL)).alias(name);
    frame.with_columns(real_columns().map(finite).collect::<Vec<_>>())
}

fn scan_files(paths: &[PathBuf]) -> PolarsResult<LazyFrame> {
    let paths: Vec<PlRefPath> =
        paths.iter().map(|path| PlRefPath::try_from_path(path)).collect::<PolarsResult<_>>()?;
    // No globbing: the paths are files, and `*` is a valid character of a file name.
    let args = ScanArgsParquet { glob: false, cache: false, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet_files(paths.into(), args)
}
