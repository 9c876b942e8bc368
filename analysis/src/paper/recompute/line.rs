//! What became of each published file: a line of the parity table.

use serde::Serialize;

use super::compare::{Comparison, Difference};

/// What became of a published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Every value is ours.
    Exact,
    /// Every value is ours within 1e-9.
    Rounding,
    /// Computed from the same inputs, another value comes out, and ours is the right one.
    #[serde(rename = "published_wrong")]
    PaperWrong,
    /// What it was made from was not published, or is not at hand.
    InputsMissing,
    /// Nothing that should be computed: made up, made by others, or an input itself.
    NotProduced,
    /// Ours is another value, and nobody knows why: a failure of ours.
    Differs,
}

impl Status {
    /// The word of it.
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

/// A line of the parity table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// The file, relative to the folder.
    pub(crate) file: String,
    /// What became of it.
    pub(crate) status: Status,
    /// The sub-command that computes it.
    pub(crate) command: String,
    /// How many values were compared.
    pub(crate) compared: u64,
    /// What to know about it.
    pub(crate) detail: String,
    /// The first values that are not equal: where, ours, published.
    pub(crate) differences: Vec<Difference>,
}

/// What a check found.
pub(super) struct Found {
    comparison: Comparison,
    /// Places whose inputs were not published.
    unavailable: &'static [&'static str],
    /// Why values that differ are wrong as published, and what is right.
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
