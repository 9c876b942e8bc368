//! Opens the `SQLite` files of ledger and response cache: checks the file, applies migrations, classifies errors.
//!
//! The migrations are applied by hand: `rusqlite_migration` 2.6.0, its newest release, needs rusqlite 0.40 and a newer
//! compiler than this workspace asks for; we use rusqlite 0.43.

use std::path::Path;
use std::time::Duration;

use cli_support::private;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Trouble;

/// Largest file of which every page is checked on opening.
const CHECKED_BYTES: i64 = 64 << 20;

/// Longest wait for another process that has the file locked.
const BUSY: Duration = Duration::from_secs(5);

/// Properties of one kind of file.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Identifies the file as one of this program (`PRAGMA application_id`).
    pub(crate) application_id: i64,
    /// One script per version of the layout; never changed once released.
    pub(crate) migrations: &'static [&'static str],
    /// Name of the kind of file, for messages.
    pub(crate) name: &'static str,
    /// Remedy for messages: how to use another file instead.
    pub(crate) elsewhere: &'static str,
}

impl Layout {
    /// Opens the file, creating it where it is missing; refuses files of other programs, migrates to the newest layout.
    pub(crate) fn open(&self, path: &Path) -> Result<Connection, Trouble> {
        self.prepare(path).map_err(|error| self.trouble(error))
    }

    /// Opens an existing file for reading; refuses files of other programs and of older layouts.
    pub(crate) fn open_read_only(&self, path: &Path) -> Result<Connection, Trouble> {
        self.prepare_read_only(path).map_err(|error| self.trouble(error))
    }

    fn trouble(&self, error: OpenError) -> Trouble {
        match error {
            OpenError::Sqlite(error) => self.classify(&error),
            OpenError::Foreign(reason) => Trouble::Unusable(reason),
        }
    }

    fn prepare_read_only(&self, path: &Path) -> Result<Connection, OpenError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        let (known, version) = self.inspect(&connection)?;
        if version < known {
            return Err(OpenError::Foreign(format!(
                "it has layout version {version}, this program writes {known}: start a coordinator on it once to migrate it"
            )));
        }
        Ok(connection)
    }

    fn prepare(&self, path: &Path) -> Result<Connection, OpenError> {
        close_to_others(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        let (_, version) = self.inspect(&connection)?;
        self.check(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What was acknowledged must survive a crash of the machine, not only of the process.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        for (target, script) in (1_i64..).zip(self.migrations).skip(usize::try_from(version).unwrap_or(0)) {
            let transaction = connection.transaction()?;
            transaction.execute_batch(script)?;
            transaction.pragma_update(None, "application_id", self.application_id)?;
            transaction.pragma_update(None, "user_version", target)?;
            transaction.commit()?;
        }
        Ok(connection)
    }

    /// Checks every page of a file up to [`CHECKED_BYTES`]; in a larger one, damage is found when a page is read.
    fn check(&self, connection: &Connection) -> Result<(), OpenError> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if pragma("page_count")?.saturating_mul(pragma("page_size")?) > CHECKED_BYTES {
            return Ok(());
        }
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(OpenError::Foreign(self.damaged(&found))) }
    }

    fn damaged(&self, what: &str) -> String {
        format!(
            "the file is damaged or is not a valid {} ({what}): put back a copy, or start again in {}",
            self.name, self.elsewhere
        )
    }

    /// The newest layout version and that of the file, after checking that the file belongs to this program.
    fn inspect(&self, connection: &Connection) -> Result<(i64, i64), OpenError> {
        let known = i64::try_from(self.migrations.len()).unwrap_or(i64::MAX);
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if application != self.application_id && (tables > 0 || application != 0) {
            return Err(OpenError::Foreign(format!(
                "the file belongs to another program; name {}",
                self.elsewhere
            )));
        }
        if version > known {
            return Err(OpenError::Foreign(format!(
                "it has layout version {version}, this program supports up to {known}: use a newer program"
            )));
        }
        Ok((known, version))
    }

    /// Classifies an error of `SQLite` by what the caller can do about it.
    pub(crate) fn classify(&self, error: &rusqlite::Error) -> Trouble {
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Unavailable(
                "another process has it locked: end that process, then repeat the command".to_owned(),
            ),
            Some(ErrorCode::DiskFull) => {
                Trouble::Unavailable("the disk is full: make room, then repeat the command".to_owned())
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Trouble::Unusable(format!(
                    "the file or its folder cannot be written ({reason}): give this user the right to write there, \
                     then repeat the command"
                ))
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Trouble::Unusable(self.damaged(&reason))
            }
            Some(_) => Trouble::Unavailable(reason),
            None => Trouble::Unusable(reason),
        }
    }
}

/// Takes the rights of others on the file away, and on those that `SQLite` keeps beside it. A new file has none of them:
/// the programs create files for their user alone.
fn close_to_others(path: &Path) -> Result<(), OpenError> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        private::close_to_others(Path::new(&name)).map_err(|error| {
            OpenError::Foreign(format!(
                "the rights of others on it cannot be taken away ({error}): check its owner"
            ))
        })?;
    }
    Ok(())
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
