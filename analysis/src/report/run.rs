//! A run of a report, with the figures that several sections use.

use std::path::PathBuf;

use domain::outcome::Status;
use results::run_file::RunFile;

use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::cases::{self, Case};
use crate::metrics::Extended;
use crate::metrics::failures::{Failures, Kind};

pub(super) struct Run {
    pub(super) id: String,
    /// Prefix of its file names; empty for a single run.
    prefix: String,
    /// Suffix of its titles; empty for a single run.
    suffix: String,
    /// Its folder and `run.json`, if the folder was named.
    pub(super) file: Option<(PathBuf, RunFile)>,
    pub(super) results: Results,
    pub(super) metrics: Extended,
    pub(super) failures: Failures,
    /// The failures by kind of reason.
    pub(super) kinds: Vec<Kind>,
    pub(super) cases: Vec<Case>,
}

impl Run {
    pub(super) fn all(results: &Results) -> Result<Vec<Self>, AnalysisError> {
        results.refuse_repeats()?;
        let ids = results.run_ids()?;
        let alone = ids.len() == 1;
        // In the order in which they were named, because the comparison is directed.
        let place = |id: &String| results.runs().position(|run| run.run_id.as_str() == id);
        let mut ids = ids;
        ids.sort_by_key(|id| place(id).unwrap_or(usize::MAX));
        ids.iter()
            .enumerate()
            .map(|(index, id)| {
                let of = results.of_run(id);
                let file =
                    of.folders().zip(of.runs()).next().map(|(path, run)| (path.to_owned(), run.clone()));
                let failures =
                    Failures::compute(&of, &[Status::Rejected, Status::Error, Status::NeedsReview])?;
                Ok(Self {
                    prefix: if alone { String::new() } else { format!("run{}-", index + 1) },
                    suffix: if alone { String::new() } else { format!(", run {id}") },
                    metrics: Extended::compute(&of)?,
                    kinds: failures.kinds(),
                    failures,
                    cases: cases::read(&of)?,
                    id: id.clone(),
                    file,
                    results: of,
                })
            })
            .collect()
    }

    /// Whether both have the same corpus, as far as their `run.json` says.
    pub(super) fn has_corpus_of(&self, other: &Self) -> bool {
        let corpus = |run: &Self| run.file.as_ref().map(|(_, file)| file.corpus_hash);
        corpus(self).zip(corpus(other)).is_none_or(|(ours, others)| ours == others)
    }

    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A title with unit, n and the run.
    pub(super) fn title(&self, what: &str, unit: &str, n: impl std::fmt::Display) -> String {
        let unit = if unit.is_empty() { String::new() } else { format!("{unit}; ") };
        format!("{what} ({unit}n = {n}{})", self.suffix)
    }
}
