//! A table with a title.

use console::output::Table;

/// A table that says what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Titled {
    /// What it shows, with unit and n where they matter.
    pub(crate) title: String,
    pub(crate) table: Table,
}
