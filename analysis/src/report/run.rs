//! A run with everything computed about it once.

use std::path::PathBuf;

use dataset::run_file::RunFile;
use domain::outcome::Status;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::cases::{self, Case};
use crate::metrics::Extended;
use crate::metrics::failures::Failures;

/// A run of a report.
pub(super) struct Run {
    pub(super) id: String,
    /// Before the names of its files; empty when it is the only one.
    prefix: String,
    /// Behind its titles; empty when it is the only one.
    suffix: String,
    /// What it was, and its folder, where that was named.
    pub(super) file: Option<(PathBuf, RunFile)>,
    pub(super) results: Results,
    pub(super) metrics: Extended,
    /// What was not accepted.
    pub(super) failures: Failures,
    /// Its rows as plain values.
    pub(super) cases: Vec<Case>,
}

impl Run {
    /// Computes all runs of some results.
    pub(super) fn all(results: &Results) -> Result<Vec<Self>, AnalysisError> {
        results.refuse_repeats()?;
        let ids = results.run_ids()?;
        let alone = ids.len() == 1;
        // In the order in which they were named, where they were: before and after mean something then.
        let place = |id: &String| results.runs().position(|run| run.run_id.as_str() == id);
        let mut ids = ids;
        ids.sort_by_key(|id| place(id).unwrap_or(usize::MAX));
        ids.iter()
            .enumerate()
            .map(|(index, id)| {
                let of = results.of_run(id);
                let file =
                    of.folders().zip(of.runs()).next().map(|(path, run)| (path.to_owned(), run.clone()));
                Ok(Self {
                    prefix: if alone { String::new() } else { format!("run{}-", index + 1) },
                    suffix: if alone { String::new() } else { format!(", run {id}") },
                    metrics: Extended::compute(&of)?,
                    failures: Failures::compute(
                        &of,
                        &[Status::Rejected, Status::Error, Status::NeedsReview],
                    )?,
                    cases: cases::read(&of)?,
                    id: id.clone(),
                    file,
                    results: of,
                })
            })
            .collect()
    }

    /// The name of a file of this run.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A title that says what is counted, and of which run it is.
    pub(super) fn title(&self, what: &str, unit: &str, n: impl std::fmt::Display) -> String {
        let unit = if unit.is_empty() { String::new() } else { format!("{unit}; ") };
        format!("{what} ({unit}n = {n}{})", self.suffix)
    }
}
