//! Opens the ledger's file, and converts errors of `SQLite` to those of the ledger.

use std::path::Path;

use rusqlite::Connection;

use crate::database::sqlite::Layout;
use crate::ledger::contract::{LedgerError, LedgerResult};

/// Layout of the ledger's file.
const LAYOUT: Layout = Layout {
    // "k8sf"
    application_id: 0x6b38_7366,
    migrations: &[
        include_str!("../migrations/0001_ledger.sql"),
        include_str!("../migrations/0002_splits.sql"),
        include_str!("../migrations/0003_totals.sql"),
        include_str!("../migrations/0004_failures.sql"),
        include_str!("../migrations/0005_run_file.sql"),
    ],
    name: "ledger",
    elsewhere: "another state folder or run",
};

/// Version of the layout: the number of its migrations.
pub(super) const LAYOUT_VERSION: usize = LAYOUT.migrations.len();

/// Opens the file, refuses files of other programs, migrates to the newest layout.
pub(super) fn open(path: &Path, place: &str) -> LedgerResult<Connection> {
    LAYOUT.open(path).map_err(|trouble| LedgerError::of(place.to_owned(), trouble))
}

/// Opens an existing file for reading; refuses files of other programs and of older layouts.
pub(super) fn open_read_only(path: &Path, place: &str) -> LedgerResult<Connection> {
    LAYOUT.open_read_only(path).map_err(|trouble| LedgerError::of(place.to_owned(), trouble))
}

/// Converts an error of `SQLite`.
pub(super) fn classify(error: &rusqlite::Error, place: &str) -> LedgerError {
    LedgerError::of(place.to_owned(), LAYOUT.classify(error))
}
