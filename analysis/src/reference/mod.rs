//! The published files: computed again from their inputs (`parity`), and held against what is right (`audit`).
//!
//! *Never*: a published value as a result. *Invariant*: every file of the folder gets a line.

mod audit;
mod checks;
mod compare;
mod computed;
mod places;
mod schedules;
mod sources;

pub use audit::{Finding, audit, figures as audit_figures};
pub use places::{Reference, ReferenceError};

use std::path::Path;

use console::output::{Align, Table};
use serde::Serialize;
use serde_json::json;

use crate::render::Figures;
use compare::Comparison;

/// What became of a published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every value is ours.
    Exact,
    /// Every value is ours within 1e-9.
    Rounding,
    /// Computed from the same inputs, another value comes out, and ours is the right one.
    PublishedWrong,
    /// What it was made from was not published, or is not at hand.
    InputsMissing,
    /// Nothing that should be computed: made up, made by others, or an input itself.
    NotProduced,
    /// Ours is another value, and nobody knows why: a failure of ours.
    Differs,
}

impl Status {
    /// The word of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Rounding => "rounding",
            Self::PublishedWrong => "published_wrong",
            Self::InputsMissing => "inputs_missing",
            Self::NotProduced => "not_produced",
            Self::Differs => "differs",
        }
    }
}

/// A line of the parity table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The file, relative to the folder.
    pub file: String,
    /// What became of it.
    pub status: Status,
    /// The sub-command that computes it.
    pub command: String,
    /// How many values were compared.
    pub compared: u64,
    /// What to know about it.
    pub detail: String,
    /// The first values that are not equal: where, ours, published.
    pub differences: Vec<compare::Difference>,
}

/// What a check found.
pub(crate) struct Found {
    comparison: Comparison,
    /// Places whose inputs were not published.
    unavailable: &'static [&'static str],
    /// Why values that differ are wrong as published, and what is right.
    wrong: Option<String>,
    note: String,
}

impl Found {
    fn new(comparison: Comparison) -> Self {
        Self { comparison, unavailable: &[], wrong: None, note: String::new() }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn without(mut self, places: &'static [&'static str]) -> Self {
        self.unavailable = places;
        self
    }

    fn wrong(mut self, why: impl Into<String>) -> Self {
        self.wrong = Some(why.into());
        self
    }

    fn line(self, file: &str, command: &str) -> Line {
        let known = |place: &str| self.unavailable.iter().any(|prefix| place.starts_with(prefix));
        let (missing, open): (Vec<_>, Vec<_>) =
            self.comparison.differences.into_iter().partition(|difference| known(&difference.place));
        let (status, detail) = match (&self.wrong, open.is_empty()) {
            (Some(why), false) => (Status::PublishedWrong, why.clone()),
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

/// Goes over every file of the folder, and over what must be there.
pub fn parity(reference: &Reference) -> Result<Vec<Line>, ReferenceError> {
    let mut lines: Vec<Line> = vec![];
    for check in checks::CHECKS {
        lines.push(checks::run(check, reference));
    }
    for file in reference.files()? {
        if lines.iter().all(|line| line.file != file) {
            lines.push(checks::unlisted(&file));
        }
    }
    Ok(lines)
}

/// The lines as a table, with a count of each status.
pub fn figures(lines: &[Line]) -> Figures {
    let header = [
        ("file", Align::Left),
        ("status", Align::Left),
        ("command", Align::Left),
        ("values", Align::Right),
        ("detail", Align::Left),
    ];
    let mut table = Table::new(header);
    let mut counts = Table::new([("status", Align::Left), ("files", Align::Right)]);
    let all = [
        Status::Exact,
        Status::Rounding,
        Status::PublishedWrong,
        Status::InputsMissing,
        Status::NotProduced,
        Status::Differs,
    ];
    for status in all {
        let of = lines.iter().filter(|line| line.status == status);
        counts.push([status.as_str().to_owned(), of.clone().count().to_string()]);
        for line in of {
            let mut detail = line.detail.clone();
            if let (Status::Differs, Some(first)) = (status, line.differences.first()) {
                detail =
                    format!("{}: ours {}, published {}. {detail}", first.place, first.ours, first.published);
            }
            let values = if line.compared == 0 { "-".to_owned() } else { line.compared.to_string() };
            table.push([line.file.clone(), status.as_str().to_owned(), line.command.clone(), values, detail]);
        }
    }
    Figures::new(json!(lines)).with("Published files, computed again", table).with("Files by status", counts)
}

/// A path as it is written in the table.
pub(crate) fn relative(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
