//! A table with a title.

use cli_support::output::Table;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Titled {
    /// With unit and n where they matter.
    pub(crate) title: String,
    pub(crate) table: Table,
}
