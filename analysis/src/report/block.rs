//! What a report is made of.

use dataset::run_file::RunFile;

use super::records::Records;
use crate::render::Titled;
use crate::stats::{Interval, Proportion};

/// A report.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its title.
    pub title: String,
    /// What a reader sees first: one for each run.
    pub headlines: Vec<Headline>,
    /// Everything else, in order.
    pub sections: Vec<Section>,
    /// The records, for the table at the end.
    pub records: Records,
    /// The runs whose folders were named.
    pub runs: Vec<RunFile>,
}

/// A run in a few figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Headline {
    /// The run.
    pub run: String,
    /// Accepted, of all its records, with Wilson's interval.
    pub accepted: Proportion,
    /// The interval when whole documents are drawn again.
    pub by_document: Option<Interval>,
    /// How many documents.
    pub documents: u64,
    /// Accepted, of the records whose document was valid before.
    pub of_valid: Proportion,
    /// How the others ended.
    pub others: Vec<Lead>,
}

/// How many records ended in a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The way: a status.
    pub what: String,
    /// How many.
    pub count: u64,
    /// The most frequent reason among them, with its count.
    pub mostly: Option<(String, u64)>,
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Its answers.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A table.
    Table(NamedTable),
    /// A figure.
    Figure(Figure),
    /// A record to look at.
    Example(Box<Example>),
}

/// A table and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTable {
    /// Name of its file, without the ending.
    pub name: String,
    /// Title and rows.
    pub titled: Titled,
}

/// A figure and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Name of its file, without the ending.
    pub name: String,
    /// What it shows, with unit and n.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// The drawing.
    pub svg: String,
}

/// A record with what was proposed and what the gates said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// Why it is shown.
    pub title: String,
    /// Run, record, policy, object, manifest: name and value.
    pub facts: Vec<(String, String)>,
    /// Gate and message.
    pub messages: Vec<(String, String)>,
    /// The patch as JSON, indented.
    pub patch: Option<String>,
    /// What it does to the document, as a unified diff; or the document, where nothing was proposed or applies.
    pub document: Option<Document>,
}

/// A document, or what changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A unified diff.
    Diff(String),
    /// As it is.
    Plain(String),
}

/// A table with a name.
pub(super) fn table(name: impl Into<String>, titled: Titled) -> Block {
    Block::Table(NamedTable { name: name.into(), titled })
}

/// A figure with a name.
pub(super) fn figure(
    name: impl Into<String>,
    title: impl Into<String>,
    note: impl Into<String>,
    draw: impl FnOnce(&str) -> String,
) -> Block {
    let title = title.into();
    let svg = draw(&title);
    Block::Figure(Figure { name: name.into(), title, note: note.into(), svg })
}
