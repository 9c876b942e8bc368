//! The figures of a command, and the forms in which they are printed.

use cli_support::output::{self, Table};
use serde_json::Value;

use super::latex::latex;
use super::markdown::markdown;
use super::titled::Titled;

/// The form in which figures are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Tables for people
    #[default]
    Text,
    /// One JSON value
    Json,
    /// Comma-separated values, RFC 4180; several tables are separated by an empty line
    Csv,
    /// Markdown tables
    Md,
    /// LaTeX tables (booktabs)
    Tex,
}

/// The output of a command: one JSON value, and the same as tables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// Everything.
    pub(crate) value: Value,
    pub(crate) tables: Vec<Titled>,
}

impl Figures {
    pub(crate) fn new(value: Value) -> Self {
        Self { value, tables: vec![] }
    }

    /// Adds a table.
    #[must_use]
    pub(crate) fn with(mut self, title: impl Into<String>, table: Table) -> Self {
        self.tables.push(Titled { title: title.into(), table });
        self
    }

    pub(crate) fn render(&self, form: Form, width: Option<u16>) -> String {
        let each = |of: &dyn Fn(&Titled) -> String| self.tables.iter().map(of).collect::<Vec<_>>().join("\n");
        match form {
            Form::Json => output::json(&self.value),
            Form::Text => each(&|titled| format!("{}\n{}", titled.title, titled.table.text(width))),
            Form::Csv => each(&|titled| titled.table.csv()),
            Form::Md => each(&markdown),
            Form::Tex => each(&latex),
        }
    }
}
