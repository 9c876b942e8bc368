//! What a report is made of.

use dataset::run_file::RunFile;

use super::records::Records;
use crate::render::Titled;
use crate::stats::{Interval, Proportion};

#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// What a reader sees first: one for each run.
    pub(crate) headlines: Vec<Headline>,
    /// Everything else, in order.
    pub(crate) sections: Vec<Section>,
    /// The records, for the table at the end.
    pub(crate) records: Records,
    /// The runs whose folders were named.
    pub(crate) runs: Vec<RunFile>,
}

/// A run in a few figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Headline {
    pub(crate) run: String,
    /// Accepted, of all its records, with Wilson's interval.
    pub(crate) accepted: Proportion,
    /// The interval when whole documents are drawn again.
    pub(crate) by_document: Option<Interval>,
    pub(crate) documents: u64,
    /// Accepted, of the records whose document was valid before.
    pub(crate) of_valid: Proportion,
    /// How the others ended.
    pub(crate) others: Vec<Lead>,
}

/// How many records ended in a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The way: a status.
    pub(crate) what: String,
    pub(crate) count: u64,
    /// The most frequent reason among them, with its count.
    pub(crate) mostly: Option<(String, u64)>,
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Block {
    Text(String),
    Table(NamedTable),
    Figure(Figure),
    /// A record to look at.
    Example(Box<Example>),
}

/// A table and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedTable {
    /// Name of its file, without the ending.
    pub(crate) name: String,
    pub(crate) titled: Titled,
}

/// A figure and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    /// Name of its file, without the ending.
    pub(crate) name: String,
    /// What it shows, with unit and n.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) note: String,
    pub(crate) svg: String,
}

/// A record with what was proposed and what the gates said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Example {
    /// Why it is shown.
    pub(crate) title: String,
    /// Run, record, policy, object, manifest: name and value.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) messages: Vec<(String, String)>,
    /// The patch as JSON, indented.
    pub(crate) patch: Option<String>,
    /// What it does to the document, as a unified diff; or the document, where nothing was proposed or applies.
    pub(crate) document: Option<Document>,
}

/// A document, or what changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Diff(String),
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
