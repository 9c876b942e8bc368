//! Opening the file: what it must be, how it is set up, which migrations it still lacks, and what an error means.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::ledger::contract::{LedgerError, LedgerResult};

/// Marks the file as ours (`PRAGMA application_id`): "k8sf".
const APPLICATION_ID: i64 = 0x6b38_7366;

/// One script per version of the layout; never changed once released.
const MIGRATIONS: &[&str] =
    &[include_str!("../migrations/0001_ledger.sql"), include_str!("../migrations/0002_halves.sql")];

/// Size up to which every page is looked at when the file is opened.
const CHECKED_BYTES: i64 = 64 << 20;

/// How long to wait for another process that has the file locked.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the file, refuses what is not ours, brings it to the newest layout.
pub(super) fn open(path: &Path, place: &str) -> LedgerResult<Connection> {
    prepare(path).map_err(|error| match error {
        OpenError::Sqlite(error) => classify(&error, place),
        OpenError::Foreign(reason) => LedgerError::Unusable { place: place.to_owned(), reason },
    })
}

/// Opens a file that is there for reading; refuses what is not ours or not of the newest layout.
pub(super) fn open_read_only(path: &Path, place: &str) -> LedgerResult<Connection> {
    prepare_read_only(path).map_err(|error| match error {
        OpenError::Sqlite(error) => classify(&error, place),
        OpenError::Foreign(reason) => LedgerError::Unusable { place: place.to_owned(), reason },
    })
}

fn prepare_read_only(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    let (known, version) = inspect(&connection)?;
    if version < known {
        return Err(OpenError::Foreign(format!(
            "it has layout version {version}, this program writes {known}: start a coordinator on it once"
        )));
    }
    Ok(connection)
}

enum OpenError {
    Sqlite(rusqlite::Error),
    Foreign(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let (_, version) = inspect(&connection)?;
    check(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A token or a commit that was told to somebody must survive the machine's end, not only the process's.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    for (target, script) in (1_i64..).zip(MIGRATIONS).skip(usize::try_from(version).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", target)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Looks at every page of a file that is not too large for that; in a larger one, damage shows when a page is read.
fn check(connection: &Connection) -> Result<(), OpenError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("page_count")?.saturating_mul(pragma("page_size")?) > CHECKED_BYTES {
        return Ok(());
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Foreign(damaged(&found))) }
}

fn damaged(what: &str) -> String {
    format!(
        "the file is damaged or no ledger ({what}): put back a copy, or begin again in another state folder or run"
    )
}

/// The newest layout and that of the file, once it is known to be ours.
fn inspect(connection: &Connection) -> Result<(i64, i64), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (tables > 0 || application != 0) {
        return Err(OpenError::Foreign(
            "the file belongs to another program; name another state folder".to_owned(),
        ));
    }
    if version > known {
        return Err(OpenError::Foreign(format!(
            "it has layout version {version}, this program knows up to {known}: use a newer program"
        )));
    }
    Ok((known, version))
}

/// What an error of `SQLite` means for the caller.
pub(super) fn classify(error: &rusqlite::Error, place: &str) -> LedgerError {
    let place = place.to_owned();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Unavailable {
            place,
            reason: "another process has it locked: end that process, then repeat the command".to_owned(),
        },
        Some(ErrorCode::DiskFull) => LedgerError::Unavailable {
            place,
            reason: "the disk is full: make room, then repeat the command".to_owned(),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            LedgerError::Unusable {
                place,
                reason: format!(
                    "the file or its folder cannot be written ({reason}): give this user the right to write there, then \
                     repeat the command"
                ),
            }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            LedgerError::Unusable { place, reason: damaged(&reason) }
        }
        Some(_) => LedgerError::Unavailable { place, reason },
        None => LedgerError::Unusable { place, reason },
    }
}
