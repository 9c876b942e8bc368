//! Opening the ledger's file, and what its errors mean for those who use the ledger.

use std::path::Path;

use rusqlite::Connection;

use crate::database::{Layout, Trouble};
use crate::ledger::contract::{LedgerError, LedgerResult};

/// The file of a ledger.
const LAYOUT: Layout = Layout {
    // "k8sf"
    application_id: 0x6b38_7366,
    migrations: &[
        include_str!("../migrations/0001_ledger.sql"),
        include_str!("../migrations/0002_halves.sql"),
        include_str!("../migrations/0003_totals.sql"),
    ],
    name: "ledger",
    elsewhere: "another state folder or run",
};

/// Opens the file, refuses what is not ours, brings it to the newest layout.
pub(super) fn open(path: &Path, place: &str) -> LedgerResult<Connection> {
    LAYOUT.open(path).map_err(|trouble| at(place, trouble))
}

/// Opens a file that is there for reading; refuses what is not ours or not of the newest layout.
pub(super) fn open_read_only(path: &Path, place: &str) -> LedgerResult<Connection> {
    LAYOUT.open_read_only(path).map_err(|trouble| at(place, trouble))
}

/// What an error of `SQLite` means for the caller.
pub(super) fn classify(error: &rusqlite::Error, place: &str) -> LedgerError {
    at(place, LAYOUT.classify(error))
}

fn at(place: &str, trouble: Trouble) -> LedgerError {
    let place = place.to_owned();
    match trouble {
        Trouble::Unavailable(reason) => LedgerError::Unavailable { place, reason },
        Trouble::Unusable(reason) => LedgerError::Unusable { place, reason },
    }
}
