//! A table with a title.

use console::output::Table;

/// A table that says what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Titled {
    /// What it shows, with unit and n where they matter.
    pub title: String,
    /// The rows.
    pub table: Table,
}
