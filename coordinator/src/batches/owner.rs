//! Which process works on a batch: a lock on a file, which the system frees when the process ends in any way.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use llm::batch::Mark;

use super::record::Owner;

/// The folder beside a file of answers that holds the files of batches and the locks of their processes.
pub(crate) fn folder_of(answers: &Path) -> PathBuf {
    let mut name = answers.as_os_str().to_owned();
    name.push(".batches");
    PathBuf::from(name)
}

/// A text of 128 random bits.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A new mark.
pub(crate) fn new_mark() -> io::Result<Mark> {
    Mark::new(random_name()?).map_err(io::Error::other)
}

/// The lock of this process. Batches that bear its name are this process's until it ends.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    owner: Owner,
    folder: PathBuf,
    _lock: File,
}

impl OwnerLock {
    /// Takes a new lock in the folder, creating that where it is missing.
    pub(crate) fn take(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let name = random_name()?;
        let lock = File::options().create_new(true).write(true).open(path(folder, &name))?;
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
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // What stays behind says the same: nobody holds it.
        let _ = std::fs::remove_file(path(&self.folder, self.owner.as_str()));
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
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (OwnerLock::take(folder.path()).unwrap(), OwnerLock::take(folder.path()).unwrap());
        assert!(!one.is_gone(other.owner()) && !one.is_gone(one.owner()));
        let name = other.owner().clone();
        drop(other);
        assert!(one.is_gone(&name));
        // As a process leaves it that was killed.
        std::fs::write(path(folder.path(), name.as_str()), "").unwrap();
        assert!(one.is_gone(&name));
    }
}
