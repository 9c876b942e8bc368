//! Replaces a file that has several names (hard links) under all of them.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::replace::{temporary, temporary_name, writable};
use super::{Kind, Refused, Root, open};

/// Most names below a folder that are looked at for those of one file.
const MOST_LOOKED_AT: usize = 200_000;

/// One name of the file that is replaced: its open folder, the name in it, and that of the new file beside it.
struct Link {
    folder: OwnedFd,
    name: PathBuf,
    temporary: Option<String>,
}

impl Root {
    /// Replaces the file at `below` as [`Root::replace`] does, and where it has several names that all lie below the folder,
    /// under each of them, so that they still name one file. Returns its other names.
    ///
    /// # Errors
    /// [`Refused::HardLinks`] where one of its names lies elsewhere; otherwise as [`Root::replace`].
    pub fn rewrite(&self, below: &Path, bytes: &[u8]) -> Result<Vec<PathBuf>, Refused> {
        let (folder, name) = self.folder_of(below)?;
        let stat = writable(&folder, &name)?.ok_or(Refused::Missing)?;
        if stat.st_nlink <= 1 {
            self.replace(below, bytes, stat.st_mode)?;
            return Ok(Vec::new());
        }
        let paths = self.names_of(&stat)?;
        let mut names = Vec::new();
        for path in &paths {
            let (folder, name) = self.folder_of(path)?;
            names.push(Link { folder, name, temporary: None });
        }
        let written = write_all(&mut names, &stat, bytes);
        if written.is_err() {
            for Link { folder, temporary, .. } in &names {
                if let Some(temporary) = temporary {
                    let _ = sys::unlinkat(folder, temporary, AtFlags::empty());
                }
            }
        }
        written?;
        Ok(paths.into_iter().filter(|path| path != below).collect())
    }

    /// The bytes of a file that [`Root::rewrite`] would replace, `limit` at most; `None` where there is none.
    ///
    /// # Errors
    /// As [`Root::rewrite`], and for a larger file.
    pub fn read_to_rewrite(&self, below: &Path, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
        let (folder, name) = self.folder_of(below)?;
        let Some(stat) = writable(&folder, &name)? else { return Ok(None) };
        if stat.st_nlink > 1 {
            self.names_of(&stat)?;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = std::fs::File::from(open::step_by_step(folder.as_fd(), &name, flags | OFlags::CLOEXEC)?);
        open::regular(&file)?;
        open::whole(file, limit).map(Some)
    }

    /// All names of one file, hidden ones among them, sorted; refused where one of them is not found below the folder.
    fn names_of(&self, file: &Stat) -> Result<Vec<PathBuf>, Refused> {
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::new()];
        let mut looked_at = 0;
        while let Some(folder) = pending.pop() {
            // A folder that cannot be read may hold a name: then one is missing.
            let Ok(entries) = self.list(&folder) else { continue };
            looked_at += entries.len();
            if looked_at > MOST_LOOKED_AT {
                return Err(Refused::HardLinks);
            }
            for (name, kind) in entries {
                let path = folder.join(name);
                match kind {
                    Kind::Folder => pending.push(path),
                    Kind::File if self.is_same(&path, file) => found.push(path),
                    _ => {}
                }
            }
        }
        if usize::try_from(file.st_nlink) != Ok(found.len()) {
            return Err(Refused::HardLinks);
        }
        found.sort_unstable();
        Ok(found)
    }

    fn is_same(&self, path: &Path, file: &Stat) -> bool {
        let Ok((folder, name)) = self.folder_of(path) else { return false };
        is_file(&folder, &name, file)
    }
}

fn is_file(folder: &OwnedFd, name: &Path, file: &Stat) -> bool {
    let stat = sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (file.st_dev, file.st_ino))
}

/// Puts the new file beside each name first, which changes nothing yet, and then in the place of each.
fn write_all(names: &mut [Link], old: &Stat, bytes: &[u8]) -> Result<(), Refused> {
    let Some((first, others)) = names.split_first_mut() else { return Ok(()) };
    let (new, mut file) = temporary(&first.folder)?;
    first.temporary = Some(new.clone());
    file.write_all(bytes)?;
    sys::fchmod(&file, Mode::from_raw_mode(old.st_mode))?;
    file.sync_all()?;
    for (number, other) in others.iter_mut().enumerate() {
        let name = temporary_name(number as u64);
        sys::linkat(&first.folder, &new, &other.folder, &name, AtFlags::empty()).map_err(
            |errno| match errno {
                // Another file system, which shows the same file.
                Errno::XDEV => Refused::HardLinks,
                other => other.into(),
            },
        )?;
        other.temporary = Some(name);
    }
    for Link { folder, name, temporary } in names {
        // The name may stand for another file by now, which is not this one's to replace.
        if !is_file(folder, name, old) {
            return Err(Refused::HardLinks);
        }
        if let Some(new) = temporary {
            sys::renameat(&*folder, new.as_str(), &*folder, &*name)?;
        }
        *temporary = None;
        sys::fsync(&*folder)?;
    }
    Ok(())
}
