//! Replaces a file below a folder: under a temporary name in the same folder, synced, renamed.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Kind, Refused, Root, open};
use crate::layout::UNFINISHED;

impl Root {
    /// Replaces or creates the file at `below`. A reader gets either the old file or the new one, never a part. The mode of
    /// a file that is there is kept; a new one gets `mode`, whatever the umask.
    ///
    /// # Errors
    /// [`Refused`] for a link, for a file with several names, for what is not a regular file, and when the disk refuses.
    pub fn replace(&self, below: &Path, bytes: &[u8], mode: u32) -> Result<(), Refused> {
        let (folder, name) = self.folder_of(below)?;
        let mode = replaceable(&folder, &name)?
            .map_or(Mode::from_raw_mode(mode), |stat| Mode::from_raw_mode(stat.st_mode));
        let (temporary, mut file) = temporary(&folder)?;
        let written = file
            .write_all(bytes)
            .map_err(Refused::from)
            .and_then(|()| Ok(sys::fchmod(&file, mode)?))
            .and_then(|()| Ok(file.sync_all()?))
            // It takes the place of the name, whatever that stands for by now: no link is followed.
            .and_then(|()| Ok(sys::renameat(&folder, &temporary, &folder, &name)?));
        if written.is_err() {
            let _ = sys::unlinkat(&folder, &temporary, AtFlags::empty());
        }
        written?;
        Ok(sys::fsync(&folder)?)
    }

    /// The bytes of a file that [`Root::replace`] would replace, `limit` at most; `None` where there is none.
    ///
    /// # Errors
    /// As [`Root::replace`], and for a larger file.
    pub fn read_to_replace(&self, below: &Path, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
        let (folder, name) = self.folder_of(below)?;
        if replaceable(&folder, &name)?.is_none() {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(open::step_by_step(folder.as_fd(), &name, flags | OFlags::CLOEXEC)?);
        open::regular(&file)?;
        open::whole(file, limit).map(Some)
    }

    /// Removes the file at `below`.
    ///
    /// # Errors
    /// As [`Root::replace`], and where there is none.
    pub fn remove(&self, below: &Path) -> Result<(), Refused> {
        let (folder, name) = self.folder_of(below)?;
        if replaceable(&folder, &name)?.is_none() {
            return Err(Refused::Missing);
        }
        sys::unlinkat(&folder, &name, AtFlags::empty())?;
        Ok(sys::fsync(&folder)?)
    }

    /// The open folder of a file, and the file's name in it.
    pub(super) fn folder_of(&self, below: &Path) -> Result<(OwnedFd, PathBuf), Refused> {
        let name = below.file_name().ok_or(Refused::Folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match below.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                super::open::open_below(self.folder.as_fd(), parent, flags)?
            }
            _ => self.folder.try_clone()?,
        };
        Ok((folder, name.into()))
    }
}

/// The file of that name, unless it must not be replaced.
fn replaceable(folder: &OwnedFd, name: &Path) -> Result<Option<Stat>, Refused> {
    match writable(folder, name)? {
        Some(stat) if stat.st_nlink > 1 => Err(Refused::HardLinks),
        found => Ok(found),
    }
}

/// As [`replaceable`], also with other names.
pub(super) fn writable(folder: &OwnedFd, name: &Path) -> Result<Option<Stat>, Refused> {
    let stat = match sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    match Kind::of(FileType::from_raw_mode(stat.st_mode)) {
        Kind::File => Ok(Some(stat)),
        Kind::Folder => Err(Refused::Folder),
        Kind::Link => Err(Refused::Link),
        Kind::Special(what) => Err(Refused::Special(what)),
    }
}

/// A name that is not taken, as good as surely.
pub(super) fn temporary_name(salt: u64) -> String {
    format!("{UNFINISHED}{:016x}", RandomState::new().hash_one(salt))
}

/// A new file that only its owner can read.
pub(super) fn temporary(folder: &OwnedFd) -> Result<(String, File), Refused> {
    /// Names are random: a second try is for one that is taken all the same.
    const TRIES: u64 = 16;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut refused = Errno::EXIST;
    for attempt in 0..TRIES {
        let name = temporary_name(attempt);
        match sys::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok((name, File::from(file))),
            Err(Errno::EXIST) => {}
            Err(errno) => {
                refused = errno;
                break;
            }
        }
    }
    Err(refused.into())
}
