//! A folder that nothing named below it can leave: how files of strangers are opened and replaced.
//!
//! *Owns* the rules on links and on files that are not regular. *Never* looks at what a file says.
//!
//! *Invariant*: whatever a checkout or a corpus holds, and whoever changes it meanwhile, no byte outside the folder is
//! read or written. On Linux the kernel resolves each path (`openat2` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_MAGICLINKS`, Linux 5.6); where there is no such call, no link below the folder is followed at all.

mod hard_links;
mod kind;
mod open;
mod refused;
mod replace;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, Dir, FileType, Mode, OFlags};

pub use kind::Kind;
pub use open::named;
pub use refused::Refused;

/// An open folder.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the folder that a person named. Links on the way to it are followed: they are that person's choice.
    ///
    /// # Errors
    /// When it is not a folder or cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = sys::open(path, flags, Mode::empty())?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// The path under which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in the folder `below` this one (empty: in this one), in no order; without `.` and `..`.
    ///
    /// # Errors
    /// [`Refused`] when a link leads out, or when it is not a folder or cannot be read.
    pub fn list(&self, below: &Path) -> Result<Vec<(OsString, Kind)>, Refused> {
        let mut folder = if below.as_os_str().is_empty() {
            Dir::read_from(&self.folder)?
        } else {
            Dir::new(open::open_below(self.folder.as_fd(), below, OFlags::RDONLY | OFlags::DIRECTORY)?)?
        };
        let mut found = Vec::new();
        while let Some(entry) = folder.read() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system tells.
                FileType::Unknown => {
                    let stat = sys::statat(folder.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            found.push((OsString::from_vec(name.to_bytes().to_vec()), Kind::of(kind)));
        }
        Ok(found)
    }

    /// Opens a folder below this one, that nothing named below it leaves either. Links are followed as long as they stay below
    /// this one.
    ///
    /// # Errors
    /// [`Refused`] when a link leads out, or when it is not a folder or cannot be read.
    pub fn folder(&self, below: &Path) -> Result<Self, Refused> {
        let folder = open::open_below(self.folder.as_fd(), below, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { folder, path: self.path.join(below) })
    }

    /// Opens a regular file below the folder for reading. Links are followed as long as they stay below it.
    ///
    /// # Errors
    /// [`Refused`] when a link leads out, or for what is not a regular file on a disk.
    pub fn file(&self, below: &Path) -> Result<File, Refused> {
        let file = File::from(open::open_below(
            self.folder.as_fd(),
            below,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        )?);
        open::regular(&file)?;
        Ok(file)
    }

    /// Reads a file of at most `limit` bytes below the folder.
    ///
    /// # Errors
    /// As [`Root::file`], for a larger file, and when reading fails.
    pub fn read(&self, below: &Path, limit: u64) -> Result<Vec<u8>, Refused> {
        open::whole(self.file(below)?, limit)
    }
}

/// A file by the folder that nothing leaves and its path below it.
#[derive(Debug, Clone)]
pub struct Below {
    root: Arc<Root>,
    path: PathBuf,
}

impl Below {
    /// The file at `path` below `root`.
    pub const fn new(root: Arc<Root>, path: PathBuf) -> Self {
        Self { root, path }
    }

    /// Another file of the same folder.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { root: Arc::clone(&self.root), path: self.path.with_file_name(name) }
    }

    /// Its bytes; see [`Root::read`].
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, Refused> {
        self.root.read(&self.path, limit)
    }

    /// Its bytes as they are where a file is to be replaced: through no link, `None` where there is none.
    ///
    /// # Errors
    /// As [`Root::read_to_replace`].
    pub fn read_to_replace(&self, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
        self.root.read_to_replace(&self.path, limit)
    }

    /// Its bytes as they are where a file is to be replaced under all its names.
    ///
    /// # Errors
    /// As [`Root::read_to_rewrite`].
    pub fn read_to_rewrite(&self, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
        self.root.read_to_rewrite(&self.path, limit)
    }

    /// Replaces the file under all its names and returns the others; see [`Root::rewrite`].
    ///
    /// # Errors
    /// As [`Root::rewrite`].
    pub fn rewrite(&self, bytes: &[u8]) -> Result<Vec<PathBuf>, Refused> {
        self.root.rewrite(&self.path, bytes)
    }

    /// Replaces or creates the file; see [`Root::replace`].
    ///
    /// # Errors
    /// As [`Root::replace`].
    pub fn replace(&self, bytes: &[u8], mode: u32) -> Result<(), Refused> {
        self.root.replace(&self.path, bytes, mode)
    }

    /// Removes the file; see [`Root::remove`].
    ///
    /// # Errors
    /// As [`Root::remove`].
    pub fn remove(&self) -> Result<(), Refused> {
        self.root.remove(&self.path)
    }
}
