//! The result of the check of one file of the paper.

use serde::Serialize;

use super::compare::{Comparison, Difference};

/// The status of a file of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// All values are equal.
    Exact,
    /// All values are equal within 1e-9.
    Rounding,
    /// A value computed from the same inputs differs, and the paper's is known to be wrong.
    #[serde(rename = "published_wrong")]
    PaperWrong,
    /// Inputs were not published, or are missing here.
    InputsMissing,
    /// Not to be computed: invented, made by other tools, or an input itself.
    NotProduced,
    /// A value differs for an unknown reason.
    Differs,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Rounding => "rounding",
            Self::PaperWrong => "published_wrong",
            Self::InputsMissing => "inputs_missing",
            Self::NotProduced => "not_produced",
            Self::Differs => "differs",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Path of the file, relative to the folder.
    pub(crate) file: String,
    pub(crate) status: Status,
    /// The subcommand that computes it.
    pub(crate) command: String,
    /// Number of compared values.
    pub(crate) compared: u64,
    pub(crate) detail: String,
    /// The first differences.
    pub(crate) differences: Vec<Difference>,
}

/// The result of a computation, before it becomes a line.
pub(super) struct Found {
    comparison: Comparison,
    /// Places of values whose inputs were not published.
    unavailable: &'static [&'static str],
    /// The reason why differing values of the paper are wrong.
    wrong: Option<String>,
    note: String,
}

impl Found {
    pub(super) fn new(comparison: Comparison) -> Self {
        Self { comparison, unavailable: &[], wrong: None, note: String::new() }
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(super) fn without(mut self, places: &'static [&'static str]) -> Self {
        self.unavailable = places;
        self
    }

    pub(super) fn wrong(mut self, why: impl Into<String>) -> Self {
        self.wrong = Some(why.into());
        self
    }

    pub(super) fn line(self, file: &str, command: &str) -> Line {
        let known = |place: &str| self.unavailable.iter().any(|prefix| place.starts_with(prefix));
        let (missing, open): (Vec<_>, Vec<_>) =
            self.comparison.differences.into_iter().partition(|difference| known(&difference.place));
        let (status, detail) = match (&self.wrong, open.is_empty()) {
            (Some(why), false) => (Status::PaperWrong, why.clone()),
            (None, false) => (Status::Differs, self.note),
            (_, true) if !missing.is_empty() => (Status::InputsMissing, self.note),
            (_, true) if self.comparison.rounded > 0 => (Status::Rounding, self.note),
            (_, true) => (Status::Exact, self.note),
        };
        Line {
            file: file.to_owned(),
            status,
            command: command.to_owned(),
            compared: self.comparison.compared,
            detail,
            differences: open.into_iter().chain(missing).take(10).collect(),
        }
    }
}
