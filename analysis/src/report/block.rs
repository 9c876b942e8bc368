//! The data model of a report.

use results::run_file::RunFile;

use super::documents::Document;
use super::records::Records;
use crate::render::Titled;
use crate::render::chart::Drawing;
use crate::stats::{Interval, Proportion};

#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// One for each run, at the top.
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
    /// Accepted, of all records, with Wilson's interval.
    pub(crate) accepted: Proportion,
    /// The bootstrap interval that resamples whole documents.
    pub(crate) by_document: Option<Interval>,
    pub(crate) documents: u64,
    /// Accepted, of the records whose document was valid before; it leads if there are any.
    pub(crate) of_valid: Proportion,
    /// What judged these documents.
    pub(crate) judged_by: String,
    /// The other statuses.
    pub(crate) others: Vec<Lead>,
}

/// Number of records with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The status.
    pub(crate) what: String,
    pub(crate) count: u64,
    /// The most frequent reason and its count.
    pub(crate) mostly: Option<(String, u64)>,
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

pub(super) fn table(name: impl Into<String>, titled: Titled) -> Block {
    Block::Table(NamedTable { name: name.into(), titled })
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
