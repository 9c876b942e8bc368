//! Local files: written under a temporary name, synced, renamed, then their folder synced.
//!
//! *Invariant*: an unfinished file of a killed process has a distinct name ([`UNFINISHED`]) and can be deleted.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::crash::{Point, reach};
use crate::layout::UNFINISHED;

use super::put::{Over, Put};

/// A new file in `folder` under a temporary name; deleted when dropped, swept when the process did not come to that.
pub fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(UNFINISHED).tempfile_in(folder)
}

/// Writes `bytes` to `path`. Its folder, and those above it, are made when missing.
pub(super) fn write(path: &Path, bytes: &[u8], over: Over) -> io::Result<Put> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = match unfinished(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(folder)?;
            unfinished(folder)?
        }
        opened => opened?,
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    reach(Point::PutBegun);
    file.write_all(second)?;
    name(file, path, over)
}

/// Gives a complete file its name, durably.
pub(super) fn name(file: NamedTempFile, path: &Path, over: Over) -> io::Result<Put> {
    file.as_file().sync_all()?;
    reach(Point::PutSynced);
    let named = match over {
        Over::Replace => file.persist(path),
        Over::Keep => file.persist_noclobber(path),
    };
    match named {
        Err(error) if over == Over::Keep && error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Put::AlreadyThere);
        }
        Err(error) => return Err(error.error),
        Ok(_) => {}
    }
    reach(Point::PutNamed);
    sync_folder(path)?;
    Ok(Put::Written)
}

/// Makes the entry of `path` in its folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Gives a file another name in its folder, durably, over what is there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to)
}

/// Makes `folder` and what is missing above it; each is durable in the one above.
fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folders(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(folder)
}

/// Deletes temporary files that a dead process left in `folder` (not below it). Only for folders without a live writer.
pub fn sweep_unfinished(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_being_written_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/object");
        assert_eq!(write(&path, b"12", Over::Keep).unwrap(), Put::Written);
        assert_eq!(write(&path, b"34", Over::Keep).unwrap(), Put::AlreadyThere);
        let (_file, kept) = unfinished(&folder.path().join("a/b")).unwrap().keep().unwrap();
        sweep_unfinished(&folder.path().join("a/b")).unwrap();
        sweep_unfinished(&folder.path().join("none")).unwrap();
        assert!(!kept.exists());
        assert_eq!(fs::read(&path).unwrap(), b"12");
        assert_eq!(write(&path, b"56", Over::Replace).unwrap(), Put::Written);
        assert_eq!(fs::read(&path).unwrap(), b"56");
    }
}
