//! The data model of a report.

use cli_support::output::{Align, Table};
use results::run_file::RunFile;

use super::records::Records;
use crate::render::chart::Drawing;
use crate::render::{Titled, grouped, plain, thousands};
use crate::stats::{Interval, Proportion};

#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// The comparison of the first two runs, if they have the same corpus; at the top.
    pub(crate) versus: Option<Versus>,
    /// One for each run.
    pub(crate) headlines: Vec<Headline>,
    pub(crate) sections: Vec<Section>,
    /// The table of records at the end.
    pub(crate) records: Records,
    /// The runs that were named by their folders.
    pub(crate) runs: Vec<RunFile>,
}

/// The main figures of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Headline {
    pub(crate) run: String,
    /// Accepted of all records by who made the repair, if that is not one alone: `by the model (grok)`.
    pub(crate) by_source: Vec<(String, Proportion)>,
    /// When it ran and who proposed: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Accepted, of all records, with Wilson's interval.
    pub(crate) accepted: Proportion,
    /// The bootstrap interval that resamples whole documents.
    pub(crate) by_document: Option<Interval>,
    pub(crate) documents: u64,
    /// Accepted, of the records whose document was valid before; it leads if there are any.
    pub(crate) of_valid: Proportion,
    /// What judged these documents.
    pub(crate) judged_by: String,
    /// By whose rules they were accepted, for people.
    pub(crate) rules: &'static str,
    /// The other statuses.
    pub(crate) others: Vec<Lead>,
}

/// Number of records with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The status.
    pub(crate) what: String,
    pub(crate) count: u64,
    pub(crate) mostly: Option<Mostly>,
}

/// The most frequent kind of reason of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mostly {
    /// Policy and reason.
    pub(crate) reason: String,
    pub(crate) count: u64,
    /// Whether more than half of the records have it.
    pub(crate) is_most: bool,
}

impl Mostly {
    /// `mostly (883)`, or `most often (120)` where fewer than half have it.
    pub(crate) fn how_often(&self) -> String {
        format!("{} ({})", if self.is_most { "mostly" } else { "most often" }, thousands(self.count))
    }
}

/// Two runs over the same records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Versus {
    pub(crate) before: String,
    pub(crate) after: String,
    /// Acceptance of the records that both have.
    pub(crate) shares: [Proportion; 2],
    /// Accepted in the first alone, and in the second alone.
    pub(crate) lost: u64,
    pub(crate) gained: u64,
    /// `p = …`.
    pub(crate) test: String,
    /// What these pairs could have shown.
    pub(crate) power: String,
}

impl Versus {
    /// The difference of the shares: `+1.20 percentage points`.
    pub(crate) fn difference(&self) -> String {
        format!("{} percentage points", self.points())
    }

    /// The same without its unit.
    pub(crate) fn points(&self) -> String {
        let [before, after] = &self.shares;
        let points = (after.rate.unwrap_or(0.0) - before.rate.unwrap_or(0.0)) * 100.0;
        format!("{points:+.2}")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Block {
    Text(String),
    Table(NamedTable),
    Figure(Figure),
    Example(Box<Example>),
}

/// A table and its file name without extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedTable {
    pub(crate) name: String,
    pub(crate) titled: Titled,
}

/// A figure and its file name without extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    /// With unit and n.
    pub(crate) title: String,
    /// Explains how to read it.
    pub(crate) note: String,
    pub(crate) drawing: Drawing,
}

/// An example record with its proposal and the messages of the gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Example {
    /// The reason why it is shown.
    pub(crate) title: String,
    /// Name and value of record, policy, manifest and others.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) messages: Vec<(String, String)>,
    /// Indented JSON.
    pub(crate) patch: Option<String>,
    /// The effect of the patch as a diff, or the document if there is no patch that applies.
    pub(crate) document: Option<Document>,
}

/// A document, or what a patch does to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Diff(String),
    Plain(String),
}

impl Document {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Diff(text) | Self::Plain(text) => text,
        }
    }
}

/// A table; its numbers get separators of thousands.
pub(super) fn table(name: impl Into<String>, titled: Titled) -> Block {
    let header = titled.table.header();
    let mut table = Table::new(header.iter().map(|(name, align)| (name.clone(), *align)));
    for row in titled.table.rows() {
        let shown = |(cell, (_, align)): (&String, &(String, Align))| {
            if *align == Align::Right { grouped(cell) } else { cell.clone() }
        };
        table.push(row.iter().zip(header).map(shown));
    }
    Block::Table(NamedTable { name: name.into(), titled: Titled { title: titled.title, table } })
}

impl NamedTable {
    /// The table for programs: numbers without separators.
    pub(super) fn csv(&self) -> String {
        let (header, rows) = (self.titled.table.header(), self.titled.table.rows());
        let mut table = Table::new(header.iter().map(|(name, align)| (name.clone(), *align)));
        for row in rows {
            let written = |(cell, (_, align)): (&String, &(String, Align))| {
                if *align == Align::Right { plain(cell) } else { cell.clone() }
            };
            table.push(row.iter().zip(header).map(written));
        }
        table.csv()
    }
}

pub(super) fn figure(
    name: impl Into<String>,
    title: impl Into<String>,
    note: impl Into<String>,
    draw: impl FnOnce(&str) -> Drawing,
) -> Block {
    let title = title.into();
    let drawing = draw(&title);
    Block::Figure(Figure { name: name.into(), title, note: note.into(), drawing })
}
