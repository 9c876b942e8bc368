//! State folder of a coordinator: its ledger, and a lock that excludes a second coordinator.

use std::fmt;
use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cli_support::private;

use crate::ledger::{Ledger, LedgerError, SqliteLedger};

/// File name of the ledger in the folder.
pub(crate) const LEDGER_FILE: &str = "ledger.sqlite";

/// File name of the record of the PostgreSQL server that holds the ledger instead.
pub(crate) const ENGINE_FILE: &str = "engine.json";

/// Name of a run's own state folder, in the folder of its results.
pub(crate) const RUN_STATE: &str = ".coordinator";

/// An open state folder. Its lock is held until this value is dropped or the process ends in any way.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be created or written.
    #[error("cannot use the state folder {}: {source}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// Another coordinator uses it, or another process holds its lock.
    #[error(
        "another coordinator uses {}{}: wait for it, end it, or use another run id or state folder",
        path.display(),
        Holder(*holder)
    )]
    Taken {
        /// Its path.
        path: PathBuf,
        /// The process that holds the lock, where the system tells.
        holder: Option<u32>,
    },
    /// Its ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |process| write!(f, " (process {process} holds its lock)"))
    }
}

impl StateFolder {
    /// Opens and locks the folder, creating it where it is missing. Its lock is its owner's alone, so that no other user can
    /// hold it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed)?;
        private::close_to_others(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(StateError::Taken { path: path.to_owned(), holder: holder(&lock) })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Opens the ledger in it.
    pub fn ledger(&self) -> Result<SqliteLedger, StateError> {
        Ok(SqliteLedger::open(&self.path.join(LEDGER_FILE))?)
    }

    /// Removes the folder if no run was recorded in it, and its parent if that is empty then.
    pub async fn discard_unused(&self, ledger: &dyn Ledger) {
        if !ledger.runs().await.is_ok_and(|runs| runs.is_empty()) {
            return;
        }
        // A failure is harmless: the next run of that name finds an empty ledger.
        if std::fs::remove_dir_all(&self.path).is_ok()
            && let Some(around) = self.path.parent()
        {
            let _ = std::fs::remove_dir(around);
        }
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The process that holds a lock on the file, as the kernel lists it in /proc/locks.
fn holder(lock: &File) -> Option<u32> {
    let inode = format!(":{}", lock.metadata().ok()?.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: FLOCK ADVISORY WRITE 4242 fd:01:1234567 0 EOF`; a request that waits has `->` behind its number.
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, _, process, file, ..] if file.ends_with(&inode) => process.parse().ok(),
            _ => None,
        }
    })
}

/// Whether a coordinator uses the folder at `path`. Read-only.
pub(crate) fn is_taken(path: &Path) -> bool {
    File::open(path.join("lock"))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_coordinator_is_excluded_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(&folder.path().join("s")).unwrap();
        let second = StateFolder::open(&folder.path().join("s"));
        assert!(matches!(second, Err(StateError::Taken { .. })), "{second:?}");
        drop(first);
        StateFolder::open(&folder.path().join("s")).unwrap();
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "").unwrap();
        let error = StateFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
