//! A tar archive with random access: decompressed once into an anonymous temporary file, with an index of its entries.
//!
//! *Invariant*: memory holds the index alone, with names of bounded length; nothing is ever written under a name that the
//! archive chose.

mod members;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};

use domain::config::Limits;
use results::file_error::{FileError, Place};
use results::json::Input;

use super::names::{NAME_BYTES, is_manifest, shortened};
use super::text::{FileProblem, as_text};
use members::{Member, Members};

/// Entries of an archive at most.
const MAX_ENTRIES: usize = 4_000_000;

/// Unpacked bytes of an archive at most.
const MAX_BYTES: u64 = 64 << 30;

#[derive(Debug)]
pub(super) struct Archive {
    spool: Mutex<File>,
    index: BTreeMap<String, Stored>,
}

#[derive(Debug, Clone)]
enum Stored {
    At { offset: u64, length: usize },
    Problem(FileProblem),
}

/// Whether the file, unpacked if need be, begins like a tar archive.
pub(super) fn is_tar(path: &Path) -> Result<bool, FileError> {
    let mut head = Vec::new();
    // A damaged gz is reported by the code that reads the whole file.
    let read = Input::open(&path.display().to_string())?.take(512).read_to_end(&mut head);
    Ok(read.is_ok() && head.get(257..262) == Some(b"ustar"))
}

impl Archive {
    /// Unpacks the archive. Hidden entries and entries that are not regular files are left out; of several entries of one path the
    /// last counts, as with `tar x`.
    pub(super) fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let damaged = |at: u64, error: io::Error| {
            let what = format!("is a damaged tar archive: {error}");
            FileError::new(path, Some(Place::byte(at)), what, "fetch the archive again").with_source(error)
        };
        let spool_failed = |error: io::Error| FileError::write("temporary file for the archive", error);
        let mut spool = tempfile::tempfile().map_err(spool_failed)?;
        let mut index = BTreeMap::new();
        let mut written = 0_u64;
        let mut members = Members::new(Input::open(path)?);
        while let Some(member) = members.next().map_err(|error| damaged(members.position(), error))? {
            let Some(name) = name_of(&member) else { continue };
            let stored = if member.name_bytes > NAME_BYTES as u64 {
                Stored::Problem(FileProblem::LongName { bytes: member.name_bytes, limit: NAME_BYTES })
            } else if member.size > limits.file_bytes {
                Stored::Problem(FileProblem::TooLarge { bytes: member.size, limit: limits.file_bytes })
            } else {
                let content = members.content(member.size).map_err(|error| damaged(member.at, error))?;
                spool.write_all(&content).map_err(spool_failed)?;
                let offset = written;
                written += content.len() as u64;
                Stored::At { offset, length: content.len() }
            };
            index.insert(name, stored);
            if index.len() > MAX_ENTRIES || written > MAX_BYTES {
                let what = format!("holds more than {MAX_ENTRIES} files or {MAX_BYTES} bytes");
                return Err(FileError::new(path, Some(Place::byte(member.at)), what, "split the archive"));
            }
        }
        Ok(Self { spool: Mutex::new(spool), index })
    }

    /// The paths, sorted by their components.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        sorted(self.index.keys())
    }

    /// The paths of manifests, and what stands for names that were too long to tell.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &String> {
        let listed = self.index.iter().filter(|(path, stored)| {
            is_manifest(Path::new(path)) || matches!(stored, Stored::Problem(FileProblem::LongName { .. }))
        });
        sorted(listed.map(|(path, _)| path))
    }

    /// The text of `path`; `None` when the archive has no such file.
    pub(super) fn text(&self, path: &str) -> Option<Result<String, FileProblem>> {
        Some(match self.index.get(path)? {
            Stored::Problem(problem) => Err(problem.clone()),
            &Stored::At { offset, length } => {
                let read = || {
                    let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
                    spool.seek(SeekFrom::Start(offset))?;
                    let mut bytes = vec![0; length];
                    spool.read_exact(&mut bytes)?;
                    io::Result::Ok(bytes)
                };
                read().map_err(|error| FileProblem::Unreadable(error.to_string())).and_then(as_text)
            }
        })
    }
}

fn sorted<'a>(paths: impl Iterator<Item = &'a String>) -> std::vec::IntoIter<&'a String> {
    let mut paths: Vec<&String> = paths.collect();
    paths.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    paths.into_iter()
}

/// The path of a regular file with `/` between its components; `None` when it is hidden or no relative path. One that is
/// too long is cut, and told from others by where its member is.
fn name_of(member: &Member) -> Option<String> {
    if !member.regular {
        return None;
    }
    let path = visible_name(Path::new(OsStr::from_bytes(&member.name)))?;
    if member.name_bytes <= NAME_BYTES as u64 { Some(path) } else { Some(shortened(&path, member.at)) }
}

/// The path with `/` between its components; `None` when it is hidden or no relative path.
fn visible_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                let name = name.to_string_lossy();
                if name.starts_with('.') {
                    return None;
                }
                parts.push(name.into_owned());
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}
