//! The results of one or several runs, read row by row.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use arrow_array::RecordBatch;
use results::run_file::RunFile;
use results::scan::{self, Part, ScanError};
use results::schema;
use tempfile::TempDir;

use super::columns;
use super::error::{AnalysisError, LoadError};
use super::places::Found;
use super::rows::{Cell as _, Rows, rows};

/// Batches of a part that are decoded before they are used.
const AHEAD: usize = 16;

/// The rows of one or several runs. Before a query runs, only the footers of the files are read.
pub(crate) struct Results {
    /// The run whose rows are read; `None`: all.
    only: Option<String>,
    runs: Vec<(PathBuf, RunFile)>,
    parts: Vec<PathBuf>,
    /// Folders of runs that were fetched; deleted with the last copy of this value.
    fetched: Arc<Vec<TempDir>>,
}

rows! {
    struct Key<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
    }
}

impl Key<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.run, self.record).hash(&mut hasher);
        hasher.finish()
    }
}

rows! {
    struct Run<'a> {
        id: &'a str = [schema::RUN_ID],
    }
}

impl Results {
    /// Finds and checks the parts behind `places`: run folders (by their `run.json`, else every `*.parquet` in
    /// them), globs, Parquet files, `file://` URLs, URLs of runs in buckets. A file named twice is used once.
    ///
    /// Fails for places that do not exist, files that are not parts of results, and files with other columns.
    pub(crate) fn load<S: AsRef<str>>(places: &[S]) -> Result<Self, LoadError> {
        let mut found = Found::default();
        for place in places {
            found.add(place.as_ref())?;
        }
        for path in &found.parts {
            scan::info(&Part::File(path.clone()))?;
            if let Some(problems) = columns::problems(&columns::found(path)?) {
                return Err(LoadError::Schema { path: path.clone(), problems });
            }
        }
        Ok(Self { only: None, runs: found.runs, parts: found.parts, fetched: Arc::new(found.fetched) })
    }

    /// Visits every row with the columns of `R`, in the order of the parts and of their rows. Other threads decode, at
    /// most [`AHEAD`] batches of a part ahead of the visit.
    pub(crate) fn each<R: Rows>(&self, mut visit: impl FnMut(R::Row<'_>)) -> Result<(), AnalysisError> {
        let mut columns = R::columns();
        columns.extend(self.only.as_ref().map(|_| schema::RUN_ID));
        let width = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let (mut parts, mut open) = (self.parts.iter(), VecDeque::new());
            loop {
                for part in parts.by_ref().take(width - open.len()) {
                    let (sender, receiver) = mpsc::sync_channel(AHEAD);
                    let columns = columns.as_slice();
                    scope.spawn(move || {
                        for batch in scan::batches([Part::File(part.clone())], Some(columns)) {
                            // The receiver is dropped when another part cannot be read.
                            if sender.send(batch).is_err() {
                                return;
                            }
                        }
                    });
                    open.push_back(receiver);
                }
                let Some(receiver) = open.pop_front() else { return Ok(()) };
                for batch in receiver {
                    let (part, batch) = batch.map_err(LoadError::from)?;
                    self.visit::<R>(&batch, &mut visit).map_err(|problem| {
                        LoadError::from(ScanError { part: part.name(), problem: problem.into() })
                    })?;
                }
            }
        })
    }

    fn visit<R: Rows>(
        &self,
        batch: &RecordBatch,
        visit: &mut impl FnMut(R::Row<'_>),
    ) -> Result<(), scan::DecodeError> {
        let Some(only) = &self.only else { return R::visit(batch, |_| true, visit) };
        let runs = <&str>::open(batch, &[schema::RUN_ID])?;
        R::visit(batch, |row| <&str>::at(&runs, row) == only, visit)
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
        let mut ids = BTreeSet::new();
        self.each::<Run>(|row| {
            if !ids.contains(row.id) {
                ids.insert(row.id.to_owned());
            }
        })?;
        Ok(ids.into_iter().collect())
    }

    pub(crate) fn count(&self) -> Result<usize, AnalysisError> {
        let mut rows = 0;
        self.each::<Run>(|_| rows += 1)?;
        Ok(rows)
    }

    /// The rows of one run, with its folder if that was named.
    #[must_use]
    pub(crate) fn of_run(&self, run_id: &str) -> Self {
        Self {
            only: Some(run_id.to_owned()),
            runs: self.runs.iter().filter(|(_, run)| run.run_id.as_str() == run_id).cloned().collect(),
            parts: self.parts.clone(),
            fetched: Arc::clone(&self.fetched),
        }
    }

    /// Fails if a record of a run occurs more than once.
    pub(crate) fn refuse_repeats(&self) -> Result<(), AnalysisError> {
        let mut hashes = vec![];
        self.each::<Key>(|row| hashes.push(row.hash()))?;
        hashes.sort_unstable();
        let twice: HashSet<u64> = hashes
            .windows(2)
            .filter(|pair| pair.first() == pair.last())
            .filter_map(|pair| pair.first().copied())
            .collect();
        if twice.is_empty() {
            return Ok(());
        }
        // Different records may have the same hash.
        let mut times: BTreeMap<(String, String), u64> = BTreeMap::new();
        self.each::<Key>(|row| {
            if twice.contains(&row.hash()) {
                *times.entry((row.run.to_owned(), row.record.to_owned())).or_default() += 1;
            }
        })?;
        match times.into_iter().find(|(_, times)| *times > 1) {
            None => Ok(()),
            Some(((run_id, record_id), times)) => Err(AnalysisError::Repeated { run_id, record_id, times }),
        }
    }
}
