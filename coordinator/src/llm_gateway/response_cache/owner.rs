//! Which process owns a piece of work: a lock on a file, which the system frees when the process ends in any way.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// How often a lock is tried whose folder another process has just removed.
const TRIES: u32 = 10;

/// The owner of work: the name of a lock that its process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner(String);

impl Owner {
    /// An owner by the name of its lock.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text of 128 random bits.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The lock of this process. Work that bears its name is this process's until it ends.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    owner: Owner,
    folder: PathBuf,
    _lock: File,
}

impl OwnerLock {
    /// Takes a new lock in the folder, creating that where it is missing.
    pub(crate) fn take(folder: &Path) -> io::Result<Self> {
        let name = random_name()?;
        let mut tries = 0;
        let lock = loop {
            std::fs::create_dir_all(folder)?;
            match File::options().create_new(true).write(true).open(path(folder, &name)) {
                // The last process in the folder has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                opened => break opened?,
            }
        };
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { owner: Owner::new(name), folder: folder.to_owned(), _lock: lock })
    }

    /// The name of this process.
    pub(crate) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The file with this name in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether the process of an owner has ended. One whose lock cannot be looked at counts as running.
    pub(crate) fn is_gone(&self, other: &Owner) -> bool {
        if *other == self.owner {
            return false;
        }
        match File::open(path(&self.folder, other.as_str())) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(file) => match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            },
        }
    }

    /// Deletes what a process that [is gone](Self::is_gone) has left of its lock.
    pub(crate) fn remove(&self, gone: &Owner) {
        // What stays behind says the same: nobody holds it.
        let _ = std::fs::remove_file(path(&self.folder, gone.as_str()));
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        self.remove(&self.owner);
        // Fails while anything is in it.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_its_lock_is_free() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("locks");
        let (one, other) = (OwnerLock::take(&folder).unwrap(), OwnerLock::take(&folder).unwrap());
        assert!(!one.is_gone(other.owner()) && !one.is_gone(one.owner()));
        let name = other.owner().clone();
        drop(other);
        assert!(one.is_gone(&name));
        // As a process leaves it that was killed.
        std::fs::write(path(&folder, name.as_str()), "").unwrap();
        assert!(one.is_gone(&name));
        one.remove(&name);
        assert!(one.is_gone(&name) && !path(&folder, name.as_str()).exists());
        drop(one);
        assert!(!folder.exists(), "nothing is left");
    }
}
